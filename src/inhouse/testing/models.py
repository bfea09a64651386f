"""Tiny models for tests: real artifacts, made in milliseconds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.pre_tokenizers import Split, WhitespaceSplit


def tiny_classifier(
    directory: Path,
    labels: Sequence[str],
    keywords: Mapping[str, str],
    *,
    strength: float = 8.0,
    temperature: float = 1.0,
    unknown_threshold: float = 0.35,
) -> Path:
    """Make a classifier that adds `strength` to the logit of `keywords[word]` for each such word in the text.

    Words are lower-case and separated by anything but letters and digits; a Chinese keyword is found anywhere.
    """
    directory.mkdir(parents=True, exist_ok=True)
    words = list(keywords)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(["[PAD]", "[UNK]", *words])}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    chinese = "|".join(word for word in words if not word.isascii())
    pattern = f"{chinese}|[^\\w]" if chinese else r"[^\w]"
    tokenizer.pre_tokenizer = Steps([WhitespaceSplit(), Split(Regex(pattern), "isolated")])
    tokenizer.save(str(directory / "tokenizer.json"))

    votes = np.zeros((len(words) + 2, len(labels)), dtype=np.float32)
    for row, word in enumerate(words, start=2):
        votes[row, list(labels).index(keywords[word])] = strength
    _save_network(directory / "model.onnx", votes)
    _write_manifest(directory, labels, temperature=temperature, unknown_threshold=unknown_threshold)
    return directory


def _save_network(path: Path, votes: np.ndarray) -> None:
    """Sum the votes of all tokens: logits = Σ votes[input_ids] · attention_mask."""
    tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in _INPUTS]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", votes.shape[1]])
    constants = [
        numpy_helper.from_array(votes, "votes"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "length_axis"),
    ]
    nodes = [
        helper.make_node("Gather", ["votes", "input_ids"], ["gathered"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["gathered", "column"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "length_axis"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "tiny", tokens, [logits], constants)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _write_manifest(directory: Path, labels: Sequence[str], *, temperature: float, unknown_threshold: float) -> None:
    files = {name: (directory / name).read_bytes() for name in ("model.onnx", "tokenizer.json")}
    manifest = {
        "format": 1,
        "kind": "classify",
        "created_at": 0.0,
        "labels": list(labels),
        "signature": {"inputs": {"text": "string"}, "outputs": {"label": "string", "scores": "map"}},
        "max_length": 64,
        "temperature": temperature,
        "unknown_threshold": unknown_threshold,
        "metrics": {},
        "lineage": {},
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for name, content in files.items()
        },
    }
    (directory / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")


_INPUTS = ("input_ids", "attention_mask")
