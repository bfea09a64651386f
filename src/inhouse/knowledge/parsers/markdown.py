"""Markdown: headings, paragraphs, lists, tables and fenced code."""

import re
from collections.abc import Iterator
from itertools import groupby

from inhouse.knowledge.clean import decode, is_text
from inhouse.knowledge.parser import Block, Parsed, parser, table_rows

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SETEXT = re.compile(r"^(\S.*)\n(=+|-{3,})[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"(#{1,6})\s+(.*?)[\s#]*$")
_FENCE = re.compile(r"\s*(```|~~~)")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
_TABLE_RULE = re.compile(r"\s*\|?[\s:|-]+\|?\s*$")
_INLINE = re.compile(
    r"!?\[(?P<link>[^\]]*)\]\([^)]*\)|\*\*(?=\S)(?P<bold>.+?)(?<=\S)\*\*|`(?P<code>[^`]+)`"
    r"|(?<![\w*])\*(?=\S)(?P<italic>[^*]+?)(?<=\S)\*(?![\w*])"
)


@parser("markdown", suffixes=(".md", ".markdown"), recognises=is_text)
def parse(data: bytes) -> Parsed:
    text = _COMMENT.sub("", _FRONT_MATTER.sub("", decode(data)))
    text = _SETEXT.sub(lambda found: f"{'#' if found[2][0] == '=' else '##'} {found[1]}", text)
    return Parsed(list(_blocks(text.split("\n"))))


def _blocks(lines: list[str]) -> Iterator[Block]:
    for kind, group in groupby(_kinds(lines), key=lambda item: item[0]):
        block = [line for _, line in group]
        if kind == "heading":
            for marks, title in (match.groups() for line in block if (match := _HEADING.match(line))):
                yield Block(_plain(title), level=len(marks))
        elif kind == "table":
            rows = [[_plain(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in block]
            yield from (Block(row) for row in table_rows(rows))
        elif kind == "code":
            yield Block("\n".join(block))
        elif kind:
            yield from (Block(_plain(text)) for text in _paragraphs(block))


def _kinds(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Tell what each line belongs to; blank lines, fences and table rules have the kind ''."""
    fenced = False
    for line in lines:
        if _FENCE.match(line):
            fenced = not fenced
            yield "", line
        elif fenced:
            yield "code", line
        elif not line.strip():
            yield "", line
        elif _HEADING.match(line):
            yield "heading", line
        elif line.lstrip().startswith("|"):
            if not _TABLE_RULE.match(line):
                yield "table", line
        else:
            yield "text", line.lstrip("> ")


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Join wrapped lines; a list item begins a new paragraph."""
    paragraph: list[str] = []
    for line in lines:
        if paragraph and _ITEM.match(line):
            yield "\n".join(paragraph)
            paragraph = []
        paragraph.append(_ITEM.sub("", line, count=1).strip())
    yield "\n".join(paragraph)


def _plain(text: str) -> str:
    """Keep the words of links, bold, italic and code."""
    while (bare := _INLINE.sub(lambda found: found[found.lastgroup or 0], text)) != text:
        text = bare
    return text
