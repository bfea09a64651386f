"""How good a classifier is: on the whole, per class, where it is confused, and whether its confidence is honest."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inhouse.core.errors import Invalid
from inhouse.training.calibration import auroc
from inhouse.training.dataset import Row

CALIBRATION_BINS = 10
WORST_PAIRS = 10
KEPT_CORRECT = 0.95
"""The share of right answers on the dev split that must stay above the unknown threshold, where no dev row is known to
be out of scope."""
OUTSIDE_SHARE = 0.07
"""The share of texts that are expected to be out of scope, whatever their share among the dev rows."""

Predict = Callable[[list[str]], list[dict[str, float]]]


class NothingToEvaluate(Invalid):
    """An evaluation without rows says nothing."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Precision, recall and F1 of one label; `support` is how many rows truly have it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Rows of one label that were taken for another, with one of them to look at."""

    label: str
    predicted: str
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model said about one row."""

    id: str
    text: str
    label: str
    predicted: str
    score: float

    @property
    def correct(self) -> bool:
        return self.label == self.predicted


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an evaluation. `ece` is the expected calibration error: 0 when confidence equals accuracy."""

    accuracy: float
    macro_f1: float
    ece: float
    count: int
    per_class: dict[str, ClassScore]
    confusions: list[Confusion]
    verdicts: list[Verdict]

    def metrics(self) -> dict[str, Any]:
        """All but the single rows, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "verdicts"}


@dataclass(frozen=True, slots=True)
class OutOfScope:
    """How well texts that belong to no label are told from those that do: on the whole, and at the threshold."""

    auroc: float | None
    recall: float
    in_scope_accuracy_at_threshold: float
    threshold: float
    count: int

    def metrics(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(predict: Predict, rows: Sequence[Row]) -> Report:
    """Judge a model, given as a function from texts to probabilities by label, on labelled rows."""
    if not rows:
        raise NothingToEvaluate(
            "There are no rows to evaluate on.", hint="Import more rows, so that some are held out."
        )
    verdicts = []
    for row, scores in zip(rows, predict([row.text for row in rows]), strict=True):
        best = max(scores, key=scores.__getitem__)
        verdicts.append(Verdict(row.id, row.text, row.label, best, scores[best]))
    per_class = _per_class(verdicts)
    return Report(
        accuracy=float(np.mean([verdict.correct for verdict in verdicts])),
        macro_f1=float(np.mean([score.f1 for score in per_class.values() if score.support])),
        ece=calibration_error([v.score for v in verdicts], [v.correct for v in verdicts]),
        count=len(verdicts),
        per_class=per_class,
        confusions=_worst_pairs(verdicts),
        verdicts=verdicts,
    )


def evaluate_outside(report: Report, outside: Sequence[float], threshold: float) -> OutOfScope:
    """Judge the threshold on the rows of a report and on the best scores of rows that are of no label."""
    inside = [verdict.score for verdict in report.verdicts]
    answered = [verdict.correct and verdict.score >= threshold for verdict in report.verdicts]
    return OutOfScope(
        auroc=auroc(inside, outside),
        recall=float(np.mean(np.asarray(outside) < threshold)),
        in_scope_accuracy_at_threshold=float(np.mean(answered)),
        threshold=threshold,
        count=len(outside),
    )


def calibration_error(scores: Sequence[float], correct: Sequence[bool]) -> float:
    """The gap between confidence and accuracy, over ten bins of confidence, weighted by their size."""
    confidence, right = np.asarray(scores), np.asarray(correct, dtype=float)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature that makes softmax(logits / temperature) most likely; 1 without rows."""
    if not len(targets):
        return 1.0
    return float(np.exp(lowest(lambda power: _surprise(logits / np.exp(power), targets), np.log(0.05), np.log(20.0))))


def fit_several_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The same where each label is a question of its own: sigmoid(logits / temperature)."""

    def surprise(power: float) -> float:
        signed = np.where(truth > 0, logits, -logits) / np.exp(power)
        return float(np.logaddexp(0, -signed).mean())

    return float(np.exp(lowest(surprise, np.log(0.05), np.log(20.0))))


def fit_unknown_logit(logits: np.ndarray, targets: np.ndarray, outside: np.ndarray) -> float:
    """Return the logit of "none of these", which beside the others makes the rows inside and outside most likely.

    It tells them apart better than how the labels share their probability alone: a text of no label resembles none,
    even where it resembles one more than the others.
    """

    def surprise(unknown: float) -> float:
        inside = _surprise(with_unknown(logits, unknown), targets)
        beyond = _surprise(with_unknown(outside, unknown), np.full(len(outside), logits.shape[1]))
        return (1 - OUTSIDE_SHARE) * inside + OUTSIDE_SHARE * beyond

    return lowest(surprise, float(outside.min()) - 20, float(logits.max()) + 20)


def lowest(surprise: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search: a likelihood has a single peak."""
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if surprise(left) < surprise(right):
            high = right
        else:
            low = left
    return float((low + high) / 2)


def unknown_threshold(scores: Sequence[float], correct: Sequence[bool], outside: Sequence[float] = ()) -> float:
    """Return the score below which an answer counts as unknown.

    With the scores of rows out of scope: where most decisions are right, `OUTSIDE_SHARE` of them being about such rows.
    Without: where 95 % of the right answers are above it.
    """
    right = np.sort([score for score, is_right in zip(scores, correct, strict=True) if is_right])
    if not len(outside):
        return float(np.quantile(right, 1 - KEPT_CORRECT)) if len(right) else 0.0
    beyond = np.sort(outside)
    found = np.unique(np.concatenate([right, beyond]))
    between = np.concatenate([[0.0], (found[1:] + found[:-1]) / 2, [1.0]])
    kept = (len(right) - np.searchsorted(right, between)) / max(len(scores), 1)
    caught = np.searchsorted(beyond, between) / len(beyond)
    gained = (1 - OUTSIDE_SHARE) * kept + OUTSIDE_SHARE * caught
    return float(np.median(between[gained >= gained.max() - 1e-12]))


def with_unknown(logits: np.ndarray, unknown: float) -> np.ndarray:
    """The logits with that of "none of these" as the last."""
    return np.concatenate([logits, np.full((len(logits), 1), unknown)], axis=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _surprise(logits: np.ndarray, targets: np.ndarray) -> float:
    peak = logits.max(axis=-1)
    normal = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=-1))
    return float((normal - logits[np.arange(len(targets)), targets]).mean())


def _per_class(verdicts: Sequence[Verdict]) -> dict[str, ClassScore]:
    support = Counter(v.label for v in verdicts)
    predicted = Counter(v.predicted for v in verdicts)
    right = Counter(v.label for v in verdicts if v.correct)
    return {
        label: _class_score(right[label], predicted[label], support[label]) for label in sorted(support | predicted)
    }


def _class_score(right: int, predicted: int, support: int) -> ClassScore:
    return ClassScore(
        precision=right / predicted if predicted else 0.0,
        recall=right / support if support else 0.0,
        f1=2 * right / (predicted + support) if predicted + support else 0.0,
        support=support,
    )


def _worst_pairs(verdicts: Sequence[Verdict]) -> list[Confusion]:
    pairs: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        if not verdict.correct:
            pairs.setdefault((verdict.label, verdict.predicted), []).append(verdict.text)
    worst = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:WORST_PAIRS]
    return [Confusion(label, predicted, len(texts), texts[0]) for (label, predicted), texts in worst]
