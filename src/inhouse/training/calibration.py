"""Whether a classifier's confidence is honest, and whether it notices what it does not know."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence lies between `low` and `high`: honest ones are right as often as they are sure."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(scores: Sequence[float], correct: Sequence[bool]) -> list[Bin]:
    """Ten bins of confidence, without the empty ones: the points of a reliability diagram."""
    confidence, right = np.asarray(scores, dtype=float), np.asarray(correct, dtype=float)
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = []
    for place in np.unique(places):
        here = places == place
        mean, share = float(confidence[here].mean()), float(right[here].mean())
        found.append(Bin(place / BINS, (place + 1) / BINS, int(here.sum()), mean, share))
    return found


def auroc(known: Sequence[float], unknown: Sequence[float]) -> float | None:
    """The chance that a row of a known class is more confident than one of none; ties count half."""
    if not len(known) or not len(unknown):
        return None
    inside, outside = np.sort(np.asarray(known, dtype=float)), np.asarray(unknown, dtype=float)
    below = np.searchsorted(inside, outside, side="left")
    upto = np.searchsorted(inside, outside, side="right")
    above = len(inside) - upto
    return float((above + 0.5 * (upto - below)).mean() / len(inside))
