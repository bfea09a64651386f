"""A list of JSON objects."""

import json
from collections.abc import Iterable
from typing import BinaryIO

from inhouse.data.file import (
    BadRow,
    Content,
    FileKind,
    FileTooLarge,
    FileUnreadable,
    Row,
    file_kind,
    mended,
    open_text,
    size_of,
)

_MAX_BYTES = 256 << 20


@file_kind("json")
class Json(FileKind):
    """A list of objects, or an object with one list in it."""

    suffixes = ("json",)
    media_type = "application/json"

    def read(self, file: BinaryIO) -> Content:
        if size_of(file) > _MAX_BYTES:
            raise FileTooLarge(f"JSON files can have {_MAX_BYTES >> 20} MB.", hint="Save it as JSON lines (.jsonl).")
        text, encoding = open_text(file)
        body = text.read()
        try:
            rows = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise FileUnreadable(f"The file is not JSON: {error}.") from error
        if isinstance(rows, dict):
            rows = next((value for value in rows.values() if isinstance(value, list)), None)
        if not isinstance(rows, list) or not any(isinstance(row, dict) for row in rows):
            raise FileUnreadable("The JSON is not a list of objects.", hint='Like [{"text": "…", "label": "…"}, …].')
        return Content(
            (mended(row) if isinstance(row, dict) else BadRow("Is not an object.") for row in rows), encoding
        )

    def write(self, rows: Iterable[Row], out: BinaryIO) -> None:
        out.write(b"[")
        for number, row in enumerate(rows):
            out.write((b",\n" if number else b"\n") + json.dumps(row, ensure_ascii=False).encode())
        out.write(b"\n]\n")
