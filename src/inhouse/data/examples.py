"""One row of a dataset, and the forms that rows come in."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

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
        return {"id": self.id, **asdict(self)}

    @classmethod
    def read(cls, line: str | bytes) -> "Example":
        """One line of a stored version; versions of earlier releases have fewer fields."""
        values = json.loads(line)
        values.pop("id", None)
        return cls(**values)


def normalise(text: str) -> str:
    """What two texts share when they are the same but for case, width, spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_TEXT.sub("", folded) or folded.strip()


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True)
