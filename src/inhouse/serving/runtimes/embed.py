"""Embedders exported to ONNX: a text as a vector of length one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inhouse.serving.artifact import Manifest
from inhouse.serving.exported import CHARS_PER_TOKEN, NETWORK, TOKENIZER, feed, open_session, open_tokenizer
from inhouse.serving.runtime import Output, runtimes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer


class EmbedRuntime:
    """Serves `embed` models that carry `model.onnx` and `tokenizer.json`."""

    def serves(self, manifest: Manifest) -> bool:
        return manifest.kind == "embed" and {NETWORK, TOKENIZER} <= manifest.files.keys()

    def load(self, directory: Path, manifest: Manifest) -> "Embedder":
        return Embedder(open_session(directory / NETWORK), open_tokenizer(directory, manifest), manifest)


class Embedder:
    """One loaded embedder."""

    def __init__(self, session: "InferenceSession", tokenizer: "Tokenizer", manifest: Manifest) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._max_chars = manifest.max_length * CHARS_PER_TOKEN
        self._inputs = [node.name for node in session.get_inputs()]

    def predict(self, texts: Sequence[str]) -> list[Output]:
        encodings = self._tokenizer.encode_batch([text[: self._max_chars] for text in texts])
        (vectors,) = self._session.run(["vector"], feed(self._inputs, encodings))
        return [{"vector": vector} for vector in np.asarray(vectors).tolist()]


runtimes.add("embed", EmbedRuntime())
