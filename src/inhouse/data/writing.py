"""Writing rows into files that other programs read."""

import json
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from inhouse.data.columns import columns_of, flat
from inhouse.data.examples import Example, Form
from inhouse.data.file import CannotExport, FileKind, Row, file_kinds
from inhouse.data.format import formats
from inhouse.data.reading import UnknownFormat


def kind_for(format_: str, form: Form) -> type[FileKind]:
    """The kind of file that an export in a format is. Raises where rows of the form cannot be written in it."""
    if format_ in file_kinds:
        kind = file_kinds[format_]
        if format_ == "conll" and form != Form.SPANS:
            raise CannotExport(f"CoNLL files have marked places, and the rows are of the form {form.value!r}.")
        return kind
    if format_ not in formats:
        raise UnknownFormat(f"There is no format {format_!r}.", hint="Known: " + ", ".join([*file_kinds, *formats]))
    if form not in formats[format_].forms:
        possible = [*file_kinds, *(name for name in formats if form in formats[name].forms)]
        raise CannotExport(
            f"{format_!r} has no rows of the form {form.value!r}.", hint="Such rows go into: " + ", ".join(possible)
        )
    return file_kinds[formats[format_].file]


def write(rows: Sequence[Example], form: Form, format_: str, out: BinaryIO) -> None:
    """Write every row or raise `CannotExport`: nothing is left out silently."""
    kind = kind_for(format_, form)
    writer = kind()
    writer.ready()
    writer.write(_rows(rows, form, format_, kind), out)


def _rows(rows: Sequence[Example], form: Form, format_: str, kind: type[FileKind]) -> Iterator[Row]:
    if format_ in formats:
        folding = formats[format_]()
        yield from (folding.fold(row, form) for row in rows)
        return
    for row in rows:
        columns = columns_of(row, form)
        if kind.is_flat:
            yield flat(columns, form)
        elif kind.name == "parquet":
            yield _one_type(columns, form)
        else:
            yield columns


def _one_type(columns: Row, form: Form) -> Row:
    """Columns of one type each: features are columns of their own, and what differs from row to row is JSON."""
    if form == Form.TABLE:
        return flat(columns, form)
    mixed = {name: json.dumps(columns[name], ensure_ascii=False) for name in ("meta",) if name in columns}
    return {**columns, **mixed, **({"label": flat(columns, form)["label"]} if "label" in columns else {})}
