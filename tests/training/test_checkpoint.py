from pathlib import Path

import pytest
import torch

from inhouse.training.checkpoint import Checkpoints
from inhouse.training.mirror import Mirror, MirrorAway, MirrorMisconfigured
from inhouse.training.sealed import MANIFEST


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    kept = Checkpoints(tmp_path)
    for step in (5, 10, 15):
        kept.save(step, {"epoch": step // 5}, {"model": {"weight": torch.full((3,), float(step))}, "best": {}})
    return kept


def test_the_newest_checkpoint_comes_back_as_it_was(checkpoints: Checkpoints):
    newest = checkpoints.newest()

    assert newest
    assert (newest.step, newest.state) == (15, {"epoch": 3})
    assert newest.tensors["model"]["weight"].tolist() == [15.0] * 3
    assert newest.tensors["best"] == {}


def test_only_the_last_two_are_kept(checkpoints: Checkpoints, tmp_path: Path):
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-15"]


@pytest.mark.parametrize("file", ["model.safetensors", MANIFEST])
def test_a_damaged_checkpoint_is_passed_over(checkpoints: Checkpoints, tmp_path: Path, file: str):
    damaged = bytearray((tmp_path / "step-15" / file).read_bytes())
    damaged[-8] ^= 1
    (tmp_path / "step-15" / file).write_bytes(damaged)

    newest = checkpoints.newest()

    assert newest
    assert newest.step == 10


def test_one_that_was_being_written_does_not_count(checkpoints: Checkpoints, tmp_path: Path):
    (tmp_path / "step-15").rename(tmp_path / "step-15.partial")

    newest = checkpoints.newest()

    assert newest
    assert newest.step == 10


PLACES = ["{}/second", "memory://{}"]


def mirrored(directory: Path, place: str, *, steps: tuple[int, ...] = (5, 10, 15), keep: int = 2) -> Checkpoints:
    """Checkpoints with a second place, some of them saved and copied."""
    checkpoints = Checkpoints(directory, keep=keep, mirror=Mirror(place, "run_1"))
    for step in steps:
        checkpoints.save(step, {"epoch": step // 5}, {"model": {"weight": torch.full((3,), float(step))}, "best": {}})
        checkpoints.copy()
    return checkpoints


@pytest.mark.parametrize("place", PLACES)
def test_an_empty_machine_takes_the_newest_from_the_second_place(tmp_path: Path, place: str):
    place = place.format(tmp_path)
    mirrored(tmp_path / "here", place)

    fetched = mirrored(tmp_path / "elsewhere", place, steps=()).newest()

    assert fetched
    assert (fetched.step, fetched.tensors["model"]["weight"].tolist()) == (15, [15.0] * 3)
    assert Checkpoints(tmp_path / "elsewhere").newest() is not None
    assert sorted(Mirror(place, "run_1").names()) == ["step-10", "step-15"]


def test_a_copy_that_was_never_finished_or_is_damaged_is_passed_over(tmp_path: Path):
    mirrored(tmp_path / "here", str(tmp_path), keep=3)
    (tmp_path / "run_1" / "step-15" / MANIFEST).unlink()
    (tmp_path / "run_1" / "step-10" / "model.safetensors").write_bytes(b"damaged")

    fetched = mirrored(tmp_path / "elsewhere", str(tmp_path), steps=()).newest()

    assert fetched
    assert fetched.step == 5


def test_a_second_place_that_is_away_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(MirrorAway):
        mirrored(tmp_path / "here", str(tmp_path / "file"))


def test_a_second_place_of_an_unknown_kind_is_refused():
    with pytest.raises(MirrorMisconfigured, match="gopher"):
        Mirror("gopher://host", "run_1")


def test_nothing_is_left_of_a_run_that_is_cleared(tmp_path: Path):
    mirrored(tmp_path / "here", str(tmp_path / "second"))

    Mirror(str(tmp_path / "second"), "run_1").clear()

    assert Mirror(str(tmp_path / "second"), "run_1").names() == []
