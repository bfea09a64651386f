"""The marked places of rows, checked, and the tags that they give to the tokens of a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inhouse.models.spans import Span
from inhouse.training.dataset import NotTrainable, Row, Splits


def spans_of(row: Row) -> list[Span]:
    """Return the spans of a row in their order, or raise `NotTrainable` naming the row and what is wrong with it."""
    listed = row.content.get("spans", [])
    if not isinstance(listed, list):
        raise _malformed(row, f"its spans are no list: {listed!r}")
    return sorted((_span(row, one) for one in listed), key=lambda span: (span.start, -span.end, span.label))


def labels_of(splits: Splits) -> list[str]:
    """The types of spans that the training rows have; raises `NotTrainable` when there is nothing to learn."""
    learned = {span.label for row in splits.train for span in spans_of(row)}
    if not learned:
        raise NotTrainable(
            "No training row has a span.", hint='A row needs content such as {"spans": [{"start", "end", "label"}]}.'
        )
    held_out = {span.label for row in splits.dev + splits.test for span in spans_of(row)}
    if unseen := sorted(held_out - learned):
        raise NotTrainable(
            f"No training row has a span of the type {unseen[0]!r}, although held-out rows do.",
            hint="Add training rows with: " + ", ".join(unseen),
        )
    return sorted(learned)


def flatten(spans: Iterable[Span]) -> list[Span]:
    """Leave out what cannot be tagged at the same time: of spans that overlap, the longer one stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start, span.label)):
        if not any(span.overlaps(other) for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)


def align(spans: Sequence[Span], offsets: Sequence[tuple[int, int]], labels: Mapping[str, int]) -> list[int]:
    """Return the tag of each token, given the flat spans in their order and where each token lies in the text.

    A token belongs to the first span that it shares a character with.
    """
    tags, at, begun = [0] * len(offsets), 0, -1
    for place, (start, end) in enumerate(offsets):
        while at < len(spans) and spans[at].end <= start:
            at += 1
        if at < len(spans) and start < end and spans[at].start < end:
            begin = 2 * labels[spans[at].label] + 1
            tags[place] = begin if at != begun else begin + 1
            begun = at
    return tags


def _span(row: Row, one: Any) -> Span:
    if not isinstance(one, Mapping) or not {"start", "end", "label"} <= one.keys():
        raise _malformed(row, f"{one!r} is no span")
    start, end, label = one["start"], one["end"], one["label"]
    if not (isinstance(label, str) and label.strip()):
        raise _malformed(row, f"the span {one!r} has no label")
    if not all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end)):
        raise _malformed(row, f"start and end of {one!r} are not whole numbers")
    if not 0 <= start < end <= len(row.text):
        raise _malformed(row, f"the span {start}–{end} of {label!r} does not lie in its {len(row.text)} characters")
    if not row.text[start:end].strip():
        raise _malformed(row, f"the span {start}–{end} of {label!r} is empty space")
    return Span(start, end, label)


def _malformed(row: Row, what: str) -> NotTrainable:
    return NotTrainable(
        f"Row {row.id!r} ({row.text[:40]!r}) cannot be learned from: {what}.",
        hint='A span is {"start", "end", "label"}, in characters, `end` exclusive. Correct the row, or leave it out.',
    )
