"""The `manifest.json` of a model version: what it is, and the digest of every file beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from inhouse.core.errors import Invalid

FORMAT = 1
NAME = "manifest.json"


class BadArtifact(Invalid):
    """The directory is not a model that can be registered."""


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of an artifact directory after checking every file's digest."""
    try:
        manifest = json.loads((directory / NAME).read_bytes())
    except FileNotFoundError as error:
        raise BadArtifact(f"{directory.name!r} has no {NAME}.", hint="Register what a training run wrote.") from error
    except ValueError as error:
        raise BadArtifact(f"{NAME} is not JSON: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadArtifact(f"{NAME} has not the format {FORMAT}.")
    listed = set(manifest.get("files", {}))
    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()} - {NAME}
    if listed != present:
        odd = sorted(listed ^ present)
        raise BadArtifact(f"The files are not those of the manifest: {', '.join(odd)}.")
    for name, entry in manifest["files"].items():
        if _sha256(directory / name) != entry["sha256"].removeprefix("sha256:"):
            raise BadArtifact(f"{name!r} is not the file that the manifest describes.")
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
