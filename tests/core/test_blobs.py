import os
from pathlib import Path

import pytest

from inhouse.core.blobs import BlobCorrupt, BlobNotFound, Blobs, UnsafePath


def test_bytes_come_back_by_digest(blobs: Blobs) -> None:
    digest = blobs.put("你好".encode())

    assert blobs.get(digest) == "你好".encode()
    assert blobs.put("你好".encode()) == digest


def test_changed_bytes_are_noticed(blobs: Blobs, tmp_path: Path) -> None:
    digest = blobs.put(b"content")
    next(path for path in (tmp_path / "blobs").rglob("*") if path.is_file()).write_bytes(b"c0ntent")

    with pytest.raises(BlobCorrupt):
        blobs.get(digest)


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "sha256:../../etc/passwd", "md5:00", ""])
def test_what_is_not_there_is_not_found(blobs: Blobs, digest: str) -> None:
    with pytest.raises(BlobNotFound):
        blobs.get(digest)


def test_a_tree_comes_back_as_it_was(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "b.bin").write_bytes(bytes(range(256)))

    copy = blobs.materialize(blobs.put_tree(source), tmp_path / "cache")

    assert (copy / "a.txt").read_text() == "a"
    assert (copy / "deep" / "b.bin").read_bytes() == bytes(range(256))
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [copy.name]


def test_links_are_not_followed_into_a_tree(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "secret").symlink_to("/etc/passwd")

    with pytest.raises(UnsafePath):
        blobs.put_tree(source)


def test_a_listing_cannot_write_outside(blobs: Blobs, tmp_path: Path) -> None:
    inner = blobs.put(b"x")
    listing = blobs.put(f'{{"../../outside": {{"digest": "{inner}", "size": 1}}}}'.encode())

    with pytest.raises(UnsafePath):
        blobs.materialize(listing, tmp_path / "cache")

    assert not (tmp_path / "outside").exists()


def test_a_blob_that_was_cut_off_is_written_again(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    digest = blobs.put_file(source)
    [stored] = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]

    stored.write_bytes(b"con")
    blobs.put_file(source)
    assert blobs.get(digest) == b"content"

    stored.write_bytes(b"")
    blobs.put(b"content")
    assert blobs.get(digest) == b"content"


def test_a_file_and_its_name_are_on_the_disk_before_they_count(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    (tmp_path / "source").write_bytes(b"content")

    digest = blobs.put_file(tmp_path / "source")

    shelf = tmp_path / "blobs" / digest.removeprefix("sha256:")[:2]
    draft, *directories = map(Path, synced)
    assert draft.parent == shelf
    assert directories == [shelf, shelf.parent]
