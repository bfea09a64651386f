from pathlib import Path

import pytest
import torch

from inhouse.training.checkpoint import Checkpoints
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
