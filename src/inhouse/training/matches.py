"""Which texts of a dataset mean the same, and how well vectors find them."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from inhouse.data.examples import Form, normalise
from inhouse.training.dataset import Row

ALIKE = 0.5
"""Pairs with a lower score are examples of what does not mean the same."""

MARGIN = 0.95
"""A text nearer than this share of the right one's likeness is no hard negative: it probably means the same."""

OTHERS = 8
"""Of the texts with the same label, each text meets at most this many, one an epoch."""

_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Match:
    """A text, those that mean the same (at least one), and those that look like it and don't."""

    id: str
    text: str
    others: tuple[str, ...]
    negatives: tuple[str, ...] = ()


class Groups:
    """Numbers for texts: those that mean the same share theirs. Case, width and punctuation make no difference."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def join(self, text: str, other: str) -> None:
        self._parents[self._root(other)] = self._root(text)

    def number(self, text: str) -> int:
        return self._numbers.setdefault(self._root(text), len(self._numbers))

    def _root(self, text: str) -> str:
        key = normalise(text)
        while (parent := self._parents.setdefault(key, key)) != key:
            self._parents[key] = key = self._parents[parent]
        return key


def read_groups(rows: Iterable[Row], form: Form) -> Groups:
    """Put the texts of rows in groups: the two of a pair, or those of one label."""
    groups = Groups()
    first: dict[str, str] = {}
    for row in rows:
        if form is Form.TEXT:
            groups.join(first.setdefault(row.label, row.text), row.text)
        elif is_alike(row):
            groups.join(row.text, other_of(row))
    return groups


def read_matches(rows: Sequence[Row], form: Form, groups: Groups) -> list[Match]:
    """What can be learned from rows. A text that nothing else is like teaches nothing by itself."""
    if form is Form.TEXT:
        return _of_labels(rows)
    denied: dict[str, list[str]] = {}
    for row in rows:
        if not is_alike(row):
            denied.setdefault(normalise(row.text), []).append(other_of(row))
            denied.setdefault(normalise(other_of(row)), []).append(row.text)
    found = []
    for row in filter(is_alike, rows):
        negatives = dict.fromkeys([*row.content.get("negatives", ()), *denied.get(normalise(row.text), ())])
        unlike = tuple(text for text in negatives if groups.number(text) != groups.number(row.text))
        found.append(Match(row.id, row.text, (other_of(row),), unlike))
    return found


def _of_labels(rows: Sequence[Row]) -> list[Match]:
    """Each text with some others of its label, other ones for each."""
    of_label: dict[str, list[Row]] = {}
    for row in rows:
        of_label.setdefault(row.label, []).append(row)
    found = []
    for alike in of_label.values():
        random.Random(0).shuffle(alike)
        for number, row in enumerate(alike):
            others = [alike[(number + step) % len(alike)].text for step in range(1, min(len(alike), OTHERS + 1))]
            if others := [other for other in others if other != row.text]:
                found.append(Match(row.id, row.text, tuple(others)))
    return found


def every_text(rows: Iterable[Row], form: Form) -> list[str]:
    """All texts of the rows, each once."""
    both = ([row.text] if form is Form.TEXT else [row.text, other_of(row)] for row in rows)
    return list(dict.fromkeys(text for texts in both for text in texts))


def is_alike(row: Row) -> bool:
    return row.content.get("score", 1.0) >= ALIKE


def other_of(row: Row) -> str:
    return row.content["other"]


@dataclass(frozen=True, slots=True)
class Finding:
    """How well the nearest known text is the right one. `mrr` is the mean of 1 / rank of the first right one."""

    recall_at_1: float
    recall_at_5: float
    mrr: float
    count: int
    known: int

    def metrics(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Search:
    """For every query with something to find: the rank of the first right text, and how alike it and the nearest wrong
    text are.
    """

    ranks: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    known: int

    def threshold(self) -> float:
        """The likeness that best keeps what is right and refuses what is wrong, in the middle of the widest gap."""
        right, wrong = np.sort(self.right), np.sort(self.wrong[np.isfinite(self.wrong)])
        every = np.unique(np.concatenate((right, wrong)))
        if not len(right) or not len(wrong) or len(every) < 2:
            return 0.0
        middles = (every[1:] + every[:-1]) / 2
        kept = 1 - np.searchsorted(right, middles) / len(right)
        refused = np.searchsorted(wrong, middles) / len(wrong)
        is_best = kept + refused >= (kept + refused).max() - 1e-9
        return float(np.clip(middles[np.where(is_best, np.diff(every), -1).argmax()], 0, 1))

    def finding(self) -> Finding | None:
        if not len(self.ranks):
            return None
        ranks = self.ranks
        return Finding(
            recall_at_1=float((ranks <= 1).mean()),
            recall_at_5=float((ranks <= 5).mean()),
            mrr=float((1 / ranks).mean()),
            count=len(ranks),
            known=self.known,
        )


def search(
    queries: np.ndarray, query_texts: Sequence[str], known: np.ndarray, known_texts: Sequence[str], groups: Groups
) -> Search:
    """Look for each query, by its vector, among the known texts; the query itself is not looked at."""
    names = _numbers(map(normalise, (*known_texts, *query_texts)))
    numbers = np.array([groups.number(text) for text in (*known_texts, *query_texts)])
    ranks, rights, wrongs = [], [], []
    for start in range(0, len(query_texts), _AT_ONCE):
        asked = slice(len(known_texts) + start, len(known_texts) + start + _AT_ONCE)
        scores = queries[start : start + _AT_ONCE] @ known.T
        itself = names[asked, None] == names[: len(known_texts)]
        scores[itself] = -np.inf
        right = (numbers[asked, None] == numbers[: len(known_texts)]) & ~itself
        found = right.any(1)
        best = np.where(right, scores, -np.inf).max(1, keepdims=True)
        ranks.append(1 + ((scores >= best) & ~right & ~itself).sum(1)[found])
        rights.append(best[found, 0])
        wrongs.append(np.where(right, -np.inf, scores).max(1)[found])
    return Search(_joined(ranks), _joined(rights), _joined(wrongs), len(known_texts))


def mine(
    vectors: np.ndarray, texts: Sequence[str], matches: Sequence[Match], groups: Groups, *, count: int
) -> list[Match]:
    """Give each match the texts that look most like it and mean something else, as far as anyone said."""
    rows = {text: number for number, text in enumerate(texts)}
    numbers = np.array([groups.number(text) for text in texts])
    found = []
    for start in range(0, len(matches), _AT_ONCE):
        part = matches[start : start + _AT_ONCE]
        every = vectors[[rows[match.text] for match in part]] @ vectors.T
        for match, likeness in zip(part, every, strict=True):
            right = max(likeness[rows[other]] for other in match.others)
            likeness[(numbers == numbers[rows[match.text]]) | (likeness > MARGIN * right)] = -np.inf
            nearest = [texts[n] for n in np.argsort(-likeness, kind="stable")[:count] if np.isfinite(likeness[n])]
            found.append(replace(match, negatives=tuple(dict.fromkeys((*match.negatives, *nearest)))))
    return found


def _numbers(names: Iterable[str]) -> np.ndarray:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names])


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0)
