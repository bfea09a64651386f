"""Exports of doccano."""

from collections.abc import Sequence
from typing import Any

from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, every, rest, row_format

_KNOWN = ("id", "text", "data", "label", "labels", "entities", "split", "source", "user", "meta")


@row_format("doccano")
class Doccano(Format):
    """`{"text", "label": [[0, 5, "name"]]}` or `entities` for marked places, `{"text", "label": ["name"]}` for classes.

    Rows that nobody has labelled go out with the model's prediction as their label, to be corrected there.
    """

    forms = (Form.SPANS, Form.TEXT)
    file = "jsonl"
    order = 30

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        given = [_given(row) for row in rows]
        if not all(isinstance(labels, list) for labels in given):
            return None
        flattened = [label for labels in given for label in labels]
        if flattened and all(_is_span(label) for label in flattened):
            return Form.SPANS
        is_own = every(rows, lambda row: "id" in row and "label" in row and not row.keys() - {*_KNOWN, "Comments"})
        return Form.TEXT if is_own and flattened and all(isinstance(label, str) for label in flattened) else None

    def unfold(self, row: Row, form: Form) -> Row:
        known = {name: row.get(name) for name in ("split", "source", "user", "meta")}
        extra = {**rest(row, *_KNOWN), **({"id": row["id"]} if "id" in row else {})}
        text = row.get("text", row.get("data"))
        role = "spans" if form == Form.SPANS else "label"
        return {"text": text, role: _given(row), **known, "extra": extra}

    def fold(self, example: Example, form: Form) -> Row:
        if form == Form.SPANS:
            spans = example.content.get("spans") or example.meta.get("prediction", {}).get("spans", [])
            label: list[Any] = [[span["start"], span["end"], span["label"]] for span in spans]
        else:
            predicted = example.meta.get("prediction", {}).get("label", "")
            label = example.content.get("labels") or [name for name in (example.label or predicted,) if name]
        return {"text": example.text, "label": label, **about(example)}


def _given(row: Row) -> Any:
    return next((row[name] for name in ("entities", "label", "labels") if name in row), None)


def _is_span(label: Any) -> bool:
    if isinstance(label, dict):
        return label.keys() >= {"start_offset", "end_offset"}
    return isinstance(label, list) and len(label) == 3 and isinstance(label[0], int)
