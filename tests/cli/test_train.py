from pathlib import Path
from typing import Any

import pytest
import typer

from inhouse.cli.train import read_wishes, worded


def wishes(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "intent.yaml"
    file.write_text(text)
    return read_wishes(file)


def test_a_file_says_what_to_train(tmp_path: Path):
    asked = wishes(tmp_path, "recipe: classify\ndata: support-intents@v3\nepochs: 4\nseed: 7\nprocesses: 2\n")

    assert asked == {
        "recipe": "classify",
        "dataset": "support-intents",
        "version": 3,
        "model": "intent",
        "seed": 7,
        "processes": 2,
        "config": {"epochs": 4},
    }


def test_without_a_version_the_latest_is_meant(tmp_path: Path):
    assert wishes(tmp_path, "data: desk\nmodel: intents\n").items() >= {"version": None, "model": "intents"}.items()


@pytest.mark.parametrize(("base", "meant"), [("./minilm", "{}/minilm"), ("org/model", "org/model")])
def test_a_base_may_lie_beside_the_file(tmp_path: Path, base: str, meant: str):
    (tmp_path / "minilm").mkdir()

    assert wishes(tmp_path, f"data: desk\nbase: {base}\n")["config"] == {"base": meant.format(tmp_path)}


def test_from_scratch_is_without_a_base(tmp_path: Path):
    assert wishes(tmp_path, "data: desk\nbase: scratch\n")["config"] == {}


@pytest.mark.parametrize("text", ["", "recipe: classify", "data: desk@vx", "data: [", "- data"])
def test_a_file_that_cannot_be_followed_says_why(tmp_path: Path, text: str):
    with pytest.raises(typer.BadParameter):
        wishes(tmp_path, text)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"type": "started", "steps": 30, "epochs": 3, "resumed_from": 0}, "started    30 steps in 3 epochs"),
        (
            {"type": "started", "steps": 30, "epochs": 3, "resumed_from": 9},
            "started    30 steps in 3 epochs, from step 9 on",
        ),
        (
            {"type": "step", "step": 7, "epoch": 1, "loss": 0.5, "lr": 0.01, "examples_per_s": 80.2, "eta_s": 3.2},
            "step            7  epoch 1  loss 0.5       lr 0.01      80/s  3 s left",
        ),
        (
            {"type": "eval", "step": 9, "epoch": 1, "split": "dev", "loss": 0.25, "accuracy": 0.9},
            "eval            9  epoch 1  dev loss 0.25  accuracy 90.00%",
        ),
        ({"type": "evaluated", "metrics": {"accuracy": 0.75, "per_label": {}}}, "evaluated  accuracy 0.75"),
        ({"type": "failed", "message": "No rows.", "hint": "Add some.", "code": "x"}, "failed     No rows. Add some."),
        ({"type": "exported"}, "exported"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_event_is_one_line(event: dict[str, Any], line: str):
    assert worded({"seq": 1, "ts": 2.0, **event}) == line
