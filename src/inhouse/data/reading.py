"""Reading rows out of the files that people have: what kind of file, which format, which form, and every bad row."""

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from inhouse.core.errors import Invalid
from inhouse.data.columns import NAMES, OPTIONAL, SHARED, Unfit, example_of, typed
from inhouse.data.examples import Example, Form, key, label_counts
from inhouse.data.file import (
    MAX_BYTES,
    BadRow,
    Content,
    FileKind,
    FileTooLarge,
    FileUnreadable,
    Row,
    counted,
    file_kinds,
    kind_of,
    size_of,
)
from inhouse.data.format import Format, formats, rest

MAX_PROBLEMS = 200
SAMPLE = 20
_LOOKED_AT = 1000

Mapped = Mapping[str, str | list[str]]
"""What a row is made of -> the column that has it; `features` may be a list of columns."""


class ColumnMissing(Invalid):
    """The mapping names a column that the file does not have."""


class WrongForm(Invalid):
    """Rows of that format do not come in that form."""


class UnknownFormat(Invalid):
    """There is no format of that name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one row cannot be imported. Rows count from 1, as in a spreadsheet without its header."""

    row: int
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would do: nothing has been stored."""

    format: str
    form: Form
    encoding: str
    columns: list[str]
    mapping: dict[str, str | list[str]]
    count: int
    labels: dict[str, int]
    sample: list[dict[str, Any]]
    problems: list[Problem]
    problem_count: int
    warnings: list[str]
    examples: list[Example] = field(repr=False)


def read(
    file: bytes | BinaryIO,
    filename: str,
    mapping: Mapped | None = None,
    *,
    form: str | None = None,
    format: str | None = None,
) -> Preview:
    """Read a whole file; bad rows are listed, not skipped silently. `form` and `format` are found out where not given.

    A mapping is for files with a column for each field; a format such as `alpaca` knows its own columns.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    _check(stream, form, format)
    kind = file_kinds[format] if format and format in file_kinds else kind_of(stream, filename)
    reader = kind()
    reader.ready()
    content = reader.read(stream)
    try:
        return _read(
            content,
            kind,
            mapping or {},
            Form(form) if form else None,
            formats[format] if format and format in formats else None,
        )
    except UnicodeDecodeError as error:
        raise FileUnreadable(
            f"The file looks like {content.encoding} but has other bytes at position {error.start}.",
            hint="Save it as UTF-8.",
        ) from error


def _check(file: BinaryIO, form: str | None, format: str | None) -> None:
    if form and form not in list(Form):
        raise WrongForm(f"There is no form {form!r}.", hint="Known: " + ", ".join(Form))
    if format and format not in file_kinds and format not in formats:
        raise UnknownFormat(f"There is no format {format!r}.", hint="Known: " + ", ".join([*file_kinds, *formats]))
    if size_of(file) > MAX_BYTES:
        raise FileTooLarge(f"A file can have {MAX_BYTES >> 20} MB.", hint="Split it into several imports.")


def _read(
    content: Content, kind: type[FileKind], mapping: Mapped, form: Form | None, chosen: type[Format] | None
) -> Preview:
    rows = counted(content.rows)
    head = list(itertools.islice(rows, _LOOKED_AT))
    plain = [row for row in head if isinstance(row, dict)]
    if not plain:
        raise FileUnreadable("The file has no rows.", hint="A header and at least one row with a text and a label.")
    columns = list(dict.fromkeys(name for row in plain for name in row))
    layout = _layout(plain, columns, mapping, form, chosen)
    taken = _Taken(layout)
    for number, row in enumerate(itertools.chain(head, rows), 1):
        taken.take(number, row)
    examples = list(taken.examples.values())
    if layout.form == Form.TABLE and kind.is_flat:
        examples = typed(examples)
    return Preview(
        format=layout.format.name if layout.format else kind.name,
        form=layout.form,
        encoding=content.encoding,
        columns=columns,
        mapping=layout.mapping,
        count=len(examples),
        labels=dict(label_counts(examples, layout.form).most_common()),
        sample=plain[:SAMPLE],
        problems=taken.problems[:MAX_PROBLEMS],
        problem_count=len(taken.problems),
        warnings=[*content.notes, *_warnings(examples, layout.form), *taken.warnings()],
        examples=examples,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the rows of this file become examples."""

    form: Form
    format: Format | None
    mapping: dict[str, str | list[str]]

    def example(self, row: Row) -> Example:
        unfolded = self.format.unfold(row, self.form) if self.format else self._renamed(row)
        return example_of(unfolded, self.form)

    def column(self, role: str) -> str:
        column = self.mapping.get(role, role)
        return column if isinstance(column, str) else ", ".join(column)

    def _renamed(self, row: Row) -> Row:
        used = {column for column in self.mapping.values() if isinstance(column, str)}
        renamed = {role: row.get(column) for role, column in self.mapping.items() if isinstance(column, str)}
        if self.mapping.get("label") == "":
            del renamed["label"]
            renamed["unlabelled"] = True
        if self.form != Form.TABLE or "features" in renamed:
            return {**renamed, "extra": rest(row, *used)}
        wanted = self.mapping.get("features") or [name for name in row if name not in used]
        return {**renamed, "features": {name: row.get(name) for name in wanted}, "extra": rest(row, *used, *wanted)}


def _layout(
    rows: list[Row], columns: list[str], mapping: Mapped, form: Form | None, chosen: type[Format] | None
) -> _Layout:
    if chosen is not None:
        found = form or chosen().recognises(rows) or _fitting(chosen, rows[0])
        if found not in chosen.forms:
            raise WrongForm(f"{chosen.name!r} has no rows of the form {found.value!r}.", hint=_forms_of(chosen))
        return _Layout(found, chosen(), {})
    if not mapping:
        for format_ in sorted((formats[name] for name in formats), key=lambda one: (one.order, one.name)):
            found = format_().recognises(rows)
            if found is not None and form in (None, found):
                return _Layout(found, format_(), {})
    form = form or _guess(columns, mapping)
    return _Layout(form, None, _mapping(form, columns, mapping))


def _fitting(format_: type[Format], row: Row) -> Form:
    """The first form of a format in which a row can be read."""
    for form in format_.forms:
        with suppress(Unfit):
            example_of(format_().unfold(row, form), form)
            return form
    return format_.forms[0]


def _forms_of(format_: type[Format]) -> str:
    return "It has: " + ", ".join(form.value for form in format_.forms)


def _guess(columns: Sequence[str], mapping: Mapped) -> Form:
    """The form whose columns there are, the most telling ones first."""
    known = {name.strip().lower() for name in columns}

    def has(form: Form, *roles: str) -> bool:
        return all(role in mapping or known & set(NAMES[form][role]) for role in roles)

    if "features" in mapping or "features" in known:
        return Form.TABLE
    if has(Form.PREFERENCE, "messages", "chosen", "rejected"):
        return Form.PREFERENCE
    if ("good" in mapping or known & {"good", "kto_tag"}) and has(Form.RATING, "messages", "answer"):
        return Form.RATING
    if "spans" in mapping or known & {"spans", "entities"}:
        return Form.SPANS
    if "messages" in mapping or known & {"messages", "conversations"}:
        return Form.CHAT
    if "other" in mapping or known & {"other", "sentence2", "text2", "question2", "sentence_b", "positive", "文本2"}:
        return Form.PAIR
    if has(Form.TEXT, "text", "label"):
        return Form.TEXT
    return Form.CHAT if has(Form.CHAT, "messages", "answer") and "text" not in mapping else Form.TEXT


def _mapping(form: Form, columns: list[str], given: Mapped) -> dict[str, str | list[str]]:
    """Which column holds what: as told, or else by its name."""
    roles = {**NAMES[form], **SHARED}
    if unknown := given.keys() - roles.keys():
        raise ColumnMissing(
            f"Rows of the form {form.value!r} have no {min(unknown)!r}.", hint="They have: " + ", ".join(roles)
        )
    mapping: dict[str, str | list[str]] = {}
    for role, names in roles.items():
        column = given.get(role)
        if column == "" and role == "label" and form == Form.TEXT:
            mapping[role] = ""
            continue
        if not column:
            taken = list(mapping.values())
            by_name = {name.strip().lower(): name for name in reversed(columns) if name not in taken}
            column = next((by_name[name] for name in names if name in by_name), None)
        wanted = column if isinstance(column, list) else [column] if column else []
        absent = [name for name in wanted if name not in columns]
        if absent or (not wanted and _is_needed(form, role)):
            what = f"{absent[0]!r} for the {role}" if absent else f"the {role}"
            raise ColumnMissing(
                f"There is no column {what}.",
                hint=f"Columns: {', '.join(columns)}. Map one with mapping={{'{role}': …}}, or say which form it is.",
                columns=columns,
                roles=[*NAMES[form]],
            )
        if column:
            mapping[role] = column
    return mapping


def _is_needed(form: Form, role: str) -> bool:
    if role in SHARED or role in OPTIONAL:
        return False
    return (form, role) not in ((Form.CHAT, "answer"), (Form.TABLE, "features"))


class _Taken:
    """The examples so far, each once, and what is wrong with the other rows."""

    def __init__(self, layout: _Layout) -> None:
        self._layout = layout
        self._first_row: dict[str, int] = {}
        self._repeated = 0
        self.examples: dict[str, Example] = {}
        self.problems: list[Problem] = []

    def take(self, number: int, row: Row | BadRow) -> None:
        form = self._layout.form
        if isinstance(row, BadRow):
            self.problems.append(Problem(number, row.column, row.message))
            return
        try:
            example = self._layout.example(row)
        except Unfit as error:
            self.problems.append(Problem(number, self._layout.column(error.role), error.message))
            return
        same = key(example, form)
        known = self.examples.setdefault(same, example)
        if known is example:
            self._first_row[same] = number
        elif (known.label, known.content) == (example.label, example.content) or form == Form.TABLE:
            self._repeated += 1
        else:
            self.problems.append(self._conflict(number, example, known, self._first_row[same]))

    def warnings(self) -> Iterator[str]:
        if self._repeated:
            yield f"{self._repeated} rows say the same as an earlier one and are left out."

    def _conflict(self, number: int, example: Example, known: Example, first: int) -> Problem:
        role, said, before = {
            Form.TEXT: ("label", example.label, known.label),
            Form.RATING: ("good", example.content.get("good"), known.content.get("good")),
            Form.PAIR: ("score", example.content.get("score"), known.content.get("score")),
            Form.PREFERENCE: ("chosen", example.content.get("chosen"), known.content.get("chosen")),
        }.get(self._layout.form, ("spans", "other places", "its own"))
        said, before = (str(value)[:100] for value in (said, before))
        message = f"Says {said!r}, but row {first} has the same text as {before!r}."
        return Problem(number, self._layout.column(role), message)


def _warnings(examples: list[Example], form: Form) -> Iterator[str]:
    labels = label_counts(examples, form)
    few = sorted(label for label, count in labels.items() if count < 3)
    if few and form == Form.TEXT:
        named = ", ".join(map(repr, few[:10])) + (" …" if len(few) > 10 else "")
        yield f"Too few examples to be tested (under 3): {named}."
    if several := sum("labels" in row.content for row in examples):
        yield f"{several} rows have several labels."
