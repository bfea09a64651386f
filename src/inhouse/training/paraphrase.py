"""The same question in other words: rows to learn that from, and synthetic rows made by a model that did."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from inhouse.data.examples import SYNTHETIC, Example, Form, normalise
from inhouse.training.conversations import Message, assistant, user
from inhouse.training.dataset import Row

QUESTION = "{question}"
INSTRUCTION = f"Ask the same in other words: {QUESTION}"
SOURCE = f"{SYNTHETIC}generate"
ALIKE = 0.5
"""Pairs with at least this score say the same."""
BAND = (0.6, 0.99)
"""How alike a paraphrase is to its question: below, it asks something else, above, it says nothing new."""

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to vectors of length 1."""


class Writer(Protocol):
    """Writes other wordings: a model trained by `generate`, or any other language model."""

    def write(self, questions: Sequence[str], count: int) -> list[list[str]]:
        """So many wordings of each question."""
        ...


def asked(question: str, instruction: str = INSTRUCTION) -> list[Message]:
    """What the model is told."""
    return [user(instruction.replace(QUESTION, question))]


def rephrasings(rows: Sequence[Row], form: Form, *, instruction: str, partners: int, seed: int) -> list[Row]:
    """Conversations out of pairs that are alike, both ways, or out of texts that share a label."""
    pairs = _alike(rows) if form is Form.PAIR else _of_one_label(rows, partners, seed)
    return [
        replace(row, id=f"{row.id}/{number}", content={"messages": [*asked(text, instruction), assistant(other)]})
        for number, (row, text, other) in enumerate(pairs)
    ]


def paraphrases(
    rows: Iterable[Example], writer: Writer, embed: Embed, *, count: int = 3, band: tuple[float, float] = BAND
) -> Iterator[Example]:
    """Up to `count` synthetic rows for each training row: within the band, and none like another text.

    Questions that are held out get none: a model must not learn them in other words.
    """
    known = list(rows)
    seen = {normalise(row.text) for row in known}
    known = [row for row in known if row.split in ("", "train")]
    written = writer.write([row.text for row in known], count)
    for row, wordings in zip(known, written, strict=True):
        fresh = [text for text in dict.fromkeys(wordings) if text and normalise(text) not in seen]
        if not fresh:
            continue
        vectors = embed([row.text, *fresh])
        kept: list[np.ndarray] = []
        for text, vector in zip(fresh, vectors[1:], strict=True):
            likeness = float(vectors[0] @ vector)
            if band[0] <= likeness <= band[1] and all(float(one @ vector) <= band[1] for one in kept):
                kept.append(vector)
                seen.add(normalise(text))
                yield _synthetic(row, text, likeness)


def _synthetic(row: Example, text: str, likeness: float) -> Example:
    """It belongs to the training rows, whatever split its question is in is not tested with it."""
    meta: dict[str, Any] = {**row.meta, "of": row.id, "similarity": round(likeness, 4)}
    return replace(row, text=text, source=SOURCE, split="train", meta=meta)


def _alike(rows: Sequence[Row]) -> Iterator[tuple[Row, str, str]]:
    for row in rows:
        if row.content.get("score", 1.0) >= ALIKE and row.content.get("other"):
            yield row, row.text, row.content["other"]
            yield row, row.content["other"], row.text


def _of_one_label(rows: Sequence[Row], partners: int, seed: int) -> Iterator[tuple[Row, str, str]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    for label, group in sorted(groups.items()):
        if label and len(group) > 1:
            chance = random.Random(f"{seed}/{label}")
            for row in group:
                others = [other for other in group if other.text != row.text]
                for other in chance.sample(others, min(partners, len(others))):
                    yield row, row.text, other.text
