"""Which weights an adapter belongs to: they are known by their content, whatever directory they lie in."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Base:
    """The model that an adapter was made for: its name, for people, and the digest of its weights."""

    name: str
    digest: str


def weights_digest(directory: Path) -> str:
    """A digest of all weights in a model directory."""
    found = hashlib.sha256()
    for file in sorted(directory.glob("*.safetensors")):
        stat = file.stat()
        found.update(f"{file.name}\0{_digest(file, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return f"sha256:{found.hexdigest()}"


def recorded_base(adapter: Path) -> Base | None:
    """What an adapter's manifest says of its base; None for adapters from elsewhere, which say nothing reliable."""
    try:
        manifest: Any = json.loads((adapter / "manifest.json").read_bytes())
        base = manifest["settings"]["base"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_recorded = isinstance(base, Mapping) and isinstance(base.get("digest"), str)
    return Base(str(base.get("name", "")), base["digest"]) if is_recorded else None


@lru_cache(maxsize=256)
def _digest(file: Path, _size: int, _changed_at: int) -> str:
    """Large files are read once, as long as they stay as they are."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
