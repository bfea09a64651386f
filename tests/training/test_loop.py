import resource
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inhouse.training.checkpoint import Checkpoints
from inhouse.training.gradients import LossNotFinite, OutOfMemory
from inhouse.training.loop import CheckpointDiffers, Loop
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

    def __init__(self, points: list[Point], *, dev: Sequence[Point] = (), room: int | None = None, **plan: Any) -> None:
        torch.manual_seed(0)
        self.plan = Plan(**{"epochs": 50, "batch_size": 4, "learning_rate": 0.1, "precision": "fp32", **plan})
        self._room = room
        self.module = nn.Linear(1, 1)
        self.train = points
        self.dev = dev

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters())}]

    def collate(self, items: Sequence[Point]) -> Batch:
        return {"x": torch.tensor([[i.x] for i in items]), "y": torch.tensor([[i.y] for i in items])}

    def loss(self, batch: Batch) -> Tensor:
        if self._room and len(batch["x"]) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
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
    assert steps[-1].keys() >= {"epoch", "lr", "grad_norm", "examples_per_s", "tokens_per_s", "memory_mb", "eta_s"}


def test_a_loss_that_is_not_a_number_names_the_rows(tmp_path: Path):
    points = [*LINE[:3], Point("broken", float("nan"), 0.0)]

    with pytest.raises(LossNotFinite, match=r"nan at step 1 \(epoch 1\)") as refused:
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


def trained(task: Line, directory: Path, events: Events | None = None) -> Line:
    assert loop(task, directory, events if events is not None else Events()).run()
    task.module.cpu()  # wherever it was trained
    return task


def slope(task: Line) -> float:
    return task.module.weight.item()


def test_batches_that_are_accumulated_are_worth_one_large_batch(tmp_path: Path):
    """Ten points in batches of 4, 4 and 2: the short one counts for two points, not for a batch."""
    large = trained(Line(LINE, epochs=3, batch_size=10), tmp_path / "large")
    small, events = Line(LINE, epochs=3, batch_size=4, accumulate=3), Events()

    trained(small, tmp_path / "small", events)

    assert len(events.of("step")) == 3
    assert slope(small) == pytest.approx(slope(large), rel=1e-5)


def test_the_last_group_of_an_epoch_may_be_short(tmp_path: Path):
    events = Events()

    trained(Line(LINE, epochs=2, batch_size=2, accumulate=3), tmp_path, events)

    assert [step["epoch"] for step in events.of("step")] == [1, 1, 2, 2]
    assert events[0]["steps"] == 4


@pytest.mark.parametrize(
    ("schedule", "decline"),
    [
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, 0.853553, 0.5, 0.146447]),
        ("constant", [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_learning_rate_warms_up_and_follows_its_schedule(tmp_path: Path, schedule: str, decline: list[float]):
    task, events = Line(LINE, epochs=6, batch_size=10, warmup=1 / 3, learning_rate=1.0, schedule=schedule), Events()

    trained(task, tmp_path, events)

    assert [step["lr"] for step in events.of("step")] == pytest.approx([0.5, 1.0, *decline], abs=1e-6)


def test_a_batch_that_does_not_fit_is_computed_in_parts(tmp_path: Path):
    roomy = trained(Line(LINE, epochs=5, batch_size=8), tmp_path / "roomy")
    events = Events()

    narrow = trained(Line(LINE, epochs=5, batch_size=8, room=3), tmp_path / "narrow", events)

    assert slope(narrow) == pytest.approx(slope(roomy), rel=1e-5)
    assert [warning["message"].split(",")[0] for warning in events.of("warning")] == [
        "Memory ran out with 8 rows",
        "Memory ran out with 4 rows",
    ]


def test_a_resumed_run_remembers_how_many_rows_fit(tmp_path: Path):
    loop(Line(LINE, room=3), tmp_path, Events(), stop_after=2).run()
    events = Events()

    trained(Line(LINE, room=3), tmp_path, events)

    assert events.of("warning") == []


def test_memory_for_no_row_at_all_says_what_to_do(tmp_path: Path):
    class Huge(Line):
        divisible = False

    with pytest.raises(OutOfMemory, match="at step 1") as refused:
        trained(Huge(LINE, room=3), tmp_path)

    assert "batch_size" in refused.value.hint


def test_a_batch_is_divided_beforehand_when_little_memory_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plenty = trained(Line(LINE, epochs=5), tmp_path / "plenty")
    monkeypatch.setattr("inhouse.training.memory.free_bytes", lambda device: 1)
    events = Events()

    little = trained(Line(LINE, epochs=5), tmp_path / "little", events)

    assert "1 rows at a time" in events.of("warning")[0]["message"]
    assert slope(little) == pytest.approx(slope(plenty), rel=1e-5)


def test_the_average_of_the_weights_is_judged_and_kept(tmp_path: Path):
    plain = trained(Line(LINE, dev=LINE, epochs=4), tmp_path / "plain")
    events = Events()

    averaged = trained(Line(LINE, dev=LINE, epochs=4, ema=0.9), tmp_path / "averaged", events)

    least = min(event["loss"] for event in events.of("eval"))
    assert slope(averaged) != slope(plain)
    assert averaged.judge(averaged.collate(LINE)).loss / len(LINE) == pytest.approx(least, rel=1e-5)


def test_without_a_dev_split_the_last_average_is_the_result(tmp_path: Path):
    """With this little to forget, the average is nearly the weights, and never quite."""
    plain = trained(Line(LINE, epochs=4), tmp_path / "plain")

    averaged = trained(Line(LINE, epochs=4, ema=0.01), tmp_path / "averaged")

    assert 0 < abs(slope(averaged) - slope(plain)) < 0.01


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_finds_the_line(tmp_path: Path, precision: str):
    task = trained(Line(LINE, epochs=100, precision=precision), tmp_path)

    assert slope(task) == pytest.approx(2.0, abs=0.1)


def test_a_gradient_that_overflows_in_float16_costs_a_step_only(tmp_path: Path):
    """Scaled up by 65536, the first gradients are beyond what float16 holds."""
    far = [Point(f"p{i}", i / 10, 50.0 * i) for i in range(10)]
    events = Events()

    trained(Line(far, epochs=10, precision="fp16", learning_rate=10.0), tmp_path, events)

    assert events.of("step")[0]["grad_norm"] is None
    assert events.of("step")[-1]["grad_norm"] is not None


@pytest.mark.parametrize("stop_after", [1, 7, 20])
def test_stopping_changes_nothing_whatever_is_remembered_between_steps(tmp_path: Path, stop_after: int):
    plan: dict[str, Any] = {"accumulate": 2, "ema": 0.9, "precision": "fp16", "epochs": 12}
    whole = trained(Line(LINE, dev=LINE[:3], **plan), tmp_path / "whole")
    loop(Line(LINE, dev=LINE[:3], **plan), tmp_path / "parts", Events(), stop_after=stop_after).run()

    again = trained(Line(LINE, dev=LINE[:3], **plan), tmp_path / "parts")

    assert torch.equal(again.module.weight, whole.module.weight)
    assert torch.equal(again.module.bias, whole.module.bias)


class Wide(Line):
    """A line with a megabyte of luggage."""

    def __init__(self, points: list[Point], **plan: Any) -> None:
        super().__init__(points, **plan)
        self.module.register_buffer("luggage", torch.zeros(1 << 18))


@contextmanager
def files_up_to(size: int) -> Generator[None]:
    """Nothing larger can be written, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_costs_the_new_checkpoints_and_nothing_else(tmp_path: Path):
    whole = trained(Wide(LINE), tmp_path / "whole")
    loop(Wide(LINE), tmp_path / "full", Events(), stop_after=3).run()
    events, task = Events(), Wide(LINE)

    with files_up_to(1 << 19):
        trained(task, tmp_path / "full", events)

    kept = Checkpoints(tmp_path / "full").newest()
    assert [event["type"] for event in events].count("warning") == 1
    assert kept
    assert kept.step == 3
    assert slope(task) == slope(whole)


class Bent(Line):
    """A curve: two layers with chance between them."""

    def __init__(self, points: list[Point], **plan: Any) -> None:
        super().__init__(points, dev=points[:3], **plan)
        self.module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


class Attentive(Line):
    """The smallest encoder, which fits a number of its state to y."""

    def __init__(self, points: list[Point], **plan: Any) -> None:
        from transformers import BertConfig, BertModel

        super().__init__(points, **{"learning_rate": 1e-3, **plan})
        size = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        torch.manual_seed(0)
        self.module = BertModel(BertConfig(vocab_size=16, max_position_embeddings=8, **size))

    def loss(self, batch: Batch) -> Tensor:
        tokens = (batch["x"] * 10).long().clamp(0, 15)
        return (self.module(input_ids=tokens).last_hidden_state[..., 0] - batch["y"]).square().mean()


EVERYTHING: dict[str, Any] = {"accumulate": 2, "ema": 0.9, "schedule": "cosine", "warmup": 0.2, "weight_decay": 0.1}
RECORDED = [
    3.593957, 1.613661, 0.356963, 0.72099, 0.718568, 0.01208, 0.368015, 0.037516,
    0.137589, 0.310184, 0.372459, 0.29965, 0.308824, 0.350569, 0.339869,
]  # fmt: skip


def test_what_is_learned_is_the_same_after_every_refactoring(tmp_path: Path):
    """The losses as they once were. Change them on purpose only: then the result of every run changes."""
    events = Events()

    trained(Bent(LINE, epochs=5, batch_size=3, learning_rate=0.05, **EVERYTHING), tmp_path, events)

    assert [event["loss"] for event in events if "loss" in event] == pytest.approx(RECORDED, abs=1e-6)


def test_gradient_checkpointing_changes_no_result(tmp_path: Path):
    """On a network of Hugging Face, in training with dropout; ours have nothing to forget, which is told."""
    events = Events()
    plain = trained(Attentive(LINE, epochs=2), tmp_path / "plain")

    thrifty = trained(Attentive(LINE, epochs=2, gradient_checkpointing=True), tmp_path / "thrifty")
    trained(Line(LINE, epochs=1, gradient_checkpointing=True), tmp_path / "line", events)

    assert thrifty.module.is_activation_checkpointing
    for mine, theirs in zip(thrifty.module.parameters(), plain.module.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)
    assert len(events.of("warning")) == 1


def test_a_frozen_weight_is_no_part_of_a_checkpoint(tmp_path: Path):
    task = Line(LINE)
    task.module.bias.requires_grad_(False)

    trained(task, tmp_path)

    kept = Checkpoints(tmp_path).newest()
    assert kept
    assert kept.tensors["model"].keys() == {"weight"}


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    trained(Line(LINE), tmp_path)

    with pytest.raises(CheckpointDiffers):
        trained(Wide(LINE), tmp_path)


class Lucky(Line):
    """Right most often before it has learned anything."""

    def judge(self, batch: Batch) -> Judged:
        judged = super().judge(batch)
        return Judged(judged.loss, judged.loss, judged.count)


class Honest(Lucky):
    loss_decides = True


@pytest.mark.parametrize(("kind", "keeps_the_last"), [(Lucky, False), (Honest, True)])
def test_a_task_says_whether_the_loss_decides_which_epoch_is_best(
    tmp_path: Path, kind: type[Line], keeps_the_last: bool
) -> None:
    task = kind(LINE, dev=LINE, epochs=20, patience=0)
    events = Events()

    loop(task, tmp_path, events).run()

    losses = [event["loss"] for event in events.of("eval")]
    final = task.judge(task.collate(LINE))
    assert (final.loss / final.count == pytest.approx(min(losses), rel=1e-3)) == keeps_the_last
    assert losses[-1] < losses[0]
