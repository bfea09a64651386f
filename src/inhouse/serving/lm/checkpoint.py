"""A model directory in the layout of Hugging Face: what it holds, what it is for, and which version it is.

Only weights in safetensors are accepted, and nothing in the directory is ever run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from inhouse.core.errors import Invalid
from inhouse.models.language.weights import recorded_base, weights_digest

_DESCRIBES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "1_Pooling/*.json")
_MAX_CONFIG_BYTES = 16 << 20


class NoModelDirectory(Invalid):
    """The path leads to nothing that can be loaded as a language model."""


class NoAdapterDirectory(Invalid):
    """The path leads to nothing that can be loaded as a LoRA adapter."""


class AdapterOfAnother(Invalid):
    """The adapter was trained on other weights than it is to be used with."""


class KindUnclear(Invalid):
    """The directory does not say what the model is for."""


class Kind(StrEnum):
    """What a model is for."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    RERANK = "rerank"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model directory. `version` changes whenever its files do."""

    directory: Path
    config: Mapping[str, Any] = field(hash=False)
    version: str
    size_bytes: int
    """Of the weights."""

    @property
    def architecture(self) -> str:
        """The network's class, such as `Qwen3ForCausalLM`; empty where the directory does not say."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))

    def kind(self, asked: str = "auto") -> Kind:
        """What the model is for: as asked, or as its files say."""
        if asked != "auto":
            return Kind(asked)
        if (self.directory / "modules.json").exists() or (self.directory / "1_Pooling").is_dir():
            return Kind.EMBEDDING
        if self.architecture.endswith("ForSequenceClassification"):
            return Kind.RERANK
        if self.architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
            return Kind.CHAT
        if self.architecture.endswith(("Model", "ForMaskedLM")):
            return Kind.EMBEDDING
        raise KindUnclear(
            f"{str(self.directory)!r} does not say what its model is for.",
            hint="Give its kind: chat, embedding or rerank.",
            param="kind",
        )


@dataclass(frozen=True, slots=True)
class Adapter:
    """A directory with a LoRA adapter, as peft writes it."""

    directory: Path
    config: Mapping[str, Any] = field(hash=False)
    version: str


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Look at a model directory, or say why it is none."""
    directory = _directory(path, NoModelDirectory)
    if (directory / "adapter_config.json").is_file() and not (directory / "config.json").exists():
        base = recorded_base(directory)
        raise NoModelDirectory(
            f"{str(path)!r} is an adapter, which answers only together with its base.",
            hint=f"Load {base.name!r}, then add the adapter to it." if base else "Load its base, then add it there.",
            param="path",
        )
    config = _json(directory / "config.json", NoModelDirectory)
    weights = sorted(directory.glob("*.safetensors"))
    if not weights:
        others = [file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for file in directory.glob(pattern)]
        raise NoModelDirectory(
            f"{str(directory)!r} holds no weights in safetensors.",
            hint=f"Convert {', '.join(sorted(others)[:3])} to safetensors." if others else "Is the download complete?",
            param="path",
        )
    return Checkpoint(directory, config, digest(directory), sum(file.stat().st_size for file in weights))


def open_adapter(path: str | Path, base: Checkpoint | None = None) -> Adapter:
    """Look at an adapter directory, or say why it is none, or none for this base."""
    directory = _directory(path, NoAdapterDirectory)
    config = _json(directory / "adapter_config.json", NoAdapterDirectory)
    if not (directory / "adapter_model.safetensors").is_file():
        raise NoAdapterDirectory(f"{str(directory)!r} holds no adapter_model.safetensors.", param="path")
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise NoAdapterDirectory(
            f"{str(directory)!r} holds a {config['peft_type']} adapter.",
            hint="Only LoRA adapters are served.",
            param="path",
        )
    made_for = recorded_base(directory)
    if base is not None and made_for is not None and made_for.digest != weights_digest(base.directory):
        raise AdapterOfAnother(
            f"The adapter in {str(path)!r} was made for {made_for.name!r}; the weights in "
            f"{str(base.directory)!r} are others.",
            hint="Add it to the model that it was made for.",
            param="path",
        )
    return Adapter(directory, config, digest(directory))


def digest(directory: Path) -> str:
    """A short name for the present state of a model's files, from their names, sizes and times."""
    found = hashlib.sha256()
    for file in sorted({file for pattern in _DESCRIBES for file in directory.glob(pattern)}):
        stat = file.stat()
        found.update(f"{file.relative_to(directory)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


def _directory(path: str | Path, refusal: type[Invalid]) -> Path:
    try:
        directory = Path(path).expanduser().resolve()
        if directory.is_dir():
            return directory
        is_there = directory.exists()
    except (OSError, RuntimeError, ValueError) as error:  # no home, a loop of links, a NUL character, a long name
        raise refusal(f"{str(path)!r} cannot be a path here.", param="path") from error
    what = "is no directory" if is_there else "does not exist on the server's machine"
    raise refusal(f"{str(path)!r} {what}.", hint="Give the directory that holds the model's config.", param="path")


def _json(file: Path, refusal: type[Invalid]) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError("it is too large")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = f"holds no {file.name}" if missing else f"holds a {file.name} that cannot be read: {error}"
        raise refusal(f"{str(file.parent)!r} {reason}.", hint="Is it the right directory?", param="path") from error
    if not isinstance(content, dict):
        raise refusal(f"{str(file)!r} is no JSON object.", param="path")
    return content
