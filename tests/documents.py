"""Code blocks of our own documents that tests use: those with a mark in an HTML comment above them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(
    r"^<!-- (?P<mark>\w+)(?:: (?P<argument>\S+))? -->\n+```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A marked code block and where it stands."""

    mark: str
    argument: str
    language: str
    code: str
    place: str


def snippets(document: Path) -> Iterator[Snippet]:
    """Yield the marked code blocks of a Markdown file in order."""
    text = document.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        place = f"{document.relative_to(ROOT)}:{line}"
        yield Snippet(found["mark"], found["argument"] or "", found["language"], found["code"], place)
