from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import pytest

from inhouse.client.curve import Curve

EVENTS = [
    {"seq": 1, "type": "started", "steps": 4, "epochs": 2, "resumed_from": 0},
    {"seq": 2, "type": "step", "step": 1, "loss": 2.0},
    {"seq": 3, "type": "step", "step": 2, "loss": 1.0},
    {"seq": 4, "type": "eval", "step": 2, "split": "dev", "loss": 1.5, "accuracy": 0.5},
    {"seq": 5, "type": "step", "step": 3, "loss": 0.75},
    {"seq": 6, "type": "finished", "metrics": {}},
]


class OneRun:
    """A run that has told half of its story so far, and tells the rest when it is followed."""

    def __init__(self, told: int) -> None:
        self.told = told

    def get(self, run_id: str) -> Mapping[str, Any]:
        status = "succeeded" if self.told == len(EVENTS) else "running"
        return {"id": run_id, "name": "<intent> on desk@v1", "status": status}

    def past_events(self, run_id: str, *, after: int = 0) -> Sequence[Mapping[str, Any]]:
        return EVENTS[after : self.told]

    def events(self, run_id: str, *, after: int = 0) -> Iterator[Mapping[str, Any]]:
        yield from EVENTS[after:]
        self.told = len(EVENTS)


def test_a_curve_says_where_the_run_stands():
    curve = Curve(OneRun(4), "run_1")

    assert repr(curve) == "<intent> on desk@v1: running, step 2 of 4, loss 1, dev loss 1.5, accuracy 50.0%"


def test_a_notebook_draws_it_without_any_script():
    page = Curve(OneRun(4), "run_1")._repr_html_()

    drawn = ElementTree.fromstring(page)  # well-formed, names escaped
    assert [picture.get("aria-label") for picture in drawn.iter("svg")] == ["Loss", "Accuracy"]
    assert len(list(drawn.iter("polyline"))) == 3
    assert "script" not in page


def test_a_run_that_has_told_nothing_has_no_picture():
    assert "<svg" not in Curve(OneRun(1), "run_1")._repr_html_()


def test_following_ends_with_the_run(capsys: pytest.CaptureFixture[str]):
    curve = Curve(OneRun(4), "run_1").follow()

    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith("step 2 of 4, loss 1, dev loss 1.5, accuracy 50.0%")
    assert shown[-1] == repr(curve)
    assert "succeeded, step 3 of 4, loss 0.75" in repr(curve)
