"""How good a classifier is where a text may have several labels, and from which probability on each of them counts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inhouse.training.evaluate import ClassScore, NothingToEvaluate, calibration_error

EVEN = 0.5
"""The threshold of a label that no dev row has: nothing better is known."""


@dataclass(frozen=True, slots=True)
class LabelsReport:
    """The result of an evaluation. A text is right (`accuracy`) when it got all of its labels and no other.

    `micro_f1` counts every label given alike, `macro_f1` every label of the model.
    """

    accuracy: float
    micro_f1: float
    macro_f1: float
    ece: float
    count: int
    per_class: dict[str, ClassScore]

    def metrics(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_labels(
    probabilities: np.ndarray, truth: np.ndarray, labels: Sequence[str], thresholds: Sequence[float]
) -> LabelsReport:
    """Judge rows of probabilities by the true labels, both a column for each label."""
    if not len(truth):
        raise NothingToEvaluate(
            "There are no rows to evaluate on.", hint="Import more rows, so that some are held out."
        )
    given, true = probabilities >= np.asarray(thresholds), truth.astype(bool)
    right, said, real = (given & true).sum(0), given.sum(0), true.sum(0)
    per_class = {label: _score(*map(int, counts)) for label, *counts in zip(labels, right, said, real, strict=True)}
    return LabelsReport(
        accuracy=float((given == true).all(1).mean()),
        micro_f1=_score(int(right.sum()), int(said.sum()), int(real.sum())).f1,
        macro_f1=float(np.mean([score.f1 for score in per_class.values() if score.support] or [0.0])),
        ece=calibration_error(probabilities.ravel().tolist(), true.ravel().tolist()),
        count=len(truth),
        per_class=per_class,
    )


def best_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> list[float]:
    """For each label the probability from which on it is given, so that its F1 on these rows is highest."""
    return [_best(*column) for column in zip(probabilities.T, truth.T.astype(bool), strict=True)]


def _best(probabilities: np.ndarray, true: np.ndarray) -> float:
    if not true.any():
        return EVEN
    order = np.argsort(-probabilities)
    ranked, right = probabilities[order], np.cumsum(true[order])
    f1 = 2 * right / (np.arange(1, len(order) + 1) + true.sum())
    ends = np.append(ranked[1:] < ranked[:-1], True)  # rows of one probability are given together
    last = int(np.argmax(np.where(ends, f1, -1)))
    following = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + following) / 2)


def _score(right: int, said: int, real: int) -> ClassScore:
    return ClassScore(
        precision=right / said if said else 0.0,
        recall=right / real if real else 0.0,
        f1=2 * right / (said + real) if said + real else 0.0,
        support=real,
    )
