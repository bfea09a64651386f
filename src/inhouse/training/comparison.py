"""Runs side by side: which settings differ, what came out, and their curves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inhouse.training.recipe import BadConfig, configure
from inhouse.training.store import Run

POINTS = 200
"""A picture is not wider."""

_RUN_FACTS = ("recipe", "dataset", "dataset_version", "model", "seed", "processes")
_CURVES = ("train", "dev")

Curve = dict[str, list[float | None]]
"""The numbers of a curve by name, `step` among them, all of one length."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting or metric: its value in each run, None where a run has none."""

    name: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


def settings(runs: Sequence[Run]) -> list[Line]:
    """Every setting of the runs, those left to their defaults as well."""
    return _lines([_settings(run) for run in runs])


def metrics(runs: Sequence[Run]) -> list[Line]:
    """Every number that the runs came to."""
    return _lines([{name: value for name, value in run.metrics.items() if _is_number(value)} for run in runs])


def curves(events: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """The curves `train` and `dev` of a run. Of a step that was made again after a crash, the last time counts."""
    points: dict[str, dict[int, Mapping[str, Any]]] = {name: {} for name in _CURVES}
    for event in events:
        if event["type"] == "step":
            points["train"][event["step"]] = event
        elif event["type"] == "eval" and event.get("split") == "dev":
            points["dev"][event["step"]] = event
    return {name: _curve([at_step[step] for step in sorted(at_step)]) for name, at_step in points.items()}


def _curve(points: Sequence[Mapping[str, Any]]) -> Curve:
    """Thin out evenly; the last point stays, for it is where the run stands."""
    pace = -(-len(points) // POINTS) or 1
    kept = points[::-1][::pace][::-1]
    names = {name: None for point in kept for name, value in point.items() if _is_number(value)}
    return {name: [point.get(name) for point in kept] for name in names if name not in ("seq", "ts")}


def _settings(run: Run) -> dict[str, Any]:
    try:
        chosen = configure(run.recipe, run.config).model_dump(mode="json")
    except BadConfig:  # of a release whose recipe had other settings
        chosen = run.config
    return {name: getattr(run, name) for name in _RUN_FACTS} | chosen


def _lines(sides: Sequence[Mapping[str, Any]]) -> list[Line]:
    names = {name: None for side in sides for name in side}
    return [Line(name, [side.get(name) for side in sides]) for name in names]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
