"""An exported network and its tokenizer, as every runtime opens them: onnxruntime and tokenizers, one thread each."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inhouse.serving.artifact import Manifest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Encoding, Tokenizer

NETWORK, TOKENIZER = "model.onnx", "tokenizer.json"
CHARS_PER_TOKEN = 32
"""No text needs more to fill the tokens that a model reads: the rest of a huge one is not even tokenized."""

_ROWS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def open_session(path: Path) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the pool's threads run batches side by side instead
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves the event loop
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def open_tokenizer(directory: Path, manifest: Manifest) -> "Tokenizer":
    """A tokenizer that cuts texts where the model stops reading, and pads batches to their longest text."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one inference thread means one
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    tokenizer.enable_truncation(manifest.max_length)
    if tokenizer.padding is None:
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]") or 0)
    return tokenizer


def feed(names: Sequence[str], encodings: "Sequence[Encoding]") -> dict[str, np.ndarray]:
    """The tensors of these names, [texts, tokens]."""
    return {
        name: np.array([getattr(encoding, _ROWS[name]) for encoding in encodings], dtype=np.int64) for name in names
    }
