"""Values separated by commas, semicolons, tabs or bars."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from inhouse.data.file import BadRow, Content, FileKind, FileUnreadable, Row, file_kind, named, open_text

_MAX_CELL = 4 << 20
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


@file_kind("csv")
class Csv(FileKind):
    """A header, and a line for each row. The separator is found out."""

    suffixes = ("csv",)
    media_type = "text/csv; charset=utf-8"
    is_flat = True
    separator = ""

    def read(self, file: BinaryIO) -> Content:
        text, encoding = open_text(file)
        head = text.read(8192)
        text.seek(0)
        first_line = next(iter(head.splitlines()), "")
        separator = self.separator or max(",;\t|", key=first_line.count)
        return Content(_rows(text, separator), encoding)

    def write(self, rows: Iterable[Row], out: BinaryIO) -> None:
        rows = list(rows)
        text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, delimiter=self.separator or ",", lineterminator="\r\n")
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer.writerow(map(_inert, columns))
        for row in rows:
            writer.writerow([_inert(row.get(name)) for name in columns])
        text.detach()


@file_kind("tsv")
class Tsv(Csv):
    """Like CSV, with tabs."""

    suffixes = ("tsv", "tab")
    media_type = "text/tab-separated-values; charset=utf-8"
    separator = "\t"


def _rows(text: io.TextIOWrapper, separator: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(text, delimiter=separator, strict=True)
    try:
        header = named(next(reader, []))
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _row(header, cells)
    except csv.Error as error:
        raise FileUnreadable(
            f"The CSV cannot be read at line {reader.line_num}: {error}.", hint="A quote may not be closed."
        ) from error


def _row(header: list[str], cells: list[str]) -> Row | BadRow:
    """Empty cells beyond the header don't count."""
    if any(cell.strip() for cell in cells[len(header) :]):
        return BadRow("Has more cells than the header; is a comma missing its quotes?")
    return {name: _as_meant(cell) for name, cell in zip(header, cells, strict=False)}


def _inert(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe before what looks like one."""
    cell = "" if value is None else str(value)
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _as_meant(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
