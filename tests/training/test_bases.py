"""Finding the model that a run starts from: on this machine, in the hub's cache, or nowhere."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from inhouse.testing.encoders import tiny_encoder
from inhouse.training.networks.bases import BaseNotUsable, PickledWeights, resolve_base

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of a machine without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_model_directory_is_taken_as_it_is(tmp_path: Path):
    base = tiny_encoder(tmp_path / "encoder")

    assert resolve_base(str(base)) == base


def test_a_name_is_found_in_the_cache_of_the_hub(cache: Path):
    stored = cache / "models--someone--encoder"
    snapshot = tiny_encoder(stored / "snapshots" / REVISION)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(REVISION)

    assert resolve_base("someone/encoder") == snapshot


def test_a_name_without_a_network_says_what_to_do(cache: Path):
    with pytest.raises(BaseNotUsable, match="'someone/encoder'") as refused:
        resolve_base("someone/encoder")

    assert "copy the model's directory" in refused.value.hint


def test_a_directory_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "readme.txt").write_text("no model")

    with pytest.raises(BaseNotUsable, match="not a model directory") as refused:
        resolve_base(tmp_path)

    assert "config.json" in refused.value.hint


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickles_are_refused_by_name(tmp_path: Path, name: str):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"")

    with pytest.raises(PickledWeights, match=name):
        resolve_base(tmp_path)


def test_a_damaged_file_of_weights_is_named(tmp_path: Path):
    base = tiny_encoder(tmp_path / "encoder")
    (base / "model.safetensors").write_bytes(b"half")

    with pytest.raises(BaseNotUsable, match=r"model\.safetensors"):
        resolve_base(base)
