"""A model version on disk: what its manifest says, and the proof that the files are the ones it means."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from inhouse.core.errors import Misconfigured

MANIFEST = "manifest.json"


class ArtifactBroken(Misconfigured):
    """A model version's files are missing, damaged or not what its manifest says."""


class File(msgspec.Struct, frozen=True):
    """A file of the artifact and how to recognise it."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """The part of `manifest.json` that serving needs."""

    kind: str
    files: dict[str, File]
    labels: list[str] = []
    settings: dict[str, Any] = {}
    """What only this kind of model has."""
    max_length: Annotated[int, msgspec.Meta(ge=1)] = 512
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    unknown_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files.values())


def open_artifact(directory: Path) -> Manifest:
    """Read the manifest and verify every file that it lists."""
    manifest = _read(directory)
    for name, file in manifest.files.items():
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()):
            raise ArtifactBroken(f"The manifest in {directory.name!r} lists {name!r}, which is outside of the model.")
        if not path.is_file():
            raise _broken(directory, f"{name!r} is missing")
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != file.sha256.removeprefix("sha256:"):
            raise _broken(directory, f"{name!r} was changed after it was registered")
    return manifest


def _read(directory: Path) -> Manifest:
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise _broken(directory, f"{MANIFEST} cannot be read") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(directory, f"{MANIFEST} is not valid: {error}") from error


def _broken(directory: Path, reason: str) -> ArtifactBroken:
    return ArtifactBroken(
        f"The model in {directory.name!r} cannot be loaded: {reason}.",
        hint="Restore it from a backup, or register the version again.",
    )
