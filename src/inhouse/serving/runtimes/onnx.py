"""Text classifiers exported to ONNX: onnxruntime for the network, tokenizers for the text."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inhouse.serving.artifact import Manifest
from inhouse.serving.runtime import Output, runtimes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Encoding, Tokenizer

NETWORK, TOKENIZER = "model.onnx", "tokenizer.json"
CHARS_PER_TOKEN = 32
"""No text needs more to fill the tokens that a model reads: the rest of a huge one is not even tokenized."""


class OnnxRuntime:
    """Serves `classify` models that carry `model.onnx` and `tokenizer.json`."""

    def serves(self, manifest: Manifest) -> bool:
        return manifest.kind == "classify" and {NETWORK, TOKENIZER} <= manifest.files.keys()

    def load(self, directory: Path, manifest: Manifest) -> "OnnxClassifier":
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one inference thread means one
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the pool's threads run batches side by side instead
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves the event loop
        session = onnxruntime.InferenceSession(directory / NETWORK, options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        tokenizer.enable_truncation(manifest.max_length)
        if tokenizer.padding is None:
            tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]") or 0)
        return OnnxClassifier(session, tokenizer, manifest)


class OnnxClassifier:
    """One loaded classifier."""

    def __init__(self, session: "InferenceSession", tokenizer: "Tokenizer", manifest: Manifest) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._labels = manifest.labels
        self._temperature = manifest.temperature
        self._max_chars = manifest.max_length * CHARS_PER_TOKEN
        self._inputs = [node.name for node in session.get_inputs()]
        self._output = session.get_outputs()[0].name

    def predict(self, texts: Sequence[str]) -> list[Output]:
        encodings = self._tokenizer.encode_batch([text[: self._max_chars] for text in texts])
        (logits,) = self._session.run([self._output], {name: _tensor(name, encodings) for name in self._inputs})
        probabilities = _softmax(np.asarray(logits, dtype=np.float64) / self._temperature)
        return [{"scores": dict(zip(self._labels, row, strict=True))} for row in probabilities.tolist()]


def _tensor(name: str, encodings: "list[Encoding]") -> np.ndarray:
    rows = {
        "input_ids": lambda encoding: encoding.ids,
        "attention_mask": lambda encoding: encoding.attention_mask,
        "token_type_ids": lambda encoding: encoding.type_ids,
    }[name]
    return np.array([rows(encoding) for encoding in encodings], dtype=np.int64)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


runtimes.add("onnx", OnnxRuntime())
