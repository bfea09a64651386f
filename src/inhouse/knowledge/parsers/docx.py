"""Word documents (.docx): paragraphs and tables in body order, headings by style."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from inhouse.knowledge.parser import Block, Parsed, Unreadable, parser, table_rows

if TYPE_CHECKING:
    from docx.document import Document
    from docx.table import Table
    from docx.text.paragraph import Paragraph

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
MAX_PARTS = 5_000
_HEADING_STYLE = re.compile(r"(?:heading|标题)\s*(\d)", re.IGNORECASE)
_OLE_MAGIC = b"\xd0\xcf\x11\xe0"


def _recognise(data: bytes) -> bool:
    return data.startswith((b"PK\x03\x04", _OLE_MAGIC))


@parser("docx", suffixes=(".docx",), recognises=_recognise)
def parse(data: bytes) -> Parsed:
    from docx import Document
    from docx.opc.exceptions import PackageNotFoundError
    from lxml.etree import XMLSyntaxError

    _check_package(data)
    try:
        document = Document(io.BytesIO(data))
        return Parsed(list(_blocks(document)), title=document.core_properties.title)
    except (PackageNotFoundError, XMLSyntaxError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise Unreadable(
            f"The Word document is damaged: {error}.", hint="Open it in Word and save it again as .docx."
        ) from error


def _check_package(data: bytes) -> None:
    if data.startswith(_OLE_MAGIC):
        raise Unreadable(
            "The Word document is protected by a password or in the old .doc format.",
            hint="Save it as .docx without a password.",
        )
    try:
        parts = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except zipfile.BadZipFile as error:
        raise Unreadable("The Word document is damaged: it is no whole zip file.", hint="Upload it again.") from error
    if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
        raise Unreadable(
            f"The Word document unpacks to more than {MAX_UNPACKED_BYTES >> 20} MB or {MAX_PARTS} parts.",
            hint="Remove large pictures and attachments.",
        )
    if not any(part.filename == "word/document.xml" for part in parts):
        raise Unreadable("The file is a zip file but not a Word document.", hint="Save it as .docx.")


def _blocks(document: "Document") -> Iterator[Block]:
    from docx.table import Table

    for item in document.iter_inner_content():
        if isinstance(item, Table):
            yield from (Block(row) for row in table_rows(_rows(item)))
        else:
            yield Block(item.text, level=_level(item))


def _level(paragraph: "Paragraph") -> int:
    style = (paragraph.style.name or "") if paragraph.style else ""
    if style == "Title":
        return 1
    match = _HEADING_STYLE.match(style)
    return int(match[1]) if match else 0


def _rows(table: "Table") -> list[list[str]]:
    """Return the cells' text; a merged cell, which python-docx repeats, counts at its first place only."""
    rows = [row.cells for row in table.rows]
    return [
        [
            "" if i and cell._tc is cells[i - 1]._tc else " ".join(cell.text.split())  # pyright: ignore[reportPrivateUsage]
            for i, cell in enumerate(cells)
        ]
        for cells in rows
    ]
