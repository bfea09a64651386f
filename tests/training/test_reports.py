import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

from inhouse.core.events import EventLog
from inhouse.training.reports import Curves, Reports, figures


def life(run: Path, *, resumed_from: int, steps: range) -> None:
    """One life of a training, which is killed at its end: it says no more."""
    with EventLog(run / "events.jsonl") as events:
        reports = Reports(events, Curves(run / "tensorboard"))
        reports("started", steps=10, epochs=1, resumed_from=resumed_from)
        for step in steps:
            reports("step", step=step, epoch=1, loss=1.0 / step, grad_norm=None, eta_s=3.0)
        reports("eval", step=steps[-1], epoch=1, split="dev", loss=0.5, accuracy=0.75)
        reports.close()


def points(run: Path) -> list[tuple[str, int, float]]:
    """What TensorBoard reads: name, step and value."""
    (file,) = (run / "tensorboard").iterdir()
    every = [Event.FromString(record) for record in _records(file.read_bytes())]
    assert every[0].file_version == "brain.Event:2"
    return [(value.tag, event.step, value.simple_value) for event in every for value in event.summary.value]


def _records(data: bytes) -> Iterator[bytes]:
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[16 + length :]


def test_tensorboard_finds_the_curves_beside_the_run(tmp_path: Path):
    life(tmp_path, resumed_from=0, steps=range(1, 3))

    assert points(tmp_path) == [
        ("train/loss", 1, 1.0),
        ("train/loss", 2, 0.5),
        ("dev/loss", 2, 0.5),
        ("dev/accuracy", 2, 0.75),
    ]


def test_steps_that_are_made_again_after_a_crash_are_drawn_once(tmp_path: Path):
    life(tmp_path, resumed_from=0, steps=range(1, 5))
    life(tmp_path, resumed_from=2, steps=range(3, 6))

    assert [step for name, step, _ in points(tmp_path) if name == "train/loss"] == [1, 2, 3, 4, 5]


def test_events_that_cannot_be_written_stop_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("where a directory should be")

    Reports(EventLog(tmp_path / "file" / "events.jsonl"), None)("step", step=1)

    assert "could not be written" in caplog.text


def test_results_are_figures_of_the_test_split():
    event = {"type": "evaluated", "metrics": {"accuracy": 0.5, "per_label": {"a": 1}}}

    assert dict(figures(event)) == {"test/accuracy": 0.5}
