"""The files of the audit: one directory a day, in it a few files an hour."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

AUDIT = "audit"
_DAY_S = 86_400
_TAIL_BYTES = 1 << 20


@dataclass(frozen=True, order=True, slots=True)
class Segment:
    """One file. They sort by time."""

    day: str
    hour: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.day}/{self.hour}-{self.number}.jsonl"

    @property
    def ends_before(self) -> str:
        return f"{self.day} {self.hour}"

    @classmethod
    def parse(cls, name: str) -> "Segment | None":
        day, _, file = name.partition("/")
        hour, _, number = file.removesuffix(".jsonl").partition("-")
        is_one = len(day) == 10 and len(hour) == 2 and hour.isdigit() and number.isdigit()
        return cls(day, hour, int(number)) if is_one else None


def hour_of(seconds: float) -> tuple[str, str]:
    """Day and hour of a time, in UTC."""
    day, hour = time.strftime("%Y-%m-%d %H", time.gmtime(seconds)).split()
    return day, hour


def segments(directory: Path) -> list[Segment]:
    """All of a workspace's, oldest first."""
    return sorted(segment for day in _days(directory) for segment in _of_day(day))


def _days(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("????-??-??") if path.is_dir())


def _of_day(day: Path) -> Iterator[Segment]:
    for path in day.glob("*.jsonl"):
        segment = Segment.parse(f"{day.name}/{path.name}")
        if segment is not None:
            yield segment


def last_line(path: Path) -> bytes:
    """The last complete line of a file; empty where there is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().split(b"\n")
    return next((line for line in reversed(lines[:-1]) if line), b"")


def tidy(directory: Path, *, now: float, retention_days: int, max_bytes: int) -> None:
    """Delete what is too old, and the oldest of what is too much. The newest file stays."""
    oldest, _ = hour_of(now - retention_days * _DAY_S)
    for day in _days(directory):
        if day.name < oldest:
            shutil.rmtree(day, ignore_errors=True)
    sizes = [(directory / segment.name, (directory / segment.name).stat().st_size) for segment in segments(directory)]
    total = sum(size for _, size in sizes)
    for path, size in sizes[:-1]:
        if total <= max_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size
