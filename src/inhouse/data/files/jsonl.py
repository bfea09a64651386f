"""One JSON object a line."""

import io
import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from inhouse.data.file import BadRow, Content, FileKind, FileUnreadable, Row, file_kind, mended, open_text

_MAX_LINE = 16 << 20


@file_kind("jsonl")
class JsonLines(FileKind):
    """JSON lines: nothing is lost on the way out and back."""

    suffixes = ("jsonl", "ndjson")
    media_type = "application/x-ndjson"

    def read(self, file: BinaryIO) -> Content:
        text, encoding = open_text(file, newline="\n")
        return Content(_rows(text), encoding)

    def write(self, rows: Iterable[Row], out: BinaryIO) -> None:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _rows(text: io.TextIOWrapper) -> Iterator[Row | BadRow]:
    """A file whose first line is no object is none of this kind; after that a bad line is a bad row."""
    number, has_begun = 0, False
    while line := text.readline(_MAX_LINE):
        number += 1
        if not line.strip():
            continue
        try:
            yield _row(line, number)
        except FileUnreadable as error:
            if not has_begun:
                raise
            yield BadRow(error.message)
        has_begun = True


def _row(line: str, number: int) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FileUnreadable(f"Line {number} is not JSON: {error}.") from error
    if not isinstance(row, dict):
        raise FileUnreadable(f"Line {number} is not a JSON object.", hint='Like {"text": "…", "label": "…"}.')
    return mended(row)
