"""Rows from templates: given ones, or rows with a place in them filled differently."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from inhouse.data.augmenter import Augmenter, BadAugmentation, Made, Order, augmenter
from inhouse.data.examples import Example, Form

_PLACE = re.compile(r"\{(\w+)\}")
_LONGEST_VALUE = 200
_TRIES = 4


class Given(BaseModel):
    """A text with `{places}` to fill, and its label. In rows with marked places, each place is marked."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    text: str = Field(min_length=1, max_length=2000)
    label: str = Field(default="", max_length=200)


@augmenter("template")
class Template(Augmenter):
    """Given templates, or those that rows are once their values are taken out, filled with values from lists.

    Without lists the values are what the training rows have marked, label by label.
    """

    forms = (Form.TEXT, Form.SPANS)

    templates: tuple[Given, ...] = Field(default=(), max_length=10_000)
    slots: dict[str, tuple[str, ...]] = Field(default_factory=dict, max_length=1000)

    async def make(self, order: Order) -> Made:
        slots = self._values(order)
        patterns = list(self._patterns(order, slots))
        made = Made()
        if not patterns:
            raise BadAugmentation(
                "There is no template: no value of a slot stands in a training row.",
                hint="Give templates with {places}, or slots with values that the rows have.",
            )
        for _ in range(order.count * _TRIES):
            if len(made.rows) == order.count:
                break
            row = order.chance.choice(patterns).filled(slots, order.chance, order.form)
            made.rows.append(self.derived(row, row.text))
        return made

    def _values(self, order: Order) -> dict[str, list[str]]:
        values: dict[str, dict[str, None]] = defaultdict(dict)
        for name, given in self.slots.items():
            values[name] |= dict.fromkeys(value.strip() for value in given if value.strip())
        if order.form == Form.SPANS and not self.slots:
            for row in order.rows:
                if row.user:  # a value in somebody else's row would not be found when they ask to be forgotten
                    continue
                for span in row.content["spans"]:
                    values[span["label"]][row.text[span["start"] : span["end"]]] = None
        return {name: [*known] for name, known in values.items() if known}

    def _patterns(self, order: Order, slots: Mapping[str, Sequence[str]]) -> Iterator["_Pattern"]:
        if self.templates:
            yield from (_given(template, order.form, slots) for template in self.templates)
        elif order.form == Form.SPANS:
            yield from (found for row in order.rows if (found := _marked(row, slots)) is not None)
        else:
            names = {value.casefold(): name for name, values in slots.items() for value in values}
            if names:
                longest_first = sorted(names, key=len, reverse=True)
                any_value = re.compile("|".join(map(_as_word, longest_first)), re.IGNORECASE)
                yield from (found for row in order.rows if (found := _holding(row, any_value, names)) is not None)


class _Pattern(BaseModel):
    """Pieces of text with places between them: `pieces[0] slot[0] pieces[1] slot[1] … pieces[n]`."""

    pieces: list[str]
    places: list[str]
    row: Any

    def filled(self, slots: Mapping[str, Sequence[str]], chance: Random, form: Form) -> Example:
        text = self.pieces[0]
        spans: list[dict[str, Any]] = []
        for name, piece in zip(self.places, self.pieces[1:], strict=True):
            value = chance.choice(slots[name])
            spans.append({"start": len(text), "end": len(text) + len(value), "label": name})
            text += value + piece
        row: Example = self.row
        content = {**row.content, "spans": spans} if form == Form.SPANS else row.content
        return Example(text, row.label, content=content, user=row.user)


def _given(template: Given, form: Form, slots: Mapping[str, Sequence[str]]) -> _Pattern:
    pieces = _PLACE.split(template.text)
    if missing := [name for name in pieces[1::2] if name not in slots]:
        raise BadAugmentation(
            f"The template {template.text[:80]!r} has a place {missing[0]!r} without values.",
            hint="Slots with values: " + (", ".join(slots) or "none"),
        )
    if form == Form.TEXT and not template.label:
        raise BadAugmentation(f"The template {template.text[:80]!r} has no label.")
    return _Pattern(pieces=pieces[::2], places=pieces[1::2], row=Example(template.text, template.label))


def _marked(row: Example, slots: Mapping[str, Sequence[str]]) -> _Pattern | None:
    """A row without the words that it marks; none where marks overlap."""
    pieces: list[str] = []
    places: list[str] = []
    at = 0
    for span in sorted(row.content["spans"], key=lambda span: span["start"]):
        if span["start"] < at or span["label"] not in slots:
            return None
        pieces.append(row.text[at : span["start"]])
        places.append(span["label"])
        at = span["end"]
    return _Pattern(pieces=[*pieces, row.text[at:]], places=places, row=row) if places else None


def _holding(row: Example, any_value: re.Pattern[str], names: Mapping[str, str]) -> _Pattern | None:
    """A row without the values that stand in it."""
    found = list(any_value.finditer(row.text))
    if not found:
        return None
    edges = [0, *(edge for one in found for edge in one.span()), len(row.text)]
    pieces = [row.text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return _Pattern(pieces=pieces, places=[names[one.group().casefold()] for one in found], row=row)


def _as_word(value: str) -> str:
    """Not inside a longer word; scripts without spaces have no such thing."""
    edge = r"\b" if value.isascii() and value[0].isalnum() and value[-1].isalnum() else ""
    return f"{edge}{re.escape(value[:_LONGEST_VALUE])}{edge}"
