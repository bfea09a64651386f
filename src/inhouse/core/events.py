"""A run's event file: append-only JSON lines with sequence numbers, replayable from any of them."""

import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO, Self

from inhouse.core.ids import now


class EventLog:
    """Events of one run. One process writes; any number read while it does.

    Each line is `{"seq": 1, "ts": 1700000000.0, "type": "step", …}`. A torn last line (the writer was killed)
    is cut off when the log is opened again for writing and ignored by readers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._seq = 0

    def append(self, type: str, **data: Any) -> int:
        """Write one event and return its sequence number."""
        with self._lock:
            file = self._file or self._open()
            self._seq += 1
            event = {"seq": self._seq, "ts": round(now(), 3), "type": type, **data}
            file.write(json.dumps(event, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            file.flush()
            return self._seq

    def read(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the events whose number is greater than `after`."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [event for line in lines[after:-1] if (event := json.loads(line))["seq"] > after]

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.fsync(self._file.fileno())
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> BinaryIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab+")
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
        self._seq = content.count(b"\n", 0, whole)
        self._file = file
        return file
