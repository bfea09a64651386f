"""Rerankers exported to ONNX: two texts to the chance that they belong together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inhouse.serving.artifact import Manifest
from inhouse.serving.exported import CHARS_PER_TOKEN, NETWORK, TOKENIZER, feed, open_session, open_tokenizer
from inhouse.serving.runtime import Output, runtimes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer


class RerankRuntime:
    """Serves `rerank` models that carry `model.onnx` and `tokenizer.json`."""

    def serves(self, manifest: Manifest) -> bool:
        return manifest.kind == "rerank" and {NETWORK, TOKENIZER} <= manifest.files.keys()

    def load(self, directory: Path, manifest: Manifest) -> "OnnxReranker":
        return OnnxReranker(open_session(directory / NETWORK), open_tokenizer(directory, manifest), manifest)


class OnnxReranker:
    """One loaded reranker."""

    def __init__(self, session: "InferenceSession", tokenizer: "Tokenizer", manifest: Manifest) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._temperature = manifest.temperature
        self._max_chars = manifest.max_length * CHARS_PER_TOKEN
        self._inputs = [node.name for node in session.get_inputs()]
        self._output = session.get_outputs()[0].name

    def predict(self, inputs: Sequence[Mapping[str, str]], /) -> list[Output]:
        most = self._max_chars
        encodings = self._tokenizer.encode_batch([(pair["text"][:most], pair["other"][:most]) for pair in inputs])
        found: Any = self._session.run([self._output], feed(self._inputs, encodings))
        logits = np.asarray(found[0], dtype=np.float64)[:, 0] / self._temperature
        return [{"score": score} for score in (1 / (1 + np.exp(-logits))).tolist()]


runtimes.add("rerank", RerankRuntime())
