"""What a parser is: one function that turns a file's bytes into blocks of text, registered under a short name.

To read a new format, put one file into `parsers/` and decorate its function with `@parser(...)`. Parsers run in a
child process with limits (see `sandbox.py`) and import their libraries inside the function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

from inhouse.core.errors import Invalid
from inhouse.core.registry import Registry


class Unreadable(Invalid):
    """A document whose text cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """A heading (`level` 1 is the top), a paragraph, a list item or a table row (`level` 0)."""

    text: str
    page: int | None = None
    level: int = 0


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document's blocks in reading order."""

    blocks: list[Block] = field(default_factory=list)
    title: str = ""
    pages: int | None = None


class Parser(NamedTuple):
    """One format: the file name endings that claim it, a test of the content, and the reading."""

    name: str
    suffixes: Sequence[str]
    recognises: Callable[[bytes], bool]
    parse: Callable[[bytes], Parsed]


PARSERS: Registry[Parser] = Registry("parser", package="inhouse.knowledge.parsers")


def parser(
    name: str, *, suffixes: Sequence[str], recognises: Callable[[bytes], bool]
) -> Callable[[Callable[[bytes], Parsed]], Callable[[bytes], Parsed]]:
    """Register a function as the parser of one format."""

    def register(parse: Callable[[bytes], Parsed]) -> Callable[[bytes], Parsed]:
        PARSERS.add(name, Parser(name, suffixes, recognises, parse))
        return parse

    return register


def choose(filename: str, data: bytes) -> Parser:
    """Return the parser that the file name claims, once the content bears it out."""
    if not data.strip():
        raise Unreadable(f"{filename!r} is empty.", hint="Upload the file again.")
    suffix = PurePath(filename).suffix.lower()
    known = [PARSERS[name] for name in PARSERS]
    claimed = next((one for one in known if suffix in one.suffixes), None)
    if claimed is None:
        endings = " ".join(sorted(ending for one in known for ending in one.suffixes))
        raise Unreadable(f"{filename!r} has a format that cannot be read.", hint=f"Known file endings: {endings}")
    if not claimed.recognises(data):
        real = next((one.name for one in known if one.recognises(data)), None)
        seems = f"; its content looks like {real}" if real else ""
        raise Unreadable(
            f"{filename!r} is not a {claimed.name} file{seems}.", hint="Save it in the right format or rename it."
        )
    return claimed


def table_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write each row so that it can be understood, and quoted, alone: `Office: Hangzhou; Days: 10`."""
    if len(rows) < 2:
        return ["; ".join(cell for cell in row if cell) for row in rows]
    header, *body = rows
    return ["; ".join(f"{name}: {cell}" if name else cell for name, cell in _cells(header, row)) for row in body]


def _cells(header: Sequence[str], row: Sequence[str]) -> list[tuple[str, str]]:
    names = [*header, *[""] * (len(row) - len(header))]
    return [(name, cell) for name, cell in zip(names, row, strict=False) if cell]
