"""Rows as a dataset version stores them."""

from collections.abc import Sequence

from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, every, rest, row_format


@row_format("inhouse")
class Own(Format):
    """The rows of a version with everything that is known of them."""

    forms = tuple(Form)
    file = "jsonl"
    order = 0

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        is_own = every(rows, lambda row: {"id", "text", "label"} <= row.keys() and isinstance(row.get("content"), dict))
        return _form(rows[0]["content"]) if is_own else None

    def unfold(self, row: Row, form: Form) -> Row:
        content = row.get("content") or {}
        label = content.get("labels") or [row.get("label") or ""]
        known = {name: row.get(name) for name in ("text", "split", "source", "user", "meta")}
        own = {**known, "label": label if form == Form.TEXT else row.get("label")}
        is_unlabelled = form == Form.TEXT and not any(label)
        if is_unlabelled:
            del own["label"]
        extra = rest(row, "id", "text", "label", "split", "source", "user", "meta", "content")
        inside = {name: value for name, value in content.items() if name != "labels"}
        return {**own, **inside, "unlabelled": is_unlabelled, "extra": extra}

    def fold(self, example: Example, form: Form) -> Row:
        return example.wire()


def _form(content: Row) -> Form:
    marks = {
        "features": Form.TABLE,
        "chosen": Form.PREFERENCE,
        "good": Form.RATING,
        "messages": Form.CHAT,
        "other": Form.PAIR,
        "spans": Form.SPANS,
    }
    return next((form for name, form in marks.items() if name in content), Form.TEXT)
