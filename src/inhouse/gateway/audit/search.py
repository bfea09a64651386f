"""Finds requests in the audit, newest first, looking at a bounded amount of it at a time."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from inhouse.core.errors import Invalid, NotFound
from inhouse.core.ids import time_of
from inhouse.gateway.audit.rows import NOTHING, Row, chain_of, is_next, shown
from inhouse.gateway.audit.segments import AUDIT, Segment, hour_of, segments

_BLOCK = 1 << 20
_MAX_LINE = 64 << 20
_MAX_BYTES = 256 << 20
_PATIENCE_S = 2.0
_LONGEST_S = 7200.0  # no request takes longer, and no clock is put back further
_NOT_A_ROW = (msgspec.DecodeError, UnicodeDecodeError)


class RequestNotFound(NotFound):
    """The audit has no request of that id, or not any more."""


class BadCursor(Invalid):
    """The place to go on from is none that was given out."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests to find; what is empty does not matter."""

    since: float = 0.0
    until: float = float("inf")
    key: str = ""
    user: str = ""
    model: str = ""
    status: str = ""
    """A status such as 429, or `ok`, or `error`."""
    text: str = ""
    """A text in the request or the answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """Rows, newest first, and where to go on if there may be more."""

    rows: list[Row] = field(default_factory=list)
    cursor: str = ""


class AuditLog:
    """Reads what the journals write, of all workspaces below one directory."""

    def __init__(self, home: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._clock = clock

    def find(self, workspace_id: str, wanted: Wanted, *, limit: int = 50, cursor: str = "") -> Found:
        """Rows without their bodies. A search that takes long stops early, with a cursor."""
        directory = self._directory(workspace_id)
        deadline = self._clock() + _PATIENCE_S
        marks = _marks(wanted)
        rows: list[Row] = []
        seen = 0
        for place, line in _backwards(directory, wanted, cursor):
            seen += len(line)
            if all(any(mark in line for mark in either) for either in marks):
                row = _row(line)
                if row is not None and _is_wanted(row, wanted):
                    row.request = row.response = NOTHING
                    rows.append(row)
            if len(rows) >= limit or seen > _MAX_BYTES or self._clock() > deadline:
                return Found(rows, place)
        return Found(rows)

    def get(self, workspace_id: str, request_id: str) -> Row:
        """One request with its bodies, as text or JSON; of a stream, the answer that it said."""
        mark = b'"request_id":' + msgspec.json.encode(request_id)
        began = time_of(request_id)
        around = Wanted() if began is None else Wanted(since=began - _LONGEST_S, until=began + _LONGEST_S)
        for _, line in _backwards(self._directory(workspace_id), around, ""):
            if mark in line:
                row = _row(line)
                if row is not None and row.request_id == request_id:
                    return row
        raise RequestNotFound(f"The audit has no request {request_id!r}.", hint="It may be too old, or was not kept.")

    def verify(self, workspace_id: str) -> str:
        """The first place where the chain of lines is broken or missing, as `segment:line`; empty if it is whole."""
        directory = self._directory(workspace_id)
        last: str | None = None
        for segment in segments(directory):
            try:
                with (directory / segment.name).open("rb") as file:
                    last, broken = _followed(file, last)
            except FileNotFoundError:  # deleted meanwhile, for its age
                last, broken = None, 0
            if broken:
                return f"{segment.name}:{broken}"
        return ""

    def _directory(self, workspace_id: str) -> Path:
        return self._home / AUDIT / workspace_id


def _followed(file: BinaryIO, last: str | None) -> tuple[str, int]:
    """The end of a file's chain, and the number of the line that breaks it; 0 if none does."""
    previous = chain_of(file.readline())
    if last is not None and previous != last:
        return previous, 1
    for number, line in enumerate(file, 2):
        if not line.endswith(b"\n"):
            break  # not written to its end; it was written anew
        if not is_next(line[:-1], previous):
            return previous, number
        previous = chain_of(line)
    return previous, 0


def _row(line: bytes) -> Row | None:
    try:
        return msgspec.json.decode(line, type=Row)
    except _NOT_A_ROW:
        return None


def _is_wanted(row: Row, wanted: Wanted) -> bool:
    if not wanted.since <= row.time < wanted.until:
        return False
    if wanted.status in ("ok", "error"):
        if (row.status < 400) is not (wanted.status == "ok"):
            return False
    elif wanted.status and str(row.status) != wanted.status:
        return False
    pairs = ((wanted.key, row.key), (wanted.user, row.user), (wanted.model, row.model))
    if any(want and want != has for want, has in pairs):
        return False
    return not wanted.text or _says(row, wanted.text.casefold())


def _says(row: Row, text: str) -> bool:
    bodies = (shown(row.request), shown(row.response))
    return any(text in one.casefold() for body in bodies for one in _texts(body))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))


def _marks(wanted: Wanted) -> list[tuple[bytes, ...]]:
    """What a line must contain, one of each, to be worth reading."""
    named = {"key": wanted.key, "user": wanted.user, "model": wanted.model}
    return [(b'"%b":%b' % (name.encode(), msgspec.json.encode(value)),) for name, value in named.items() if value]


def _backwards(directory: Path, wanted: Wanted, cursor: str) -> Iterator[tuple[str, bytes]]:
    """Lines, newest first, each with the place where it begins."""
    first, _, end = cursor.rpartition(":")
    start = Segment.parse(first) if cursor else None
    if cursor and (start is None or not end.isdigit()):
        raise BadCursor(f"{cursor!r} is no place in the audit.", hint="Take the cursor of an earlier answer.")
    oldest = hour_of(max(wanted.since, 0.0))
    newest = hour_of(wanted.until) if wanted.until < 1e11 else ("9", "")
    for segment in reversed(segments(directory)):
        if (segment.day, segment.hour) < oldest:
            return
        if (segment.day, segment.hour) > newest or (start is not None and segment > start):
            continue
        path = directory / segment.name
        try:
            limit = int(end) if segment == start else path.stat().st_size
            for place, line in backwards(path, limit):
                yield f"{segment.name}:{place}", line
        except FileNotFoundError:
            continue  # deleted meanwhile


def backwards(path: Path, end: int, *, block: int = _BLOCK) -> Iterator[tuple[int, bytes]]:
    """The complete lines of a file that begin before `end`, last first."""
    with path.open("rb") as file:
        rest = b""
        is_last = True
        while end > 0:
            begin = max(0, end - block)
            file.seek(begin)
            data = file.read(end - begin) + rest
            end = begin
            if begin and b"\n" not in data[:-1] and len(data) < _MAX_LINE:
                rest = data
                continue
            cut = data.find(b"\n") + 1 if begin else 0
            rest, data = data[:cut], data[cut:]
            place = begin + cut + len(data)
            if is_last and not data.endswith(b"\n"):
                place -= len(data) - (data.rfind(b"\n") + 1)
                data = data[: data.rfind(b"\n") + 1]  # a line that is being written
            is_last = False
            for line in reversed(data.split(b"\n")[:-1]):
                place -= len(line) + 1
                yield place, line


def dumped(row: Row) -> dict[str, Any]:
    """A row as plain data, with its bodies for showing."""
    facts = {name: getattr(row, name) for name in row.__struct_fields__}
    facts["flags"] = list(row.flags)
    facts["request"], facts["response"] = shown(row.request), shown(row.response)
    return facts
