"""Freezing which rows are for training and which are for testing."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from inhouse.core.errors import Invalid
from inhouse.data.examples import Example, normalise

SHARES = {"train": 0.7, "dev": 0.15, "test": 0.15}


class LeaksIntoTest(Invalid):
    """Rows meant for training are in the frozen test or dev rows."""


def split(examples: Iterable[Example], *, shares: Mapping[str, float] = SHARES, seed: int = 0) -> list[Example]:
    """Give each example a split, label by label, by the hash of its normalised text.

    A label with three or more examples has at least one in test; with fewer, all go to train.
    """
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example)
    done: list[Example] = []
    for label in sorted(by_label):
        rows = sorted(by_label[label], key=lambda row: _order(row.text, seed))
        held = {name: _held(len(rows), shares.get(name, 0.0)) for name in ("test", "dev")}
        names = ["test"] * held["test"] + ["dev"] * held["dev"]
        names += ["train"] * (len(rows) - len(names))
        done.extend(row.into(name) for row, name in zip(rows, names, strict=True))
    return done


def leaks(new: Iterable[Example], existing: Sequence[Example]) -> list[Example]:
    """The new examples whose text is among the held-out rows."""
    held_out = {normalise(row.text) for row in existing if row.split != "train"}
    return [row for row in new if normalise(row.text) in held_out]


def _held(count: int, share: float) -> int:
    if share <= 0 or count < 3:
        return 0
    return min(max(1, round(count * share)), (count - 1) // 2)


def _order(text: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{normalise(text)}".encode()).hexdigest()
