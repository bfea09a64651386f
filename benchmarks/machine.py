"""What a figure was measured on: every benchmark prints it beside its figures."""

import os
import platform
from pathlib import Path


def facts() -> dict[str, str | int | float]:
    """Processor, memory, system and Python of this machine."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cpus": _cpus(),
        "memory_gb": round(int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def tree_rss_mb(pid: int) -> float:
    """Resident memory of a process and all its descendants (Linux)."""
    return sum(_kib(member) for member in _family(pid)) / 1024


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and all its descendants so far, those that have ended included (Linux)."""
    return sum(_ticks(member) for member in _family(pid)) / os.sysconf("SC_CLK_TCK")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _family(pid: int) -> set[int]:
    """A process and all its descendants."""
    parents = {child: _parent(child) for child in _pids()}
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def _parent(pid: int) -> int:
    """The parent of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _ticks(pid: int) -> int:
    """CPU of a process and of its children that it has waited for, in clock ticks; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:15])


def _kib(pid: int) -> int:
    return int((_field(f"/proc/{pid}/status", "VmRSS") or "0").split()[0])


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
