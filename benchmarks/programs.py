"""Programs that a benchmark starts: found or installed, pinned to a core, and ended whatever happens."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from machine import tree_cpu_s, tree_rss_mb

WORK = Path.home() / ".cache" / "inhouse-bench"
START_S = 90.0
STOP_S = 15.0
_CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE, LOAD_CORE = _CORES[0], _CORES[-1]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


class CannotRun(Exception):
    """A program is missing or does not start; the message says what to do."""


class Program:
    """A program on one core, with its log in a file. Leaving the block ends it and all that it started."""

    def __init__(self, command: Sequence[str | Path], *, core: int, log: Path, directory: Path | None = None) -> None:
        self._command = ["taskset", "--cpu-list", str(core), *map(str, command)]
        self._directory = directory
        self.log = log

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *error: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(STOP_S)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def answers(self, url: str) -> float:
        """Seconds from its start until this URL gave a 2xx."""
        while self.is_running():
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return self.age_s
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        raise self.failure("did not answer")

    def said(self, text: str) -> str:
        """The first line of its log with this text."""
        while self.is_running():
            found = [line for line in self.log.read_text(errors="replace").splitlines() if text in line]
            if found:
                return found[0]
            time.sleep(0.05)
        raise self.failure(f"did not say {text!r}")

    def is_running(self) -> bool:
        """Whether it may still come up: not ended, and not over its time."""
        return self._process.poll() is None and self.age_s < START_S

    def failure(self, what: str) -> CannotRun:
        tail = self.log.read_text(errors="replace")[-1000:]
        return CannotRun(f"{self.log.stem} {what}. The end of {self.log}:\n{tail}")

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        return tree_cpu_s(self.pid)

    @property
    def rss_mb(self) -> float:
        return tree_rss_mb(self.pid)


def environment() -> dict[str, str]:
    """The environment without settings that would slow a program down, send it elsewhere or set up our own server."""
    unwanted = ("INHOUSE_", "PYTHON", "LITELLM_", "TENSORZERO_", "OPENAI_", "OTEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}


def find(name: str, package: str) -> str:
    """A program of the system, installed by apt where we may."""
    if shutil.which(name) is None and may_use_apt():
        install = ["apt-get", "install", "--yes", "--no-install-recommends", package]
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        if subprocess.call(install, **quiet):
            subprocess.call(["apt-get", "update"], **quiet)
            subprocess.call(install, **quiet)
    found = shutil.which(name)
    if found is None:
        raise CannotRun(f"There is no {name} here. Install the package {package}.")
    return found


def may_use_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and os.environ.get("NO_APT") != "1"


def side_python(directory: Path, requirements: Sequence[str]) -> Path:
    """The Python of an environment with these packages, apart from ours; made once, with compiled bytecode."""
    python, marker = directory / "bin" / "python", directory / "requirements.txt"
    wanted = "\n".join(requirements)
    if marker.is_file() and marker.read_text() == wanted:
        return python
    if UV is None:
        raise CannotRun("There is no uv to make environments with. Run `pip install uv`.")
    make = [UV, "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)]
    install = [UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *requirements]
    for command in (make, install):
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        if done.returncode:
            raise CannotRun(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}")
    marker.write_text(wanted)
    return python


def compiled(source: Path, target: Path) -> Path:
    """A C program, compiled when it is older than its source."""
    if target.is_file() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise CannotRun(f"There is no C compiler for {source.name}. Install the package gcc.")
    done = subprocess.run([compiler, "-O2", "-o", str(target), str(source)], capture_output=True, text=True)
    if done.returncode:
        raise CannotRun(f"{source.name} cannot be compiled:\n{done.stderr}")
    return target


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def tell(line: str) -> None:
    """How far it is, beside the result."""
    print(line, file=sys.stderr, flush=True)
