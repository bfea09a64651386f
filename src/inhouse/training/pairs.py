"""Pairs of texts that belong together or do not, as rows give them; how well a reranker tells them apart."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inhouse.data.examples import normalise
from inhouse.training.calibration import auroc
from inhouse.training.dataset import NotTrainable, Row
from inhouse.training.evaluate import ClassScore, NothingToEvaluate, calibration_error

MATCHING = 0.5
"""From this score on, two texts belong together."""
WORST = 20

Score = Callable[[list[tuple[str, str]]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and how much they belong together, from 0 to 1. The row that it comes from is `id`."""

    id: str
    text: str
    other: str
    score: float
    is_correction: bool = False

    @property
    def matches(self) -> bool:
        return self.score >= MATCHING


@dataclass(frozen=True, slots=True)
class Misjudged:
    """A pair that was taken for the opposite, and what the model made of it."""

    id: str
    text: str
    other: str
    matches: bool
    score: float


@dataclass(frozen=True, slots=True)
class PairReport:
    """The result of an evaluation, of all pairs at the threshold and of the ranking without one.

    `mrr` and `recall_at_1` are over the `queries`: texts with at least one match and one other candidate. Equal scores
    count against the match. None: there was nothing of the kind to measure.
    """

    accuracy: float
    threshold: float
    matching: ClassScore
    auroc: float | None
    mrr: float | None
    recall_at_1: float | None
    queries: int
    ece: float
    count: int
    misses: list[Misjudged]

    def metrics(self) -> dict[str, Any]:
        """All but the single pairs, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "misses"}


def pairs_of(rows: Sequence[Row]) -> list[Pair]:
    """The pairs that rows list: the two texts, and the text with each of its negatives; the same pair once only."""
    found: dict[tuple[str, str], Pair] = {}
    for row in rows:
        other, score, negatives = _content(row)
        for text, value in [(other, score), *((negative, 0.0) for negative in negatives)]:
            found.setdefault((row.text, text), Pair(row.id, row.text, text, value, row.is_correction))
    return list(found.values())


def has_negatives(pairs: Sequence[Pair]) -> bool:
    return any(not pair.matches for pair in pairs)


def with_drawn(pairs: Sequence[Pair], count: int, *, seed: int) -> list[Pair]:
    """The pairs, and for each text so many that do not match: the other side of other pairs, drawn at random."""
    chance = random.Random(seed)
    others = list(dict.fromkeys(pair.other for pair in pairs))
    matching: dict[str, set[str]] = {}
    for pair in pairs:
        matching.setdefault(normalise(pair.text), set()).add(normalise(pair.other))
    drawn = []
    for pair in pairs:
        taken = matching[normalise(pair.text)]
        free = [one for one in chance.sample(others, min(len(others), count + 8)) if normalise(one) not in taken]
        drawn += [Pair(pair.id, pair.text, other, 0.0, pair.is_correction) for other in free[:count]]
    return [*pairs, *drawn]


def evaluate_pairs(score: Score, pairs: Sequence[Pair], *, threshold: float) -> PairReport:
    """Judge a reranker, given as a function from pairs of texts to the chance that they belong together."""
    if not pairs:
        raise NothingToEvaluate("There are no pairs to evaluate on.", hint="Import more, so that some are held out.")
    scores = np.asarray(score([(pair.text, pair.other) for pair in pairs]), dtype=float)
    truth = np.array([pair.matches for pair in pairs])
    said = scores >= threshold
    right = said == truth
    ranks = _ranks(pairs, scores)
    wrong = sorted(np.flatnonzero(~right).tolist(), key=lambda at: -abs(scores[at] - threshold))
    return PairReport(
        accuracy=float(right.mean()),
        threshold=threshold,
        matching=_class_score(int((said & truth).sum()), int(said.sum()), int(truth.sum())),
        auroc=auroc(scores[truth].tolist(), scores[~truth].tolist()),
        mrr=float(np.mean([1 / rank for rank in ranks])) if ranks else None,
        recall_at_1=float(np.mean([rank == 1 for rank in ranks])) if ranks else None,
        queries=len(ranks),
        ece=calibration_error(np.maximum(scores, 1 - scores).tolist(), ((scores >= MATCHING) == truth).tolist()),
        count=len(pairs),
        misses=[
            Misjudged(pairs[at].id, pairs[at].text, pairs[at].other, pairs[at].matches, float(scores[at]))
            for at in wrong[:WORST]
        ],
    )


def best_threshold(scores: Sequence[float], truth: Sequence[bool]) -> float:
    """Return the score that most pairs lie on the right side of; of equally good ones the nearest to the middle."""
    if not any(truth) or all(truth):
        return MATCHING
    ordered = np.unique(np.asarray(scores, dtype=float))
    middles = [MATCHING, *((ordered[1:] + ordered[:-1]) / 2).tolist()]
    inside = np.sort(np.asarray(scores, dtype=float)[np.asarray(truth)])
    outside = np.sort(np.asarray(scores, dtype=float)[~np.asarray(truth)])
    right = [len(inside) - np.searchsorted(inside, middle) + np.searchsorted(outside, middle) for middle in middles]
    most = max(right)
    return float(min((m for m, r in zip(middles, right, strict=True) if r == most), key=lambda m: abs(m - MATCHING)))


def _content(row: Row) -> tuple[str, float, list[str]]:
    other, score, negatives = (row.content.get(name) for name in ("other", "score", "negatives"))
    score, negatives = 1.0 if score is None else score, [] if negatives is None else negatives
    if not (row.text.strip() and isinstance(other, str) and other.strip()):
        raise _malformed(row, f"it needs two texts, its other one is {other!r}")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise _malformed(row, f"its score {score!r} is no number from 0 to 1")
    if not isinstance(negatives, list) or not all(isinstance(one, str) and one.strip() for one in negatives):
        raise _malformed(row, f"its negatives are no list of texts: {negatives!r}")
    return other, float(score), negatives


def _malformed(row: Row, what: str) -> NotTrainable:
    return NotTrainable(
        f"Row {row.id!r} ({row.text[:40]!r}) cannot be learned from: {what}.",
        hint='A pair has {"other": "…", "score": 0 to 1, "negatives": ["…"]}; score and negatives may be left out.',
    )


def _ranks(pairs: Sequence[Pair], scores: np.ndarray) -> list[int]:
    """The place of the best match of each text among its candidates."""
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for pair, score in zip(pairs, scores.tolist(), strict=True):
        groups.setdefault(normalise(pair.text), ([], []))[0 if pair.matches else 1].append(score)
    return [1 + sum(score >= max(matches) for score in rest) for matches, rest in groups.values() if matches and rest]


def _class_score(right: int, told: int, true: int) -> ClassScore:
    return ClassScore(
        precision=right / told if told else 0.0,
        recall=right / true if true else 0.0,
        f1=2 * right / (told + true) if told + true else 0.0,
        support=true,
    )
