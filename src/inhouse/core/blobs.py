"""Files addressed by their digest: what is stored never changes, and what is read is verified."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO, TypedDict, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from inhouse.core.errors import InhouseError, Invalid, NotFound
from inhouse.core.ids import new_id

_BLOCK = 1 << 20


class BlobNotFound(NotFound):
    """No blob has that digest."""


class BlobCorrupt(InhouseError):
    """The stored bytes are not the ones that were put there."""


class UnsafePath(Invalid):
    """A name in a tree points outside of it."""


class Entry(TypedDict):
    digest: str
    size: int


class Blobs:
    """A content-addressed store on any fsspec file system (`/path`, `s3://bucket/prefix`, `memory://name`).

    A tree is a directory stored file by file, with a JSON listing `{path: {digest, size}}` that is itself a blob.
    """

    def __init__(self, url: str) -> None:
        self._fs, root = fsspec.core.url_to_fs(url)
        self._root = str(root).rstrip("/")

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest, `sha256:<hex>`."""
        digest = _digest(data)
        path = self._path(digest)
        if not self._has(path, len(data)):
            self._publish(path, data)
        return digest

    def put_file(self, source: Path) -> str:
        """Store a file's content; the file may be larger than memory."""
        digest = file_digest(source)
        path = self._path(digest)
        if not self._has(path, source.stat().st_size):
            draft = self._draft(path)
            self._fs.put_file(str(source), draft)
            self._settle(draft, path)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes; `BlobCorrupt` when they changed on disk."""
        try:
            data = cast("bytes", self._fs.cat_file(self._path(digest)))
        except FileNotFoundError as error:
            raise BlobNotFound(f"There is no blob {digest!r}.") from error
        if _digest(data) != digest:
            raise _corrupt(digest)
        return data

    def open(self, digest: str) -> BinaryIO:
        """Open for reading without verifying: use `get` or `materialize` where that matters."""
        try:
            return cast("BinaryIO", self._fs.open(self._path(digest), "rb"))
        except FileNotFoundError as error:
            raise BlobNotFound(f"There is no blob {digest!r}.") from error

    def remove(self, digest: str) -> None:
        """Free a blob, if it is there. Whether anybody still needs it is for the caller to know."""
        try:
            self._fs.rm_file(self._path(digest))
        except FileNotFoundError:
            return

    def put_tree(self, directory: Path) -> str:
        """Store a directory and return the digest of its listing. Links are not followed but refused."""
        listing: dict[str, Entry] = {}
        for path in sorted(directory.rglob("*")):
            if path.is_symlink():
                raise UnsafePath(f"{path.name!r} is a link; only plain files can be stored.")
            if path.is_file():
                name = path.relative_to(directory).as_posix()
                listing[name] = {"digest": self.put_file(path), "size": path.stat().st_size}
        return self.put(json.dumps(listing, sort_keys=True, separators=(",", ":")).encode())

    def tree(self, digest: str) -> dict[str, Entry]:
        return json.loads(self.get(digest))

    def materialize(self, tree_digest: str, cache: Path) -> Path:
        """Return a local directory with the tree's files, every one verified; made once and reused."""
        target = cache / tree_digest.removeprefix("sha256:")
        if target.is_dir():
            return target
        draft = cache / new_id("draft")
        try:
            for name, entry in self.tree(tree_digest).items():
                self._copy_out(entry["digest"], _inside(draft, name))
            draft.replace(target)
        except OSError:
            if not target.is_dir():  # another thread was faster: its directory is as good as ours
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return target

    def _copy_out(self, digest: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.open(digest) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, _BLOCK)
        if file_digest(target) != digest:
            raise _corrupt(digest)

    def _publish(self, path: str, data: bytes) -> None:
        draft = self._draft(path)
        with self._fs.open(draft, "wb") as file:
            file.write(data)
        self._settle(draft, path)

    def _has(self, path: str, size: int) -> bool:
        """Whether the blob is there in full: a crash may have cut off one that was never synced."""
        try:
            return self._fs.size(path) == size
        except FileNotFoundError:
            return False

    def _settle(self, draft: str, path: str) -> None:
        """Give a finished draft its name. On a local disk both survive a power cut from here on."""
        if not isinstance(self._fs, LocalFileSystem):
            self._fs.mv(draft, path)
            return
        _sync(draft)
        os.replace(draft, path)
        shelf = os.path.dirname(path)
        for directory in (shelf, os.path.dirname(shelf)):
            _sync(directory)

    def _draft(self, path: str) -> str:
        """A name beside the final one: moving it there is atomic on a local disk."""
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        return f"{path}.{new_id('draft')}"

    def _path(self, digest: str) -> str:
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise BlobNotFound(f"{digest!r} is not a digest.", hint="Digests look like sha256:<64 hex digits>.")
        return f"{self._root}/{value[:2]}/{value}"


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _sync(path: str) -> None:
    """Bring a file, or the names in a directory, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _corrupt(digest: str) -> BlobCorrupt:
    return BlobCorrupt(
        f"The stored content of {digest!r} has changed on disk.", hint="Restore it from a backup, or register it anew."
    )


def _inside(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise UnsafePath(f"{name!r} points outside its tree.")
    return path
