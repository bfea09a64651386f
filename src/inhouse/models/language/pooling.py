"""How the states of a text's tokens become one vector, as directories of sentence-transformers say it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inhouse.core.errors import Invalid
from inhouse.models.language.vocabulary import read_json

POOLINGS: Mapping[str, str] = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}
_KINDS = ("Transformer", "Pooling", "Normalize")


class UnsupportedEncoder(Invalid):
    """The encoder does something after its network that is not known here."""


def read_pooling(directory: Path) -> str:
    """`mean`, `cls` or `last`; the mean, where the directory does not say."""
    listed = directory / "modules.json"
    if listed.exists():
        names = [str(module.get("type", "")).rpartition(".")[2] for module in _modules(listed)]
        if unknown := [name for name in names if name not in _KINDS]:
            raise UnsupportedEncoder(
                f"{directory.name!r} has a layer {unknown[0]!r} after its network.",
                hint="Encoders with a network, pooling and normalisation can be used.",
            )
    config = read_json(directory / "1_Pooling" / "config.json")
    asked = [name for name in config if name.startswith("pooling_mode_") and config[name] is True]
    if not asked:
        return "mean"
    found = [name for name, mode in POOLINGS.items() if asked == [f"pooling_mode_{mode}"]]
    if not found:
        raise UnsupportedEncoder(
            f"{directory.name!r} pools by {', '.join(asked)}.", hint="mean, cls and last can be used."
        )
    return found[0]


def write_pooling(directory: Path, pooling: str, *, dimensions: int, max_length: int) -> None:
    """Make a model directory one that sentence-transformers opens: network, pooling, vectors of length one."""
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(zip(paths, _KINDS, strict=True))
    ]
    modes = {f"pooling_mode_{mode}": name == pooling for name, mode in POOLINGS.items()}
    (directory / "1_Pooling").mkdir()
    _write(directory / "modules.json", modules)
    _write(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": dimensions, **modes})
    _write(directory / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})


def _modules(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return [module for module in found if isinstance(module, dict)]


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
