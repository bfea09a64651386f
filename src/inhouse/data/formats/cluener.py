"""Named entities as CLUENER writes them: label, then words, then places, both ends included."""

from collections.abc import Sequence
from typing import Any

from inhouse.data.columns import Unfit
from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, rest, row_format


@row_format("cluener")
class Cluener(Format):
    """`{"text", "label": {"name": {"叶老桂": [[9, 11]]}}}`."""

    forms = (Form.SPANS,)
    file = "jsonl"
    order = 20

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        labelled = [row["label"] for row in rows if isinstance(row.get("label"), dict)]
        is_nested = any(isinstance(words, dict) for label in labelled for words in label.values())
        return Form.SPANS if is_nested and len(labelled) == len(rows) else None

    def unfold(self, row: Row, form: Form) -> Row:
        known = {name: row.get(name) for name in ("text", "split", "source", "user", "meta")}
        return {**known, "spans": list(_spans(row)), "extra": rest(row, "label", *known)}

    def fold(self, example: Example, form: Form) -> Row:
        label: dict[str, dict[str, list[list[int]]]] = {}
        for span in example.content["spans"]:
            word = example.text[span["start"] : span["end"]]
            label.setdefault(span["label"], {}).setdefault(word, []).append([span["start"], span["end"] - 1])
        return {"text": example.text, "label": label, **about(example)}


def _spans(row: Row) -> list[dict[str, Any]]:
    label, text = row.get("label"), str(row.get("text") or "")
    if not isinstance(label, dict):
        raise Unfit("label", "Is not an object of labels with their words.")
    spans: list[dict[str, Any]] = []
    for name, words in label.items():
        if not isinstance(words, dict):
            raise Unfit("label", f"{name!r} is not an object of words with their places.")
        for word, places in words.items():
            spans += [_span(text, name, word, place) for place in (places if isinstance(places, list) else [places])]
    return spans


def _span(text: str, name: str, word: str, place: Any) -> dict[str, Any]:
    if not isinstance(place, list) or len(place) != 2 or not all(isinstance(at, int) for at in place):
        raise Unfit("label", f"{place!r} is no place.")
    start, end = place[0], place[1] + 1
    if text[start:end] != word:
        raise Unfit("label", f"At {place!r} the text says {text[start:end]!r}, not {word!r}.")
    return {"start": start, "end": end, "label": name}
