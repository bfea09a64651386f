"""One row of a dataset."""

import hashlib
import re
import unicodedata
from dataclasses import asdict, dataclass, field, replace
from typing import Any

_NOT_TEXT = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Example:
    """A text and its label. `source` says where it came from: `import`, or `feedback:<id>`."""

    text: str
    label: str
    source: str = "import"
    split: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A short hash of text and label: the same row has the same id in every version."""
        return hashlib.sha256(f"{self.text}\0{self.label}".encode()).hexdigest()[:16]

    def into(self, split: str) -> "Example":
        return replace(self, split=split)

    def wire(self) -> dict[str, Any]:
        return {"id": self.id, **asdict(self)}


def normalise(text: str) -> str:
    """What two texts share when they are the same but for case, width, spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_TEXT.sub("", folded) or folded.strip()
