"""One row of a dataset, and the forms that rows come in."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

_NOT_TEXT = re.compile(r"[\W_]+")

SYNTHETIC = "synthetic:"
FEEDBACK = "feedback:"


class Form(StrEnum):
    """What the rows of a dataset look like. Every form has `text`; what else it needs lies in `content`."""

    TEXT = "text"
    """A text with its label; several labels in `content["labels"]`, then `label` is the first of them."""
    SPANS = "spans"
    """A text with marked places: `content["spans"]`, each `{start, end, label}` in characters, `end` exclusive."""
    PAIR = "pair"
    """Two texts: `text` and `content["other"]`, alike by `content["score"]` (0 to 1); `content["negatives"]` may list
    texts that are not."""
    CHAT = "chat"
    """A conversation to learn from: `content["messages"]`, each `{role, content}`, the last one the assistant's."""
    PREFERENCE = "preference"
    """Two answers to `content["messages"]`: `content["chosen"]` is the better, `content["rejected"]` the worse."""
    RATING = "rating"
    """One answer to `content["messages"]`: `content["answer"]`, and whether it was `content["good"]`."""
    TABLE = "table"
    """Named values, `content["features"]`; `label` is what to predict."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row. `text` is what a person reads to recognise it: the question, the last user message, the features as text.

    `source` says where it came from: `import`, `feedback:<id>`, `label:<queue>`, `synthetic:<how>`. `user` is whose
    words they are, where that is known, so that they can be erased.
    """

    text: str
    label: str = ""
    source: str = "import"
    split: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    user: str = ""

    @property
    def id(self) -> str:
        """A short hash of text, label and content: the same row has the same id in every version."""
        content = f"\0{_canonical(self.content)}" if self.content else ""
        return hashlib.sha256(f"{self.text}\0{self.label}{content}".encode()).hexdigest()[:16]

    @property
    def is_synthetic(self) -> bool:
        return self.source.startswith(SYNTHETIC)

    def into(self, split: str) -> "Example":
        return replace(self, split=split)

    def wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "text": self.text,
            "label": self.label,
            "source": self.source,
            "split": self.split,
            "meta": self.meta,
            "content": self.content,
            "user": self.user,
        }

    @classmethod
    def read(cls, line: str | bytes) -> "Example":
        """One line of a stored version; versions of earlier releases have fewer fields."""
        return _READER.decode(line)


_READER = msgspec.json.Decoder(Example)


def label_counts(rows: Iterable[Example], form: str) -> Counter[str]:
    """How often each label is given: every one of several, every marked place, and thumbs by their direction."""
    if form == Form.SPANS:
        return Counter(span["label"] for row in rows for span in row.content.get("spans", []))
    if form == Form.RATING:
        return Counter("good" if row.content.get("good") else "bad" for row in rows)
    if form in (Form.PAIR, Form.CHAT, Form.PREFERENCE):
        return Counter()
    return Counter(name for row in rows for name in row.content.get("labels") or [row.label] if name)


def key(row: Example, form: str) -> str:
    """What makes a row the one it is: of two with the same key, a dataset has one."""
    if form in (Form.TEXT, Form.SPANS, Form.PAIR):
        return question(row, form)
    content = dict(row.content)
    if form == Form.RATING:
        content.pop("good", None)
    elif form == Form.PREFERENCE:
        content["answers"] = sorted((content.pop("chosen", ""), content.pop("rejected", "")))
    return _canonical({**content, "label": row.label})


def question(row: Example, form: str) -> str:
    """What a model is shown of a row. Rows that ask the same must not be in train and test both."""
    if form in (Form.TEXT, Form.SPANS):
        return normalise(row.text)
    if form == Form.PAIR:
        return f"{normalise(row.text)}\0{normalise(row.content.get('other', ''))}"
    if form == Form.TABLE:
        return _canonical(row.content.get("features", {}))
    messages = row.content.get("messages", [])
    asked = messages[:-1] if form == Form.CHAT else messages
    return "\0".join(normalise(str(message.get("content", ""))) for message in asked)


def normalise(text: str) -> str:
    """What two texts share when they are the same but for case, width, spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_TEXT.sub("", folded) or folded.strip()


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True)
