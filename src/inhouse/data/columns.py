"""Between an example and plain columns: which columns each form has, and what may stand in them."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from inhouse.data.conversation import answer_of, last_question, messages_of
from inhouse.data.examples import Example, Form
from inhouse.data.file import CannotExport, Row
from inhouse.data.split import SPLITS

MAX_TEXT = 20_000
MAX_LONG = 1_000_000
_MAX_LABEL = 200
_MAX_SPANS = 10_000
_SPLITS = {"train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev"}
_SPLITS |= {"eval": "dev", "test": "test", "testing": "test"}
_SOURCE = re.compile(r"import|(api|feedback|label|synthetic):.{1,200}")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?([eE][+-]?\d{1,3})?")
_GOOD = {"true": True, "1": True, "good": True, "up": True, "yes": True}
_GOOD |= {"false": False, "0": False, "bad": False, "down": False, "no": False, "-1": False}

_TEXTS = ("text", "utterance", "question", "query", "sentence", "content", "文本", "问题", "问句", "内容")
_MESSAGES = ("messages", "conversations", "conversation", "prompt", "instruction", "question", "query", "input")
_LABELS = ("label", "intent", "category", "class", "target", "labels", "标签", "意图", "类别", "分类")
_ANSWERS = ("answer", "completion", "response", "output", "回答", "答案")
NAMES: dict[Form, dict[str, tuple[str, ...]]] = {
    Form.TEXT: {"text": _TEXTS, "label": _LABELS},
    Form.SPANS: {"text": _TEXTS, "spans": ("spans", "entities", "label", "labels", "实体")},
    Form.PAIR: {
        "text": ("sentence1", "text1", "question1", "sentence_a", "anchor", "文本1", *_TEXTS),
        "other": (
            *("other", "sentence2", "text2", "question2", "sentence_b", "positive", "passage", "document"),
            *("answer", "文本2"),
        ),
        "score": ("score", "similarity", "label"),
        "negatives": ("negatives", "negative", "hard_negatives"),
    },
    Form.CHAT: {"messages": _MESSAGES, "answer": _ANSWERS, "system": ("system",)},
    Form.PREFERENCE: {
        "messages": _MESSAGES,
        "chosen": ("chosen", "response_chosen", "preferred"),
        "rejected": ("rejected", "response_rejected", "dispreferred"),
        "system": ("system",),
    },
    Form.RATING: {
        "messages": _MESSAGES,
        "answer": _ANSWERS,
        "good": ("good", "kto_tag", "label", "rating"),
        "system": ("system",),
    },
    Form.TABLE: {"label": _LABELS, "features": ("features",)},
}
"""Form -> what it is made of -> names that columns with it have."""

OPTIONAL = frozenset({"score", "negatives", "system"})
SHARED: dict[str, tuple[str, ...]] = {
    "split": ("split",),
    "source": ("source",),
    "user": ("user", "user_id", "userid", "用户"),
    "meta": ("meta",),
}
"""What rows of every form may have."""


class Unfit(Exception):
    """A row cannot be an example; `role` is the part of it that is to blame."""

    def __init__(self, role: str, message: str) -> None:
        super().__init__(message)
        self.role = role
        self.message = message


def example_of(row: Row, form: Form) -> Example:
    """The example that a row with our own column names is. Raises `Unfit`."""
    meta = _parsed(row.get("meta"))
    extra: dict[str, Any] = row.get("extra", {})
    source = str(row.get("source") or "import").strip()
    if not _SOURCE.fullmatch(source):
        extra, source = {**extra, "source": source}, "import"
    split = str(row.get("split") or "").strip().lower()
    if split and split not in _SPLITS:
        raise Unfit("split", f"Is {split!r}, not one of {', '.join(SPLITS)}.")
    text, label, content = _BUILDERS[form](row)
    return Example(
        text=text,
        label=label,
        source=source,
        split=_SPLITS.get(split, ""),
        meta={**extra, **(meta if isinstance(meta, dict) else {})},
        content=content,
        user=str(row.get("user") or "").strip()[:_MAX_LABEL],
    )


def columns_of(example: Example, form: Form) -> Row:
    """The same as a row with our own column names; what is empty is left out."""
    content = dict(example.content)
    row: Row = {}
    if form in (Form.TEXT, Form.SPANS, Form.PAIR):
        row["text"] = example.text
    row |= {name: value for name, value in content.items() if name != "labels"}
    label = content.get("labels") or example.label
    if form == Form.TEXT and isinstance(label, str) and not _is_plain(label):
        label = [label]  # not to be taken for several
    about = {"label": label, "split": example.split, "source": example.source, "user": example.user}
    return row | {name: value for name, value in {**about, "meta": example.meta}.items() if value}


def flat(row: Row, form: Form) -> Row:
    """The row for files whose cells hold text and numbers only."""
    cells = {name: value for name, value in row.items() if name != "features"}
    if form == Form.TABLE:
        if taken := cells.keys() & row["features"].keys():
            raise CannotExport(f"A feature is called {min(taken)!r} like a column of ours.", hint="Export JSON lines.")
        return {
            **row["features"],
            **{name: value if name == "label" else _cell(name, value) for name, value in cells.items()},
        }
    return {name: _cell(name, value) for name, value in cells.items()}


def typed(rows: list[Example]) -> list[Example]:
    """Rows of a table with numbers where a whole column is numbers, which a text file cannot say."""
    columns: dict[str, bool] = {}
    for row in rows:
        for name, value in row.content["features"].items():
            if value is not None:
                columns[name] = columns.get(name, True) and (not isinstance(value, str) or _is_number(value))
    numbers = {name for name, is_number in columns.items() if is_number}
    return [_with_numbers(row, numbers) for row in rows]


def table_text(features: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in features.items() if value is not None)[:MAX_TEXT]


def labels_of(value: Any) -> list[str]:
    """The labels in a cell: one, several in a list, or several with bars between them."""
    value = _parsed(value)
    parts = value if isinstance(value, list) else str(value).split("|") if _is_cell(value) else []
    found = [str(part).strip() for part in parts if _is_cell(part)]
    return list(dict.fromkeys(name for name in found if name))


def _text(row: Row) -> tuple[str, str, dict[str, Any]]:
    text = _words(row, "text", MAX_TEXT)
    if "label" not in row and row.get("unlabelled"):
        return text, "", {}
    labels = _labels(row)
    return text, labels[0], {"labels": labels} if len(labels) > 1 else {}


def _labels(row: Row) -> list[str]:
    labels = labels_of(row.get("label"))
    if not labels:
        raise Unfit("label", "Is empty.")
    if any(len(name) > _MAX_LABEL for name in labels):
        raise Unfit("label", f"Is longer than {_MAX_LABEL:,} characters.")
    return labels


def _spans(row: Row) -> tuple[str, str, dict[str, Any]]:
    """Spaces around the text stay: places are counted from its first character."""
    value = row.get("text")
    text = str(value) if _is_cell(value) else ""
    if not text.strip():
        raise Unfit("text", "Is empty.")
    if len(text) > MAX_LONG:
        raise Unfit("text", f"Is longer than {MAX_LONG:,} characters.")
    given = _parsed(row.get("spans"))
    if given in (None, ""):
        given = []
    if not isinstance(given, list) or len(given) > _MAX_SPANS:
        raise Unfit("spans", 'Is not a list of marked places, such as [[0, 5, "name"]].')
    spans = [_span(item, len(text)) for item in given]
    return text, "", {"spans": sorted(spans, key=lambda span: (span["start"], span["end"], span["label"]))}


def _span(item: Any, length: int) -> dict[str, Any]:
    if isinstance(item, dict):
        start = item.get("start", item.get("start_offset"))
        end = item.get("end", item.get("end_offset"))
        label = next(
            (item[name] for name in ("label", "labels", "type", "entity", "entity_group") if item.get(name)), ""
        )
    else:
        start, end, label = item if isinstance(item, list) and len(item) == 3 else (None, None, "")
    if isinstance(label, list):
        label = label[0] if len(label) == 1 else ""
    if not isinstance(start, int) or not isinstance(end, int) or not isinstance(label, str) or not label.strip():
        raise Unfit("spans", f"Is no marked place: {str(item)[:80]}.")
    if not 0 <= start < end <= length:
        raise Unfit("spans", f"{start} to {end} is no place in a text of {length} characters.")
    return {"start": start, "end": end, "label": label.strip()[:_MAX_LABEL]}


def _pair(row: Row) -> tuple[str, str, dict[str, Any]]:
    content: dict[str, Any] = {"other": _words(row, "other", MAX_TEXT)}
    score = row.get("score")
    if score not in (None, ""):
        number = _number(score)
        if number is None or not 0 <= number <= 1:
            raise Unfit("score", f"Is {str(score)[:40]!r}, not a number from 0 to 1.")
        content["score"] = number
    negatives = _parsed(row.get("negatives"))
    if negatives not in (None, "", []):
        listed = negatives if isinstance(negatives, list) else [negatives]
        content["negatives"] = [str(text).strip() for text in listed if _is_cell(text) and str(text).strip()]
    return _words(row, "text", MAX_TEXT), "", content


def _chat(row: Row) -> tuple[str, str, dict[str, Any]]:
    messages = _messages(row)
    if _is_cell(row.get("answer")):
        messages = [*messages, {"role": "assistant", "content": _words(row, "answer", MAX_LONG)}]
    if messages[-1]["role"] != "assistant":
        raise Unfit("messages", "Does not end with an answer of the assistant.")
    if len(messages) < 2:
        raise Unfit("messages", "Has an answer but no question.")
    return last_question(messages), "", {"messages": messages}


def _preference(row: Row) -> tuple[str, str, dict[str, Any]]:
    messages = _messages(row)
    chosen, rejected = (_answer(row, role) for role in ("chosen", "rejected"))
    if chosen == rejected:
        raise Unfit("rejected", "Both answers are the same.")
    return last_question(messages), "", {"messages": messages, "chosen": chosen, "rejected": rejected}


def _rating(row: Row) -> tuple[str, str, dict[str, Any]]:
    messages = _messages(row)
    good = row.get("good")
    if not isinstance(good, bool):
        good = _GOOD.get(str(good).strip().lower().removesuffix(".0"))
    if good is None:
        raise Unfit("good", f"Is {str(row.get('good'))[:40]!r}, not true or false.")
    return last_question(messages), "", {"messages": messages, "answer": _answer(row, "answer"), "good": good}


def _table(row: Row) -> tuple[str, str, dict[str, Any]]:
    label = row.get("label")
    if not _is_cell(label) or not str(label).strip():
        raise Unfit("label", "Is empty.")
    features = _parsed(row.get("features"))
    if not isinstance(features, dict) or not features:
        raise Unfit("features", "Has no values to predict from.")
    values = {str(name): _value(value) for name, value in features.items()}
    return table_text(values) or "(empty)", str(label).strip()[:_MAX_LABEL], {"features": values}


_BUILDERS = {
    Form.TEXT: _text,
    Form.SPANS: _spans,
    Form.PAIR: _pair,
    Form.CHAT: _chat,
    Form.PREFERENCE: _preference,
    Form.RATING: _rating,
    Form.TABLE: _table,
}


def _messages(row: Row) -> list[dict[str, str]]:
    try:
        messages = messages_of(_spoken(row.get("messages")))
    except ValueError as error:
        raise Unfit("messages", str(error)) from error
    if not messages:
        raise Unfit("messages", "Is empty.")
    system = row.get("system")
    if _is_cell(system) and str(system).strip():
        messages = [{"role": "system", "content": str(system).strip()}, *messages]
    if sum(len(message["content"]) for message in messages) > MAX_LONG:
        raise Unfit("messages", f"Is longer than {MAX_LONG:,} characters.")
    return messages


def _answer(row: Row, role: str) -> str:
    try:
        answer = answer_of(_spoken(row.get(role)))
    except ValueError as error:
        raise Unfit(role, str(error)) from error
    if not answer:
        raise Unfit(role, "Is empty.")
    return answer


def _words(row: Row, role: str, most: int) -> str:
    value = row.get(role)
    if not _is_cell(value) or not str(value).strip():
        raise Unfit(role, "Is empty.")
    if len(str(value)) > most:
        raise Unfit(role, f"Is longer than {most:,} characters.")
    return str(value).strip()


def _value(value: Any) -> Any:
    """A cell of a table: a number, a text or nothing. A whole number is the same with and without a point."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()[:MAX_TEXT] or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | float) or value is None else json.dumps(value, ensure_ascii=False)


def _with_numbers(row: Example, numbers: Iterable[str]) -> Example:
    features = dict(row.content["features"])
    for name in numbers:
        if isinstance(value := features.get(name), str):
            features[name] = _value(float(value) if any(mark in value for mark in ".eE") else int(value))
    return Example(
        text=table_text(features) or "(empty)",
        label=row.label,
        source=row.source,
        split=row.split,
        meta=row.meta,
        content={**row.content, "features": features},
        user=row.user,
    )


def _is_number(cell: str) -> bool:
    """Zeros in front make a code of it, not a number."""
    return _NUMBER.fullmatch(cell) is not None and abs(float(cell)) < float("inf")


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return float(value)
    cell = str(value).strip()
    return float(cell) if _is_number(cell) else None


def _is_cell(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _parsed(value: Any) -> Any:
    """A list or object that stands in a cell as JSON."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _spoken(value: Any) -> Any:
    """Messages that stand in a cell as JSON. A text that merely looks like JSON stays a text."""
    parsed = _parsed(value)
    listed = parsed if isinstance(parsed, list) else [parsed]
    is_spoken = bool(listed) and all(isinstance(item, dict) and item.keys() & {"role", "from"} for item in listed)
    return parsed if is_spoken else value


def _is_plain(label: str) -> bool:
    return "|" not in label and not label.startswith(("[", "{"))


def _cell(name: str, value: Any) -> Any:
    if name == "label" and isinstance(value, str | list):
        labels = [value] if isinstance(value, str) else value
        return "|".join(labels) if all(map(_is_plain, labels)) else _json(labels)
    if isinstance(value, bool):
        return str(value).lower()
    return _json(value) if isinstance(value, list | dict) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
