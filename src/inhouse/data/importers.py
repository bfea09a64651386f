"""Reading labelled rows out of the files that people have: CSV, JSON lines, JSON."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from charset_normalizer import from_bytes

from inhouse.core.errors import Invalid
from inhouse.data.examples import Example, normalise

MAX_ROWS = 1_000_000
MAX_TEXT = 20_000
MAX_PROBLEMS = 200
SAMPLE = 20
_MAX_DEPTH = 50
_UNFIT = re.compile("[\0\ud800-\udfff]")
_ENCODINGS = ["gb18030", "big5", "shift_jis", "euc_kr", "cp1252"]
_TEXT_NAMES = ("text", "utterance", "question", "query", "sentence", "content", "文本", "问题", "问句", "内容")
_LABEL_NAMES = ("label", "intent", "category", "class", "target", "标签", "意图", "类别", "分类")


class FileUnreadable(Invalid):
    """The file as a whole cannot be read as rows."""


class ColumnMissing(Invalid):
    """The mapping names a column that the file does not have."""


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
    encoding: str
    columns: list[str]
    mapping: dict[str, str]
    count: int
    labels: dict[str, int]
    sample: list[dict[str, Any]]
    problems: list[Problem]
    problem_count: int
    warnings: list[str]
    examples: list[Example] = field(repr=False)


def read(data: bytes, filename: str, mapping: Mapping[str, str] | None = None) -> Preview:
    """Read a whole file; bad rows are listed, not skipped silently."""
    text, encoding = decode(data)
    format_, rows = _rows(text, filename)
    if not rows:
        raise FileUnreadable("The file has no rows.", hint="A header and at least one row with a text and a label.")
    if len(rows) > MAX_ROWS:
        raise FileUnreadable(f"The file has more than {MAX_ROWS:,} rows.", hint="Split it into several imports.")
    columns = list(dict.fromkeys(name for row in rows[:1000] for name in row))
    columns_used = _mapping(columns, mapping)
    examples, problems = _examples(rows, columns_used)
    labels = Counter(example.label for example in examples)
    return Preview(
        format=format_,
        encoding=encoding,
        columns=columns,
        mapping=columns_used,
        count=len(examples),
        labels=dict(labels.most_common()),
        sample=rows[:SAMPLE],
        problems=problems[:MAX_PROBLEMS],
        problem_count=len(problems),
        warnings=_warnings(labels),
        examples=examples,
    )


def decode(data: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding (UTF-8, UTF-16, or a detected legacy one such as GBK)."""
    if not data.strip():
        raise FileUnreadable("The file is empty.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), "utf-16"
    if b"\0" in data:
        raise FileUnreadable("This is not a text file.", hint="Export it as CSV, JSON or JSON lines.")
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        found = from_bytes(data[: 1 << 20], cp_isolation=_ENCODINGS).best()
    if found is None:
        raise FileUnreadable("The encoding of the file cannot be told.", hint="Save it as UTF-8.")
    try:
        return data.decode(found.encoding), "gbk" if found.encoding == "gb18030" else found.encoding
    except UnicodeDecodeError as error:
        raise FileUnreadable(
            f"The file looks like {found.encoding} but has other bytes at position {error.start}.",
            hint="Save it as UTF-8.",
        ) from error


def _rows(text: str, filename: str) -> tuple[str, list[dict[str, Any]]]:
    suffix = filename.rpartition(".")[2].lower()
    if suffix in ("jsonl", "ndjson"):
        return "jsonl", list(_json_lines(text))
    if suffix == "json":
        return "json", _json(text)
    if suffix in ("csv", "tsv", "txt"):
        return "csv", _csv(text, "\t" if suffix == "tsv" else None)
    raise FileUnreadable(f"{filename!r} is not a kind of file that can be imported.", hint="Use .csv, .json or .jsonl.")


def _csv(text: str, delimiter: str | None) -> list[dict[str, Any]]:
    head = text[:8192]
    if delimiter is None:
        first_line = head.splitlines()[0] if head.splitlines() else ""
        delimiter = max(",;\t|", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        if len(set(header)) != len(header):
            raise FileUnreadable("Two columns of the header have the same name.", hint=f"Header: {', '.join(header)}.")
        return [_cells(header, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise FileUnreadable(
            f"The CSV cannot be read at line {reader.line_num}: {error}.", hint="A quote may not be closed."
        ) from error


class _Overlong(dict[str, Any]):
    """A CSV row with more cells than the header; empty ones at its end don't count."""


def _cells(header: list[str], row: list[str]) -> dict[str, Any]:
    kind = _Overlong if any(cell.strip() for cell in row[len(header) :]) else dict
    return kind(zip(header, row, strict=False))


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FileUnreadable(f"Line {number} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise FileUnreadable(f"Line {number} is not a JSON object.", hint='Like {"text": "…", "label": "…"}.')
        yield _mended(row)


def _json(text: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileUnreadable(f"The file is not JSON: {error}.") from error
    if isinstance(rows, dict):
        rows = next((value for value in rows.values() if isinstance(value, list)), None)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FileUnreadable("The JSON is not a list of objects.", hint='Like [{"text": "…", "label": "…"}, …].')
    return _mended(rows)


def _mended(value: Any, depth: int = 0) -> Any:
    """A value of JSON with a visible mark for what JSON can write and no text can hold: NUL, half a character."""
    if depth > _MAX_DEPTH:
        raise FileUnreadable(f"The JSON is nested deeper than {_MAX_DEPTH} levels.", hint="Make each row flat.")
    if isinstance(value, str):
        return value if value.isprintable() else _UNFIT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(name): _mended(item, depth + 1) for name, item in value.items()}
    return [_mended(item, depth + 1) for item in value] if isinstance(value, list) else value


def _mapping(columns: list[str], given: Mapping[str, str] | None) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for role, names in (("text", _TEXT_NAMES), ("label", _LABEL_NAMES)):
        column = (given or {}).get(role) or next((name for name in columns if name.strip().lower() in names), None)
        if column is None or column not in columns:
            wanted = f"{column!r} for the {role}" if column else f"the {role}"
            raise ColumnMissing(
                f"There is no column {wanted}.",
                hint=f"Columns: {', '.join(columns)}. Map one with mapping={{'{role}': …}}.",
            )
        mapping[role] = column
    return mapping


def _examples(rows: list[dict[str, Any]], mapping: Mapping[str, str]) -> tuple[list[Example], list[Problem]]:
    examples: dict[str, Example] = {}
    first_row: dict[str, int] = {}
    problems: list[Problem] = []
    for number, row in enumerate(rows, 1):
        problem = next(
            (found for role in ("text", "label") if (found := _cell_problem(row, number, mapping[role]))), None
        )
        if isinstance(row, _Overlong):
            message = "Has more cells than the header; is a comma missing its quotes?"
            problem = Problem(number, mapping["text"], message)
        if problem is not None:
            problems.append(problem)
            continue
        meta = {name: value for name, value in row.items() if name not in mapping.values() and name is not None}
        example = Example(str(row[mapping["text"]]).strip(), str(row[mapping["label"]]).strip(), meta=meta)
        key = normalise(example.text)
        known = examples.setdefault(key, example)
        first_row.setdefault(key, number)
        if known.label != example.label:
            message = f"Says {example.label!r}, but row {first_row[key]} has the same text as {known.label!r}."
            problems.append(Problem(number, mapping["label"], message))
    return list(examples.values()), problems


def _cell_problem(row: Mapping[str, Any], number: int, column: str) -> Problem | None:
    value = row.get(column)
    if not isinstance(value, str | int | float) or not str(value).strip():
        return Problem(number, column, "Is empty.")
    if len(str(value)) > MAX_TEXT:
        return Problem(number, column, f"Is longer than {MAX_TEXT:,} characters.")
    return None


def _warnings(labels: Counter[str]) -> list[str]:
    few = sorted(label for label, count in labels.items() if count < 3)
    if not few:
        return []
    named = ", ".join(map(repr, few[:10])) + (" …" if len(few) > 10 else "")
    return [f"Too few examples to be tested (under 3): {named}."]
