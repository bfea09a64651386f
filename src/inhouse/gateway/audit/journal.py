"""Writes the audit behind the requests: one thread, a bounded queue, whole batches at a time."""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inhouse.core.behind import WriteBehind
from inhouse.gateway import metrics
from inhouse.gateway.audit.rows import Bodies, add_bodies, chain_of, chained, first_line, line, row_of
from inhouse.gateway.audit.segments import Segment, hour_of, last_line, segments, tidy
from inhouse.gateway.call import Call, Outcome

_MAX_ROWS = 20_000
_MAX_BYTES = 64 << 20
_BATCH = 64  # larger ones leave the processor's cache
_SMALL_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long and how much is kept."""

    bodies: Bodies | None = None
    is_chained: bool = False
    retention_days: int = 30
    max_bytes: int = 10 << 30
    segment_bytes: int = 64 << 20

    @property
    def is_masked(self) -> bool:
        return self.bodies is not None and self.bodies.is_masked


_Entry = tuple[float, Call, Outcome, int] | bytes


class Journal:
    """The audit of one workspace. When more comes than can be written, bodies are left out first, then whole rows.

    What is small and goes into the line as it is becomes one at once: call and answer are still in the processor's
    cache, and nothing is kept alive for the thread. The thread does what takes longer, and writes.
    """

    def __init__(
        self, directory: Path, *, now: Callable[[], float], pause_s: float = 0.05, max_bytes: int = _MAX_BYTES
    ) -> None:
        self.keeping = Keeping()
        self.written = 0
        self.dropped_rows = 0
        self.dropped_bodies = 0
        self._directory = directory
        self._now = now
        self._pause_s = pause_s
        self._max_bytes = max_bytes
        self._entries: deque[_Entry] = deque()
        self._came_bytes = 0  # only the event loop counts here, and only the thread there
        self._went_bytes = 0
        self._is_asked = False
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._behind: WriteBehind[bool] | None = None
        self._segment: Segment | None = None
        self._file = -1
        self._file_bytes = 0
        self._chain = ""

    def put(self, call: Call, outcome: Outcome) -> None:
        """Take a call that has ended. Never waits."""
        size = len(call.body)
        for part in call.captured or ():
            size += len(part)
        if self._came_bytes - self._went_bytes + size > self._max_bytes:
            self._put_slim(call, outcome)
        elif len(self._entries) < _MAX_ROWS:
            if size <= _SMALL_BYTES and not (call.stream or self.keeping.is_masked):
                data = self._line(self._now(), call, outcome)
                self._came_bytes += len(data)
                self._entries.append(data)
            else:
                self._came_bytes += size
                self._entries.append((self._now(), call, outcome, size))
        else:
            self._drop_row()
        if not self._is_asked:
            self._ask()

    def flush(self) -> None:
        """Write what is there."""
        with self._writing:
            self._is_asked = False
            while self._entries:
                self._write([self._entries.popleft() for _ in range(min(len(self._entries), _BATCH))])

    def close(self) -> None:
        self._closing.set()
        if self._behind is not None:
            self._behind.close()
        self.flush()
        self._close_file()

    def _put_slim(self, call: Call, outcome: Outcome) -> None:
        if len(self._entries) >= _MAX_ROWS:
            self._drop_row()
            return
        self.dropped_bodies += 1
        metrics.dropped("audit bodies")
        data = line(row_of(self._now(), call, outcome))
        self._came_bytes += len(data)
        self._entries.append(data)

    def _drop_row(self, count: int = 1) -> None:
        self.dropped_rows += count
        metrics.dropped("audit", count)

    def _ask(self) -> None:
        self._is_asked = True
        if self._behind is None:
            self._behind = WriteBehind(self._write_later, name="audit")
            self._behind.start()
        self._behind.put(True)

    def _write_later(self, _: Sequence[bool]) -> None:
        self._closing.wait(self._pause_s)
        self.flush()

    def _write(self, entries: Sequence[_Entry]) -> None:
        self._went_bytes += sum(len(entry) if isinstance(entry, bytes) else entry[3] for entry in entries)
        lines = [entry if isinstance(entry, bytes) else self._line(*entry[:3]) for entry in entries]
        try:
            self._open(self._now())
            self._append(lines)
        except OSError:  # such as a full disk
            self._drop_row(len(lines))
            self._close_file()
            raise
        self.written += len(lines)

    def _append(self, lines: Sequence[bytes]) -> None:
        chain, parts = self._chain, lines
        if self.keeping.is_chained:
            parts = []
            for one in lines:
                data, chain = chained(one, chain)
                parts.append(data)
        _write_all(self._file, parts)
        self._chain = chain
        self._file_bytes += sum(map(len, parts))

    def _line(self, time: float, call: Call, outcome: Outcome) -> bytes:
        row = row_of(time, call, outcome)
        if self.keeping.bodies is not None:
            add_bodies(row, call, self.keeping.bodies)
        return line(row)

    def _open(self, now: float) -> None:
        """See to it that the file of this hour is open, and has room."""
        day, hour = hour_of(now)
        segment = self._segment
        is_current = segment is not None and (segment.day, segment.hour) == (day, hour)
        if is_current and self._file_bytes < self.keeping.segment_bytes:
            return
        known = segments(self._directory)
        if segment is None and known:
            self._chain = chain_of(last_line(self._directory / known[-1].name))
        numbers = [one.number for one in known if (one.day, one.hour) == (day, hour)]
        self._close_file()
        self._segment = Segment(day, hour, max(numbers, default=0) + 1)
        path = self._directory / self._segment.name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        _write_all(self._file, [first_line(self._segment.name, self._chain)])
        self._file_bytes = 0
        keeping = self.keeping
        tidy(self._directory, now=now, retention_days=keeping.retention_days, max_bytes=keeping.max_bytes)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._segment = None


def _write_all(file: int, parts: Sequence[bytes]) -> None:
    written = os.writev(file, parts)
    if written < sum(map(len, parts)):
        view = memoryview(b"".join(parts))[written:]
        while view:
            view = view[os.write(file, view) :]
