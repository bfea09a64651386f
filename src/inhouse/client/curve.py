"""A run's learning curve, for notebooks: a picture without any script, and a line of text elsewhere."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol, Self

WIDTH, HEIGHT, MARGIN = 380, 220, 40
_COLOURS = {"train": "#0072b2", "dev": "#d55e00"}
_PICTURE = ("step", "eval", "warning")

Points = Sequence[tuple[float, float]]


class Told(Protocol):
    """What tells of runs: `client.runs`."""

    def get(self, run_id: str) -> Mapping[str, Any]: ...

    def past_events(self, run_id: str, *, after: int = 0) -> Sequence[Mapping[str, Any]]: ...

    def events(self, run_id: str, *, after: int = 0) -> Iterable[Mapping[str, Any]]: ...


class Curve:
    """Loss and accuracy of a run as it goes. As the last line of a cell it is shown; `follow` keeps it live."""

    def __init__(self, runs: Told, run_id: str) -> None:
        self._runs = runs
        self._run = runs.get(run_id)
        self._steps = 0
        self._after = 0
        self._train: dict[int, Mapping[str, Any]] = {}
        self._dev: dict[int, Mapping[str, Any]] = {}
        self.refresh()

    def refresh(self) -> Self:
        """Take in what the run has told since."""
        for event in self._runs.past_events(self._run["id"], after=self._after):
            self._take(event)
        self._run = self._runs.get(self._run["id"])
        return self

    def follow(self) -> Self:
        """Show the curve and keep it live until the run ends; outside of a notebook, print where it stands."""
        show = _notebook(self) or print
        show(self)
        for event in self._runs.events(self._run["id"], after=self._after):
            self._take(event)
            if event["type"] in _PICTURE:
                show(self)
        self._run = self._runs.get(self._run["id"])
        show(self)
        return self

    def __repr__(self) -> str:
        parts = [f"{self._run['name']}: {self._run['status']}"]
        if self._train:
            step, last = max(self._train.items())
            parts.append(f"step {step} of {self._steps}, loss {last['loss']:.4g}")
        if self._dev:
            judged = self._dev[max(self._dev)]
            parts.append(f"dev loss {judged['loss']:.4g}, accuracy {judged['accuracy']:.1%}")
        return ", ".join(parts)

    def _repr_html_(self) -> str:
        loss = {"train": _points(self._train, "loss"), "dev": _points(self._dev, "loss")}
        accuracy = {"dev": _points(self._dev, "accuracy")}
        return f"<div><div>{escape(repr(self))}</div>{_panel('Loss', loss)}{_panel('Accuracy', accuracy)}</div>"

    def _take(self, event: Mapping[str, Any]) -> None:
        self._after = event["seq"]
        if event["type"] == "started":
            self._steps = event.get("steps", 0)
        elif event["type"] == "step":
            self._train[event["step"]] = event
        elif event["type"] == "eval":
            self._dev[event["step"]] = event


def _points(events: Mapping[int, Mapping[str, Any]], name: str) -> Points:
    return [(step, events[step][name]) for step in sorted(events) if events[step].get(name) is not None]


def _panel(title: str, lines: Mapping[str, Points]) -> str:
    """One picture with its axes; empty until there is something to show."""
    every = [point for points in lines.values() for point in points]
    if not every:
        return ""
    right = max(x for x, _ in every) or 1
    low, high = min(y for _, y in every), max(y for _, y in every)
    room = (high - low) or abs(high) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = MARGIN + x / right * (WIDTH - MARGIN - 10)
        return round(across, 1), round(HEIGHT - 25 - (y - low) / room * (HEIGHT - 50), 1)

    drawn = "".join(_line(name, [place(*point) for point in points]) for name, points in lines.items() if points)
    keys = " ".join(
        f'<tspan fill="{_COLOURS[name]}">{escape(name)} {points[-1][1]:.4g}</tspan>'
        for name, points in lines.items()
        if points
    )
    base = HEIGHT - 25
    return (
        f'<svg role="img" aria-label="{escape(title)}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11" fill="currentColor">'
        f'<text x="{MARGIN}" y="14">{escape(title)}: {keys}</text>'
        f'<path d="M{MARGIN} 22V{base}H{WIDTH - 8}" fill="none" stroke="currentColor" opacity="0.4"/>'
        f'<text x="{MARGIN - 4}" y="30" text-anchor="end">{high:.3g}</text>'
        f'<text x="{MARGIN - 4}" y="{base}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 8}" text-anchor="end">step {right:g}</text>{drawn}</svg>'
    )


def _line(name: str, places: Sequence[tuple[float, float]]) -> str:
    colour = _COLOURS[name]
    path = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in places) if name == "dev" else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'


def _notebook(curve: Curve) -> Any:
    """What shows a thing in place of what it showed before, when this is a notebook."""
    ipython = sys.modules.get("IPython")  # there already where this is a notebook, and not needed elsewhere
    if ipython is None or ipython.get_ipython() is None:
        return None
    handle = ipython.display.display(curve, display_id=True)
    return handle.update if handle else None
