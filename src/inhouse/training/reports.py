"""Where the events of a training go: into its event file, and as curves beside it for TensorBoard."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.core.events import EventLog
from inhouse.core.ids import now

if TYPE_CHECKING:
    from tensorboardX.record_writer import RecordWriter

_NO_FIGURES = frozenset({"seq", "ts", "step", "epoch", "eta_s"})
_log = logging.getLogger(__name__)


class Reports:
    """Takes the events of a run. What cannot be written, as on a full disk, is lost, but stops nothing."""

    def __init__(self, events: EventLog, curves: Curves | None) -> None:
        self._events = events
        self._curves = curves

    def __call__(self, type: str, **data: Any) -> None:
        try:
            self._events.append(type, **data)
            if self._curves:
                self._curves.take({"type": type, **data}, self._events)
        except OSError as error:
            _log.warning("The event %s could not be written: %s", type, error)

    def close(self) -> None:
        if self._curves:
            self._curves.close()


class Curves:
    """The curves of a run in TensorBoard's format. Each life of the run writes them anew, from its events."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._steps = 0
        self._file: RecordWriter | None = None

    def take(self, event: Mapping[str, Any], events: EventLog) -> None:
        if event["type"] == "started":
            self._begin(event["resumed_from"], events)
        self._add(event)
        if self._file and event["type"] in ("eval", "evaluated", "checkpoint"):
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _begin(self, step: int, events: EventLog) -> None:
        """Write the past up to the step from which the run goes on; what came later will come again."""
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # made at import
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import scalar

        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        self._event, self._scalar = Event, scalar
        past = events.read()
        began = past[0]["ts"] if past else 0.0
        self._file = RecordWriter(str(self._directory / f"events.out.tfevents.{began:.0f}.inhouse"))
        self._file.write(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        for event in past:
            if event.get("step", step + 1) <= step:
                self._add(event)

    def _add(self, event: Mapping[str, Any]) -> None:
        self._steps = event.get("step", self._steps)
        if self._file is None:
            return
        for name, value in figures(event):
            summary = self._scalar(name, value)
            point = self._event(wall_time=event.get("ts", now()), step=self._steps, summary=summary)
            self._file.write(point.SerializeToString())


def figures(event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers in an event that make a curve or a result, named as in `train/loss`."""
    group = {"step": "train", "eval": event.get("split", "dev"), "evaluated": "test"}.get(event["type"])
    facts = event["metrics"] if event["type"] == "evaluated" else event
    for name, value in facts.items() if group else ():
        if isinstance(value, float | int) and name not in _NO_FIGURES:
            yield f"{group}/{name}", value
