"""Texts with places for values: `Hello {{#start.name#}}`, in Dify's exact grammar."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from inhouse.workflow.variables import MISSING, as_text

_PLACE = re.compile(r"\{\{#([A-Za-z0-9_]{1,50}(?:\.[A-Za-z_][A-Za-z0-9_]{0,29}){1,10})#\}\}")
_NAMED_PLACE = re.compile(rf"{_PLACE.pattern}|\{{\{{#(context)#\}}\}}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value goes, and what stands there when there is none."""

    selector: tuple[str, ...]
    fallback: str

    def fill(self, value: object) -> str:
        return self.fallback if value is MISSING else as_text(value)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text. Values are filled in once and never looked through for places again."""

    segments: tuple[str | Place, ...]

    @property
    def selectors(self) -> tuple[tuple[str, ...], ...]:
        return tuple(segment.selector for segment in self.segments if isinstance(segment, Place))

    def render(self, find: Callable[[tuple[str, ...]], object]) -> str:
        """Fill every place; one without a value keeps the text of its path."""
        return "".join(
            segment if isinstance(segment, str) else segment.fill(find(segment.selector)) for segment in self.segments
        )


@lru_cache(maxsize=4096)
def template(text: str) -> Template:
    """Parse a text with `{{#node.name#}}` places."""
    return _parse(_PLACE, text)


@lru_cache(maxsize=1024)
def prompt(text: str) -> Template:
    """Parse a prompt: a template that also knows `{{#context#}}`, under the selector `("context",)`."""
    return _parse(_NAMED_PLACE, text)


def _parse(places: re.Pattern[str], text: str) -> Template:
    segments: list[str | Place] = []
    end = 0
    for match in places.finditer(text):
        if match.start() > end:
            segments.append(text[end : match.start()])
        path = match[match.lastindex or 0]
        segments.append(Place(tuple(path.split(".")), fallback=path))
        end = match.end()
    if end < len(text):
        segments.append(text[end:])
    return Template(tuple(segments))
