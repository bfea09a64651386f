from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inhouse.training.checkpoint import Checkpoints
from inhouse.training.loop import Loop, LossNotFinite
from inhouse.training.task import Batch, Emit, Judged, Plan, Task


@dataclass(frozen=True)
class Point:
    """One point of a line to be fitted."""

    id: str
    x: float
    y: float

    def __len__(self) -> int:
        return 1


class Line(Task[Point]):
    """The smallest thing that can be trained: y = a·x + b."""

    def __init__(self, points: list[Point], *, dev: Sequence[Point] = (), epochs: int = 50, patience: int = 0) -> None:
        torch.manual_seed(0)
        self.plan = Plan(epochs=epochs, batch_size=4, learning_rate=0.1, patience=patience)
        self.module = nn.Linear(1, 1)
        self.train = points
        self.dev = dev

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters())}]

    def collate(self, items: Sequence[Point]) -> Batch:
        return {"x": torch.tensor([[i.x] for i in items]), "y": torch.tensor([[i.y] for i in items])}

    def loss(self, batch: Batch) -> Tensor:
        return (self.module(batch["x"]) - batch["y"]).square().mean()

    def judge(self, batch: Batch) -> Judged:
        return Judged(self.loss(batch).item() * len(batch["x"]), 0, len(batch["x"]))

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        return {}


class Events(list[dict[str, Any]]):
    def __call__(self, type: str, **data: Any) -> None:
        self.append({"type": type, **data})

    def of(self, type: str) -> list[dict[str, Any]]:
        return [event for event in self if event["type"] == type]


LINE = [Point(f"p{i}", i / 10, 2 * i / 10 + 1) for i in range(10)]


def loop(task: Line, directory: Path, events: Events, *, stop_after: int | None = None) -> Loop[Point]:
    def should_stop() -> bool:
        return stop_after is not None and len(events.of("step")) >= stop_after

    return Loop(task, checkpoints=Checkpoints(directory), checkpoint_every_s=3600, emit=events, should_stop=should_stop)


def test_the_loss_goes_down_and_is_reported(tmp_path: Path):
    events = Events()

    assert loop(Line(LINE), tmp_path, events).run()

    steps = events.of("step")
    assert len(steps) == 150
    assert steps[-1]["loss"] < steps[0]["loss"] / 100
    assert steps[-1].keys() >= {"epoch", "lr", "examples_per_s", "eta_s"}


def test_a_loss_that_is_not_a_number_names_the_rows(tmp_path: Path):
    points = [*LINE[:3], Point("broken", float("nan"), 0.0)]

    with pytest.raises(LossNotFinite, match=r"nan, .* at step 1 \(epoch 1\)") as refused:
        loop(Line(points), tmp_path, Events()).run()

    assert set(refused.value.details["rows"]) == {"p0", "p1", "p2", "broken"}


def test_a_run_that_gets_no_better_ends_early_with_its_best_weights(tmp_path: Path):
    events, task = Events(), Line(LINE, dev=[Point("other", 1.0, -50.0)], patience=3)
    first = task.module.weight.item()

    loop(task, tmp_path, events).run()

    losses = [event["loss"] for event in events.of("eval")]
    assert len(losses) == 4
    assert min(losses) == losses[0]
    assert abs(task.module.weight.item() - first) < 0.5  # that is: after the first epoch


@pytest.mark.parametrize("stop_after", [0, 1, 3, 7, 149])
def test_stopping_and_going_on_changes_nothing(tmp_path: Path, stop_after: int):
    whole, parts = Line(LINE, dev=LINE[:3]), Line(LINE, dev=LINE[:3])
    loop(whole, tmp_path / "whole", Events()).run()

    stopped = loop(parts, tmp_path / "parts", Events(), stop_after=stop_after).run()
    again = Line(LINE, dev=LINE[:3])
    events = Events()
    finished = loop(again, tmp_path / "parts", events).run()

    assert (stopped, finished) == (False, True)
    assert events[0]["resumed_from"] == stop_after
    assert torch.equal(again.module.weight, whole.module.weight)
    assert torch.equal(again.module.bias, whole.module.bias)
