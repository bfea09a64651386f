"""Workbooks of Excel and its like."""

import datetime
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from inhouse.data.file import (
    MAX_COLUMNS,
    CannotExport,
    Content,
    FileKind,
    FileTooLarge,
    FileUnreadable,
    Row,
    file_kind,
    mended,
    named,
)

_MAX_UNPACKED = 256 << 20
_MAX_PARTS = 10_000
_MAX_CELL = 32_767
_UNREADABLE = (zipfile.BadZipFile, ParseError, KeyError, ValueError, TypeError, AttributeError, EOFError, OSError)


@file_kind("xlsx")
class Xlsx(FileKind):
    """The first sheet that has rows, formulas as what they last came to."""

    suffixes = ("xlsx", "xlsm")
    begins = b"PK\x03\x04"
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    is_flat = True

    def read(self, file: BinaryIO) -> Content:
        from lxml.etree import LxmlError
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException

        _check_size(file)
        try:
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = [sheet for sheet in book.worksheets if _has_rows(sheet)]
        except (*_UNREADABLE, LxmlError, InvalidFileException) as error:
            raise _unreadable(error) from error
        if not sheets:
            raise FileUnreadable("The workbook has no rows.")
        others = [repr(sheet.title) for sheet in sheets[1:]]
        notes = [f"Only the sheet {sheets[0].title!r} is read, not {', '.join(others)}."] if others else []
        return Content(_rows(sheets[0]), notes=notes)

    def write(self, rows: Iterable[Row], out: BinaryIO) -> None:
        from openpyxl import Workbook

        rows = list(rows)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        book = Workbook(write_only=True)
        sheet = book.create_sheet("rows")
        sheet.append([_cell(sheet, name) for name in columns])
        for row in rows:
            sheet.append([_cell(sheet, row.get(name)) for name in columns])
        book.save(out)


def _check_size(file: BinaryIO) -> None:
    """The sizes that the archive declares bound what is unpacked: no more than that is read of a part."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _unreadable(error) from error
    if len(parts) > _MAX_PARTS or sum(part.file_size for part in parts) > _MAX_UNPACKED:
        raise FileTooLarge(
            f"Unpacked, the workbook has more than {_MAX_UNPACKED >> 20} MB or {_MAX_PARTS:,} parts.",
            hint="Save the sheet as CSV.",
        )
    file.seek(0)


def _has_rows(sheet: Any) -> bool:
    sheet.reset_dimensions()  # what a file says about its own size is not to be believed
    return next(sheet.iter_rows(max_row=1, max_col=MAX_COLUMNS + 1), None) is not None


def _rows(sheet: Any) -> Iterator[Row]:
    from lxml.etree import LxmlError

    header: list[str] = []
    try:
        for cells in sheet.iter_rows(max_col=MAX_COLUMNS + 1, values_only=True):
            if not any(cell not in (None, "") for cell in cells):
                continue
            if not header:
                header = _header(cells)
            else:
                yield mended({name: _plain(cell) for name, cell in zip(header, cells, strict=False) if name})
    except (*_UNREADABLE, LxmlError) as error:
        raise _unreadable(error) from error


def _header(cells: tuple[Any, ...]) -> list[str]:
    last = max(number for number, cell in enumerate(cells, 1) if cell not in (None, ""))
    return named(cells[:last])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _cell(sheet: Any, value: Any) -> Any:
    """Text stays text, whatever it begins with: a formula would be run by whoever opens the file."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.utils.exceptions import IllegalCharacterError

    if not isinstance(value, str):
        return value
    if len(value) > _MAX_CELL:
        raise CannotExport(f"A cell of a workbook holds {_MAX_CELL:,} characters at most.", hint="Export JSON lines.")
    try:
        cell = WriteOnlyCell(sheet, value)
    except IllegalCharacterError as error:
        raise CannotExport(
            f"A workbook cannot hold a control character in {value[:60]!r}.", hint="Export JSON lines."
        ) from error
    cell.data_type = "s"
    return cell


def _unreadable(error: Exception) -> FileUnreadable:
    said = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return FileUnreadable(
        f"The workbook cannot be read: {said}.", hint="It may be cut off; save it again as .xlsx, or as CSV."
    )
