"""Text classifiers exported to ONNX: onnxruntime for the network, tokenizers for the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inhouse.models.label_scores import LabelScores
from inhouse.serving.artifact import Manifest
from inhouse.serving.exported import CHARS_PER_TOKEN, NETWORK, TOKENIZER, feed, open_session, open_tokenizer
from inhouse.serving.runtime import Output, runtimes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer


class OnnxRuntime:
    """Serves `classify` models that carry `model.onnx` and `tokenizer.json`."""

    def serves(self, manifest: Manifest) -> bool:
        return manifest.kind == "classify" and {NETWORK, TOKENIZER} <= manifest.files.keys()

    def load(self, directory: Path, manifest: Manifest) -> "OnnxClassifier":
        return OnnxClassifier(open_session(directory / NETWORK), open_tokenizer(directory, manifest), manifest)


class OnnxClassifier:
    """One loaded classifier."""

    def __init__(self, session: "InferenceSession", tokenizer: "Tokenizer", manifest: Manifest) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._labels = manifest.labels
        self._scores = LabelScores.of(manifest.temperature, manifest.settings)
        self._max_chars = manifest.max_length * CHARS_PER_TOKEN
        self._inputs = [node.name for node in session.get_inputs()]
        self._output = session.get_outputs()[0].name

    def predict(self, texts: Sequence[str]) -> list[Output]:
        encodings = self._tokenizer.encode_batch([text[: self._max_chars] for text in texts])
        (logits,) = self._session.run([self._output], feed(self._inputs, encodings))
        probabilities = self._scores.probabilities(np.asarray(logits))
        return [{"scores": dict(zip(self._labels, row, strict=True))} for row in probabilities.tolist()]


runtimes.add("onnx", OnnxRuntime())
