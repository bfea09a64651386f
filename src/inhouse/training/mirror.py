"""A second place for a run's checkpoints, so that it can go on on a machine that has nothing of it."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from inhouse.core.errors import Misconfigured, Unavailable
from inhouse.training.sealed import MANIFEST


class MirrorMisconfigured(Misconfigured):
    """The second place for checkpoints is of a kind that cannot be opened here."""


class MirrorAway(Unavailable):
    """The second place for checkpoints cannot be used right now."""


class Mirror:
    """Copies of a run's directories on any fsspec file system (`/path`, `s3://bucket/prefix`)."""

    def __init__(self, place: str, run: str) -> None:
        url = f"{place.rstrip('/')}/{run}"
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise MirrorMisconfigured(
                f"Checkpoints cannot be copied to {url!r}: {error}",
                hint="Look at training.checkpoint_copy; s3:// needs the package s3fs.",
            ) from error
        if isinstance(self._fs, LocalFileSystem):
            self._fs.auto_mkdir = True
        self._root = str(root).rstrip("/")

    def put(self, directory: Path) -> None:
        """Copy a sealed directory, its manifest last: without it the copy does not count."""
        with _translated():
            for path in sorted(directory.iterdir(), key=lambda path: path.name == MANIFEST):
                self._fs.put_file(str(path), f"{self._root}/{directory.name}/{path.name}")

    def get(self, name: str, into: Path) -> None:
        """Copy the files of a directory into one that exists. Whether they are intact is for its reader to see."""
        with _translated():
            manifest = self._fs.cat_file(f"{self._root}/{name}/{MANIFEST}")
            for file in (*json.loads(manifest)["files"], MANIFEST):
                self._fs.get_file(f"{self._root}/{name}/{Path(file).name}", str(into / Path(file).name))

    def names(self) -> list[str]:
        """The directories that are there, whole or not."""
        with _translated():
            self._fs.invalidate_cache()
            if not self._fs.exists(self._root):
                return []
            return [str(path).rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._root, detail=False)]

    def remove(self, name: str) -> None:
        with _translated():
            self._fs.rm(f"{self._root}/{name}", recursive=True)

    def clear(self) -> None:
        with _translated():
            if self._fs.exists(self._root):
                self._fs.rm(self._root, recursive=True)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except Exception as error:  # every file system has errors of its own
        raise MirrorAway(
            f"The second place for checkpoints failed: {type(error).__name__}: {error}",
            hint="Look at training.checkpoint_copy.",
        ) from error
