"""Cut a document into passages: small enough to quote, whole enough to understand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from inhouse.knowledge.parser import Block
from inhouse.knowledge.tokens import CJK

TARGET_SIZE = 240
MAX_SIZE = 400
"""In Chinese characters or Western words. A section up to `MAX_SIZE` stays whole; a longer one is cut near
`TARGET_SIZE`, between blocks if possible, else between sentences."""

_UNIT = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_ABBREVIATION = r"(?<!\b[A-Z])(?<!\b(?:Mr|Dr|Ms|No|vs|St))(?<!\bMrs)(?<!\bext)(?<!\be\.g)(?<!\bi\.e)"
_SENTENCE_END = re.compile(rf"(?<=[。！？!?…；])[”’」』）)\"']*|{_ABBREVIATION}\.[\"')\]]*(?=\s+[^\sa-z])|\n")


@dataclass(frozen=True, slots=True)
class Draft:
    """A passage to be: `start` and `end` are its place in the document's text (its blocks joined by line breaks)."""

    text: str
    heading: tuple[str, ...]
    page: int | None
    start: int
    end: int


def split(blocks: Sequence[Block]) -> list[Draft]:
    """Cut at headings and pages first, so that a passage has one heading path and one page."""
    return [draft for section in _sections(blocks) for draft in _pack(section)]


def size(text: str) -> int:
    """Chinese characters and Western words."""
    return len(_UNIT.findall(text))


def sentences(text: str) -> list[str]:
    """Cut text after each sentence; joined again, the parts are the text."""
    cuts = [0, *(found.end() for found in _SENTENCE_END.finditer(text)), len(text)]
    return [text[a:b] for a, b in pairwise(cuts) if b > a]


@dataclass(slots=True)
class _Section:
    heading: tuple[str, ...]
    page: int | None
    pieces: list[tuple[int, str]]


def _sections(blocks: Sequence[Block]) -> Iterator[_Section]:
    path: list[tuple[int, str]] = []
    section = _Section((), None, [])
    start = 0
    for block, following in zip_longest(blocks, blocks[1:]):
        if block.level:
            path = [*((level, text) for level, text in path if level < block.level), (block.level, block.text)]
        if block.level or block.page != section.page:
            yield section
            section = _Section(tuple(text for _, text in path), block.page, [])
        if not block.level or _stands_alone(block, following):
            section.pieces.append((start, block.text))
        start += len(block.text) + 1
    yield section


def _stands_alone(heading: Block, following: Block | None) -> bool:
    """Nothing below the heading carries its words, so they are a passage themselves."""
    return following is None or 0 < following.level <= heading.level


def _pack(section: _Section) -> Iterator[Draft]:
    """Fill passages with the section's blocks, or with the sentences of a block that is too long by itself."""
    total = sum(size(text) for _, text in section.pieces)
    limit = MAX_SIZE if total <= MAX_SIZE else TARGET_SIZE
    held: list[tuple[int, str]] = []
    held_size = 0
    for start, text in _pieces(section):
        if held and held_size + size(text) > limit:
            yield _draft(section, held)
            held, held_size = [], 0
        held.append((start, text))
        held_size += size(text)
    if held:
        yield _draft(section, held)


def _pieces(section: _Section) -> Iterator[tuple[int, str]]:
    for start, text in section.pieces:
        parts = sentences(text) if size(text) > TARGET_SIZE else [text]
        for part in parts:
            yield from _windows(start, part)
            start += len(part)


def _windows(start: int, text: str) -> Iterator[tuple[int, str]]:
    """Cut what has no sentences (a table dump, code) by units."""
    units = list(_UNIT.finditer(text))
    cuts = [0, *(unit.start() for unit in units[TARGET_SIZE::TARGET_SIZE]), len(text)]
    for a, b in pairwise(cuts):
        yield start + a, text[a:b]


def _draft(section: _Section, pieces: list[tuple[int, str]]) -> Draft:
    text, end = "", pieces[0][0]
    for start, piece in pieces:
        text += "\n" * (start - end) + piece
        end = start + len(piece)
    start = pieces[0][0] + len(text) - len(text.lstrip())
    text = text.strip()
    return Draft(text, section.heading, section.page, start, start + len(text))
