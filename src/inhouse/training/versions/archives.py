"""Unpacks an uploaded model directory, and nothing that could not be one."""

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from inhouse.core.errors import Invalid, TooLarge

MAX_FILES = 2000
MAX_BYTES = 16 << 30
KEPT = (".safetensors", ".json", ".txt", ".model", ".jinja")
"""What a model directory needs. Everything else stays packed: code, pickles, pictures."""
_BLOCK = 1 << 20


class BadArchive(Invalid):
    """The upload is no archive of a model directory."""


class ArchiveTooLarge(TooLarge):
    """The archive unpacks to more than is allowed."""


def unpack(file: BinaryIO, directory: Path) -> Path:
    """Unpack a zip or tar file; return the directory in it that holds config.json."""
    left = MAX_BYTES
    try:
        with _members(file) as members:
            for count, (name, source) in enumerate(members, start=1):
                if count > MAX_FILES:
                    raise ArchiveTooLarge(f"The archive holds more than {MAX_FILES} files.")
                target = directory / _checked(name)
                if target.suffix in KEPT:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    left -= _copy(source, target, left)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError) as error:
        raise BadArchive(f"The archive cannot be read: {error}.", hint="Send a .zip, .tar or .tar.gz file.") from error
    found = sorted(directory.rglob("*config.json"), key=lambda path: (len(path.parts), path))
    roots = [path.parent for path in found if path.name in ("config.json", "adapter_config.json")]
    if not roots:
        raise BadArchive("The archive holds no config.json.", hint="Pack a directory in the layout of Hugging Face.")
    return roots[0]


@contextmanager
def _members(file: BinaryIO) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """The plain files of an archive with their names; links and devices are left out."""
    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            yield ((info.filename, archive.open(info)) for info in archive.infolist() if not info.is_dir())
        return
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        yield ((info.name, source) for info in archive if info.isreg() and (source := archive.extractfile(info)))


def _checked(name: str) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or ":" in path.parts[0]:
        raise BadArchive(f"The archive holds {name!r}, which points outside of it.")
    return Path(*path.parts)


def _copy(source: IO[bytes], target: Path, left: int) -> int:
    """Copy what is really there: the size that an archive claims may be a lie."""
    copied = 0
    with source, target.open("wb") as out:
        while block := source.read(_BLOCK):
            copied += len(block)
            if copied > left:
                raise ArchiveTooLarge(f"The archive unpacks to more than {MAX_BYTES >> 30} GB.")
            out.write(block)
    return copied
