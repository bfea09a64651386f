"""Freezing which rows are for training and which are for testing."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from inhouse.core.errors import Invalid
from inhouse.data.examples import Example, Form, question

SHARES = {"train": 0.7, "dev": 0.15, "test": 0.15}
SPLITS = ("train", "dev", "test")
_CLASSES = 100
"""A column of a table with more values than that is no class to have in every split."""


class LeaksIntoTest(Invalid):
    """Rows meant for training are in the frozen test or dev rows."""


def split(
    examples: Iterable[Example], *, shares: Mapping[str, float] = SHARES, seed: int = 0, form: str = Form.TEXT
) -> list[Example]:
    """Give each example a split, label by label, by the hash of what it asks; rows that ask the same share one.

    A label with three or more questions has at least one in test; with fewer, all go to train.
    """
    done: list[Example] = []
    for _, rows in sorted(_strata(examples, form).items()):
        asked: dict[str, list[Example]] = defaultdict(list)
        for row in rows:
            asked[question(row, form)].append(row)
        ordered = sorted(asked, key=lambda text: _order(text, seed))
        held = {name: _held(len(ordered), shares.get(name, 0.0)) for name in ("test", "dev")}
        names = ["test"] * held["test"] + ["dev"] * held["dev"]
        names += ["train"] * (len(ordered) - len(names))
        done.extend(row.into(name) for text, name in zip(ordered, names, strict=True) for row in asked[text])
    return done


def complete(examples: Sequence[Example], form: str) -> list[Example]:
    """Give a split to the rows of a file. Where some bring their own, the others are for training."""
    rows = [row.into("train") if row.is_synthetic else row for row in examples]
    if any(row.split in ("dev", "test") for row in rows):
        return _without_leaks([row if row.split else row.into("train") for row in rows], form)
    made = [row for row in rows if row.is_synthetic]
    held = split((row for row in rows if not row.is_synthetic), form=form)
    return _without_leaks(held + made, form)


def leaks(new: Iterable[Example], existing: Iterable[Example], form: str = Form.TEXT) -> list[Example]:
    """The new examples that ask what a held-out row asks."""
    held_out = {question(row, form) for row in existing if row.split != "train"}
    return [row for row in new if question(row, form) in held_out]


def _without_leaks(rows: list[Example], form: str) -> list[Example]:
    """Rows that ask the same all go where the most held-out of them is."""
    place: dict[str, str] = {}
    for row in rows:
        asked = question(row, form)
        place[asked] = max(place.get(asked, "train"), row.split, key=SPLITS.index)
    return [
        row if row.is_synthetic else row.into(place[question(row, form)])
        for row in rows
        if not (row.is_synthetic and place[question(row, form)] != "train")
    ]


def _strata(examples: Iterable[Example], form: str) -> dict[str, list[Example]]:
    """Rows by what should be in every split: the label, where the form has labels."""
    strata: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        stratum = str(example.content.get("good", "")) if form == Form.RATING else example.label
        strata[stratum if form in (Form.TEXT, Form.RATING, Form.TABLE) else ""].append(example)
    if form == Form.TABLE and len(strata) > _CLASSES:  # numbers to predict
        return {"": [row for _, rows in sorted(strata.items()) for row in rows]}
    return strata


def _held(count: int, share: float) -> int:
    if share <= 0 or count < 3:
        return 0
    return min(max(1, round(count * share)), (count - 1) // 2)


def _order(text: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{text}".encode()).hexdigest()
