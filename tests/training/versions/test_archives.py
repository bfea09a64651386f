import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from inhouse.training.versions import archives
from inhouse.training.versions.archives import ArchiveTooLarge, BadArchive, unpack


def zipped(**files: bytes) -> io.BytesIO:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    packed.seek(0)
    return packed


def test_the_directory_with_the_config_is_found_and_only_its_kind_of_files_is_kept(tmp_path: Path):
    files = {"model__config.json": b"{}", "model__model.safetensors": b"w", "model__run.py": b"x", "model__w.bin": b"p"}

    found = unpack(zipped(**files), tmp_path)

    assert found == tmp_path / "model"
    assert sorted(path.name for path in found.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a/../../evil.json", "..\\evil.json", "C:\\evil.json"]
)
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"{}")

    with pytest.raises(BadArchive, match="points outside"):
        unpack(packed, tmp_path / "inside")

    assert not list(tmp_path.rglob("*evil*"))


def test_links_in_a_tar_are_left_out(tmp_path: Path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        link = tarfile.TarInfo("config.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    packed.seek(0)

    with pytest.raises(BadArchive, match=r"no config\.json"):
        unpack(packed, tmp_path / "inside")


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)

    with pytest.raises(ArchiveTooLarge):
        unpack(zipped(**{"config.json": b"{}", "model.safetensors": b"0" * 2000}), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04 torn"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes):
    with pytest.raises(BadArchive):
        unpack(io.BytesIO(content), tmp_path)
