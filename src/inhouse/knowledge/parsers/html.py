"""HTML: the readable text of a page, without scripts, styles and navigation."""

import re
from html.parser import HTMLParser

from inhouse.knowledge.clean import decode, is_text
from inhouse.knowledge.parser import Block, Parsed, parser, table_rows

_TAG = re.compile(rb"<(?:!doctype\s+html|html|head|body|div|p|h[1-6])\b", re.IGNORECASE)
_SKIPPED = {"script", "style", "noscript", "template", "nav", "header", "footer", "svg", "form"}
_LISTS = {"ul", "ol", "li", "dl", "dt", "dd"}
_BREAKS = {"p", "div", "section", "article", "main", "blockquote", "pre", "br", "hr", "body", "table", *_LISTS}
_CELLS = {"td", "th"}
_LEVELS = {f"h{level}": level for level in range(1, 7)}


def _recognise(data: bytes) -> bool:
    return is_text(data) and _TAG.search(data[:4096]) is not None


@parser("html", suffixes=(".html", ".htm"), recognises=_recognise)
def parse(data: bytes) -> Parsed:
    page = _Page()
    page.feed(decode(data))
    page.close()
    page.end_block()
    return Parsed(page.blocks, title=page.title)


class _Page(HTMLParser):
    """Collects blocks while the tags go by."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self.title = ""
        self._text: list[str] = []
        self._skipping: list[str] = []
        self._rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping.append(tag)
        elif tag == "tr":
            self._end_cell()
            self.end_block()
            self._rows.append([])
        elif tag in _CELLS:
            self._end_cell()
            self._in_cell = bool(self._rows)
        elif tag == "title" or tag in _LEVELS or tag in _BREAKS:
            self._break()

    def handle_endtag(self, tag: str) -> None:
        if tag in self._skipping:
            del self._skipping[self._skipping.index(tag) :]
        elif tag == "title":
            self.title = self._taken()
        elif tag in _CELLS or tag == "tr":
            self._end_cell()
        elif tag == "table":
            self._end_cell()
            self.blocks += [Block(row) for row in table_rows(self._rows)]
            self._rows.clear()
        elif tag in _LEVELS or tag in _BREAKS:
            self._break(_LEVELS.get(tag, 0))

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._text.append(data)

    def end_block(self, level: int = 0) -> None:
        if text := self._taken():
            self.blocks.append(Block(text, level=level))

    def _break(self, level: int = 0) -> None:
        """End the block, but inside a table cell only the word."""
        if self._in_cell:
            self._text.append(" ")
        else:
            self.end_block(level)

    def _end_cell(self) -> None:
        """End the open cell; its end tag may be missing."""
        if self._in_cell:
            self._rows[-1].append(self._taken())
            self._in_cell = False

    def _taken(self) -> str:
        text = " ".join("".join(self._text).split())
        self._text.clear()
        return text
