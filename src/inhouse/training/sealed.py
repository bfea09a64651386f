"""Directories that are whole or absent: written aside, made durable, then moved into place."""

import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


@contextmanager
def draft(target: Path) -> Generator[Path]:
    """Give an empty directory beside `target` that takes its place when the block ends well."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    _sync(target.parent)


def seal(directory: Path, about: Mapping[str, Any]) -> None:
    """Make every file durable, then write the manifest that lists their digests: it is the last to appear."""
    every = sorted(directory.rglob("*"))
    files = {
        path.relative_to(directory).as_posix(): {"sha256": digest(path), "size": path.stat().st_size}
        for path in every
        if path.is_file()
    }
    for path in every:
        _sync(path)
    manifest = json.dumps({**about, "files": files}, ensure_ascii=False, indent=1, allow_nan=False)
    (directory / MANIFEST).write_text(manifest, encoding="utf-8")
    _sync(directory / MANIFEST)
    _sync(directory)


def open_sealed(directory: Path) -> dict[str, Any] | None:
    """Return the manifest when every file is there as written, else None."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
        intact = all(digest(directory / name) == entry["sha256"] for name, entry in manifest["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return manifest if intact else None


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
