"""Tasks of Label Studio."""

from collections.abc import Sequence
from typing import Any

from inhouse.data.columns import Unfit
from inhouse.data.examples import Example, Form
from inhouse.data.file import Row
from inhouse.data.format import Format, about, every, rest, row_format

_MARKS = {"labels", "hypertextlabels", "paragraphlabels"}
_OURS = ("split", "source", "user", "meta")


@row_format("label-studio")
class LabelStudio(Format):
    """Tasks with `data`, `annotations` and `predictions`: classes (`choices`) or marked places (`labels`).

    The newest annotation that was not cancelled counts. A prediction is kept in `meta`, and goes out again as one.
    """

    forms = (Form.SPANS, Form.TEXT)
    order = 10

    def recognises(self, rows: Sequence[Row]) -> Form | None:
        if not every(rows, lambda row: isinstance(row.get("data"), dict) and bool(row.keys() & {*_ANSWERS, *_GUESSES})):
            return None
        kinds = {item.get("type") for row in rows for result in _results(row) for item in result}
        return Form.SPANS if kinds & _MARKS or not kinds & {"choices"} else Form.TEXT

    def unfold(self, row: Row, form: Form) -> Row:
        data = row.get("data")
        if not isinstance(data, dict):
            raise Unfit("data", "Is not an object.")
        answer = _newest(row)
        if answer is None:
            raise Unfit("annotations", "Nobody has labelled this task.")
        name = _text_column(data, answer)
        known = {column: data.get(column) for column in _OURS}
        extra = {**rest(data, name, *_OURS), **({"id": row["id"]} if "id" in row else {})}
        if guess := _guess(row, form):
            extra["prediction"] = guess
        role = "spans" if form == Form.SPANS else "label"
        return {"text": data.get(name), role: _labels(answer, form), **known, "extra": extra}

    def fold(self, example: Example, form: Form) -> Row:
        meta = {name: value for name, value in example.meta.items() if name != "prediction"}
        own = {name: value for name, value in about(example).items() if name != "meta"}
        task: Row = {"data": {"text": example.text, **own, **({"meta": meta} if meta else {})}}
        labels = example.content.get("labels") or ([example.label] if example.label else [])
        if form == Form.SPANS or labels:
            task["annotations"] = [{"result": _result(example.text, example.content.get("spans", []), labels, form)}]
        if guess := example.meta.get("prediction"):
            task["predictions"] = [_prediction(example.text, guess, form)]
        return task


_ANSWERS = ("annotations", "completions")
_GUESSES = ("predictions",)


def _results(row: Row) -> list[list[Row]]:
    listed = [item for name in (*_ANSWERS, *_GUESSES) for item in _listed(row.get(name))]
    return [_listed(item.get("result")) for item in listed]


def _listed(value: Any) -> list[Row]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _newest(row: Row) -> list[Row] | None:
    given = next((_listed(row[name]) for name in _ANSWERS if row.get(name)), [])
    done = [one for one in given if not one.get("was_cancelled")]
    newest = max(done, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""), default=None)
    return None if newest is None else _listed(newest.get("result"))


def _text_column(data: Row, answer: list[Row]) -> str:
    """`text`, or the one that was labelled, or the only text there is."""
    named = [str(item.get("to_name")) for item in answer if isinstance(data.get(str(item.get("to_name"))), str)]
    texts = [name for name, value in data.items() if isinstance(value, str) and name not in _OURS]
    found = [name for name in ("text", *named, *(texts if len(texts) == 1 else [])) if name in data]
    if not found:
        raise Unfit("data", "It is not clear which of the columns is the text.")
    return found[0]


def _labels(result: list[Row], form: Form) -> list[Any]:
    values = [(item.get("type"), item["value"]) for item in result if isinstance(item.get("value"), dict)]
    if form == Form.SPANS:
        return [
            {"start": value.get("start"), "end": value.get("end"), "label": value.get(str(kind))}
            for kind, value in values
            if kind in _MARKS
        ]
    return [name for kind, value in values if kind == "choices" for name in value.get("choices", [])]


def _guess(row: Row, form: Form) -> Row | None:
    newest = next(reversed(_listed(row.get("predictions"))), None)
    if newest is None:
        return None
    labels = _labels(_listed(newest.get("result")), form)
    found: Row = {"score": newest.get("score"), "model": newest.get("model_version")}
    if form == Form.SPANS:
        found["spans"] = [{**span, "label": span["label"][0]} for span in labels if span["label"]]
    else:
        found["label"] = labels[0] if labels else None
    return {name: value for name, value in found.items() if value is not None}


def _prediction(text: str, guess: Row, form: Form) -> Row:
    labels = [guess["label"]] if guess.get("label") else []
    made: Row = {"result": _result(text, guess.get("spans", []), labels, form)}
    names = {"model_version": guess.get("model"), "score": guess.get("score")}
    return {**made, **{name: value for name, value in names.items() if value is not None}}


def _result(text: str, spans: Sequence[Row], labels: Sequence[str], form: Form) -> list[Row]:
    if form == Form.TEXT:
        return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": list(labels)}}]
    return [
        {
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": span["start"],
                "end": span["end"],
                "text": text[span["start"] : span["end"]],
                "labels": [span["label"]],
            },
        }
        for span in spans
    ]
