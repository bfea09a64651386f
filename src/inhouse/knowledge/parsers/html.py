"""HTML: the readable text of a page, without scripts, styles and navigation."""

import re
from html.parser import HTMLParser

from inhouse.knowledge.clean import decode, is_text
from inhouse.knowledge.parser import Block, Parsed, parser, table_rows

_TAG = re.compile(rb"<(?:!doctype\s+html|html|head|body|div|p|h[1-6])\b", re.IGNORECASE)
_SKIPPED = {"script", "style", "noscript", "template", "nav", "header", "footer", "svg", "form"}
_LISTS = {"ul", "ol", "li", "dl", "dt", "dd"}
_BREAKS = {"p", "div", "section", "article", "main", "blockquote", "pre", "br", "hr", "body", "table", *_LISTS}
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

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping.append(tag)
        elif tag == "tr":
            self.end_block()
            self._rows.append([])
        elif tag in ("td", "th"):
            self._text.clear()
        elif tag == "title" or tag in _LEVELS or (tag in _BREAKS and not self._in_row()):
            self.end_block()

    def handle_endtag(self, tag: str) -> None:
        if tag in self._skipping:
            del self._skipping[self._skipping.index(tag) :]
        elif tag == "title":
            self.title = self._taken()
        elif tag in _LEVELS:
            self.end_block(_LEVELS[tag])
        elif tag in ("td", "th") and self._rows:
            self._rows[-1].append(self._taken())
        elif tag == "table":
            self.blocks += [Block(row) for row in table_rows(self._rows)]
            self._rows.clear()
        elif tag in _BREAKS and not self._in_row():
            self.end_block()

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._text.append(data)

    def end_block(self, level: int = 0) -> None:
        if text := self._taken():
            self.blocks.append(Block(text, level=level))

    def _in_row(self) -> bool:
        return bool(self._rows)

    def _taken(self) -> str:
        text = " ".join("".join(self._text).split())
        self._text.clear()
        return text
