"""PDF: paragraphs and headings with their page numbers, without running headers and footers."""

import re
from collections import Counter
from collections.abc import Iterator
from ctypes import c_double
from itertools import pairwise
from math import hypot
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from inhouse.knowledge.parser import Block, Parsed, Unreadable, parser

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

MAX_PAGES = 5_000
HEADING_RATIO = 1.03
MAX_HEADING_CHARS = 100
MARGIN_ZONE = 0.1
"""Share of the page height, at top and bottom, in which a recurring line is a running header or footer."""

CELL_GAP = 1.5
"""Times the type size: a wider space parts two cells of a table."""

_CELL = " | "
_PASSWORD_NEEDED = 4  # FPDF_ERR_PASSWORD
_HYPHEN = "\x02"  # PDFium's mark for a word divided at the end of a line
_PRINTED_LINE = re.compile(r"[^\s](?:[^\r\n]*[^\s])?")
_ITEM = re.compile(r"(?:\d{1,2}[.)、]|[-•·–])\s*\D")
_DIGITS = re.compile(r"\d+")
_SENTENCE_END = (".", "。", ";", "；", ",", "，", "!", "！")
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")


class Line(NamedTuple):
    """A printed line: its text, page, extent and type size in points; `y` is its baseline, upwards from below.
    Wide gaps (between the cells of a table) are written as ` | `."""

    text: str
    page: int
    left: float
    right: float
    y: float
    size: float


@parser("pdf", suffixes=(".pdf",), recognises=lambda data: b"%PDF-" in data[:1024])
def parse(data: bytes) -> Parsed:
    document = _open(data)
    pages = [(page := document[number], _lines(page, number + 1)) for number in range(len(document))]
    kept = _without_running_lines([(page.get_height(), lines) for page, lines in pages])
    if not any(kept):
        raise Unreadable(
            "The PDF holds no text: its pages are pictures (a scan).",
            hint="Run text recognition (OCR) on it first, or upload the original document.",
        )
    title = document.get_metadata_dict().get("Title", "")
    return Parsed(list(_blocks(kept)), title=title, pages=len(document))


def _open(data: bytes) -> "PdfDocument":
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        document = PdfDocument(data)
    except PdfiumError as error:
        if error.err_code == _PASSWORD_NEEDED:
            raise Unreadable("The PDF is protected by a password.", hint="Save it without a password.") from error
        raise Unreadable(
            "The PDF is damaged or has no pages.", hint="Open it in a viewer and save or print it as PDF again."
        ) from error
    if len(document) == 0:
        raise Unreadable("The PDF has no pages.", hint="Export it again.")
    if len(document) > MAX_PAGES:
        raise Unreadable(f"The PDF has {len(document)} pages; at most {MAX_PAGES} are read.", hint="Split it.")
    return document


def _lines(page: "PdfPage", number: int) -> list[Line]:
    """Return the page's printed lines in reading order."""
    from pypdfium2 import raw

    text_page = page.get_textpage()
    chars = "".join(chr(raw.FPDFText_GetUnicode(text_page.raw, i)) for i in range(text_page.count_chars()))
    lines: list[Line] = []
    for found in _PRINTED_LINE.finditer(chars):
        first, last = found.start(), found.end() - 1
        size, y = _size_and_baseline(text_page, last)
        left, right = text_page.get_charbox(first, loose=True)[0], text_page.get_charbox(last, loose=True)[2]
        text = _with_cells(text_page, found[0], first, size)
        lines.append(Line(text, number, left, right, y, size))
    return lines


def _with_cells(text_page: "PdfTextPage", text: str, start: int, size: float) -> str:
    """Mark the spaces that are too wide to stand between words."""
    words: list[str] = []
    for word in re.finditer(r"[^ ]+", text):
        if words:
            before = text_page.get_charbox(start + word.start() - 2, loose=True)[2]
            after = text_page.get_charbox(start + word.start(), loose=True)[0]
            words.append(_CELL if after - before > CELL_GAP * size else " ")
        words.append(word[0])
    return "".join(words).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _size_and_baseline(text_page: "PdfTextPage", position: int) -> tuple[float, float]:
    """The type size and the baseline of a character, in points: unlike boxes they are the same in every font."""
    from pypdfium2 import raw

    matrix, x, y = raw.FS_MATRIX(), c_double(), c_double()
    raw.FPDFText_GetMatrix(text_page.raw, position, matrix)
    raw.FPDFText_GetCharOrigin(text_page.raw, position, x, y)
    size = raw.FPDFText_GetFontSize(text_page.raw, position) * hypot(matrix.c, matrix.d)
    return round(size, 1), y.value


def _without_running_lines(pages: list[tuple[float, list[Line]]]) -> list[list[Line]]:
    """Drop lines that stand at the same height near the edge of most pages, page numbers aside."""
    written = [(height, lines) for height, lines in pages if lines]
    seen = Counter(key for height, lines in written for key in {_running_key(line, height) for line in lines})
    limit = max(2, 0.6 * len(written))
    return [
        [line for line in lines if (key := _running_key(line, height)) is None or seen[key] < limit]
        for height, lines in pages
    ]


def _running_key(line: Line, page_height: float) -> tuple[str, int] | None:
    near_edge = not MARGIN_ZONE < line.y / page_height < 1 - MARGIN_ZONE
    return (_DIGITS.sub("#", line.text), round(line.y / 4)) if near_edge else None


def _blocks(pages: list[list[Line]]) -> Iterator[Block]:
    body = _body_size(pages)
    levels = _heading_levels(pages, body)
    for lines in pages:
        right = max((line.right for line in lines), default=0)
        for group in _paragraphs(lines, right):
            level = levels.get(group[0].size, 0) if _is_heading(group, body) else 0
            yield Block(_joined(group), page=group[0].page, level=level)


def _body_size(pages: list[list[Line]]) -> float:
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0]


def _heading_levels(pages: list[list[Line]], body: float) -> dict[float, int]:
    """The largest type is level 1, the next level 2, …"""
    sizes = {line.size for lines in pages for line in lines if line.size > body * HEADING_RATIO}
    return {size: min(level, 6) for level, size in enumerate(sorted(sizes, reverse=True), start=1)}


def _is_heading(lines: list[Line], body: float) -> bool:
    text = lines[-1].text
    return (
        lines[0].size > body * HEADING_RATIO
        and sum(len(line.text) for line in lines) <= MAX_HEADING_CHARS
        and not text.endswith(_SENTENCE_END)
    )


def _paragraphs(lines: list[Line], right: float) -> Iterator[list[Line]]:
    """Group the lines of one page. A paragraph ends where the type size changes, the gap is larger than usual, or the
    next line's first word would still have fitted (with some doubt in favour of a sentence that goes on)."""
    gaps = [above.y - below.y for above, below in pairwise(lines) if above.size == below.size and above.y > below.y]
    usual_gap = median(gaps) if gaps else 0
    group: list[Line] = []
    for line in lines:
        if group and not _continues(group[-1], line, right, usual_gap):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _continues(above: Line, below: Line, right: float, usual_gap: float) -> bool:
    gap = above.y - below.y
    if _CELL in above.text or _CELL in below.text:
        return False
    if abs(above.size - below.size) > 0.5 or not 0 < gap <= max(1.2 * usual_gap, 1.2 * above.size):
        return False
    if not above.text.endswith(_SENTENCE_END):
        return below.text[0].islower() or above.right + _first_word_width(below) + above.size > right
    return not _ITEM.match(below.text) and above.right + _first_word_width(below) > right


def _first_word_width(line: Line) -> float:
    """The room that the line's first word (in Chinese: character, with the punctuation behind it) and a space take."""
    word = line.text[:2] if _WIDE.match(line.text) else line.text.split(maxsplit=1)[0]
    return (line.right - line.left) * (len(word) + 1) / max(len(line.text), 1)


def _joined(lines: list[Line]) -> str:
    text = lines[0].text
    for line in lines[1:]:
        if text.endswith(_HYPHEN):
            text = text[:-1] + line.text
        elif _WIDE.match(text[-1]) or _WIDE.match(line.text):
            text += line.text
        else:
            text += " " + line.text
    return text.replace(_HYPHEN, "-")
