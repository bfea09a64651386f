"""Measure how soon the server is there, and what it weighs when idle.

python benchmarks/startup.py --json
python benchmarks/startup.py --json --fresh DIR    also from a fresh clone in DIR to the first answer
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from statistics import median
from typing import Self

from machine import facts, tree_rss_mb

from inhouse.cli.connection import ADMIN_KEY

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "How many days of annual leave do I have?"
STARTS = 3
SETTLE_S = 2.0
READY_LINE = "inhouse is ready"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="print one line of JSON only")
    options.add_argument("--fresh", type=Path, metavar="DIR", help="clone into this new directory and start there")
    chosen = options.parse_args()

    figures = measure_starts()
    if chosen.fresh is not None:
        figures |= measure_fresh_clone(chosen.fresh)
    bars = [{"name": name, "value": figures[name]} for name in ("ready_s", "idle_rss_mb")]
    if not chosen.json:
        print(json.dumps(figures, indent=2))
    print(json.dumps({"bars": bars, "figures": figures, "machine": facts()}))


def measure_starts() -> dict[str, float]:
    """Start once to fill a data directory, then again and again."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "inhouse.cli", "up", "--demo", "--home", home]
        with Server(command) as first:
            first_s = first.said(READY_LINE)
        for _ in range(STARTS):
            with Server(command) as server:
                seconds.append(server.ready())
                server.said(READY_LINE)
                time.sleep(SETTLE_S)
                rss_mb = tree_rss_mb(server.pid)
    return {
        "ready_s": round(median(seconds), 2),
        "slowest_ready_s": round(max(seconds), 2),
        "first_start_s": round(first_s, 2),
        "idle_rss_mb": round(rss_mb, 1),
    }


def measure_fresh_clone(directory: Path) -> dict[str, float]:
    """What a new user waits: clone, `make run`, and the answer to a first question."""
    began = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(directory)], check=True)
    with Server(["make", "run"], directory=directory) as server:
        server.said(READY_LINE)
        ready_s = time.monotonic() - began
        server.ask(QUESTION, key=(directory / "var" / ADMIN_KEY).read_text().strip())
        answer_s = time.monotonic() - began
    return {"clone_to_ready_s": round(ready_s, 1), "clone_to_answer_s": round(answer_s, 1)}


class Server:
    """A server on a free port, stopped the way Ctrl-C does it. Seconds count from its start."""

    def __init__(self, command: list[str], directory: Path = ROOT) -> None:
        self._port = free_port()
        port = ["--port", str(self._port)]
        self._command = [*command, f"ARGS={' '.join(port)}"] if command[0] == "make" else [*command, *port]
        self._directory = directory

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            self._command, cwd=self._directory, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.communicate(timeout=30)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self) -> float:
        """Seconds until /readyz says 200."""
        while self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5):
                    return time.monotonic() - self._began
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise SystemExit(f"{self._command} ended with exit code {self._process.returncode}.")

    def said(self, text: str) -> float:
        """Seconds until it printed a line with this text; what it prints before is shown."""
        for line in self._process.stdout or ():
            print(line, end="", file=sys.stderr)
            if text in line:
                return time.monotonic() - self._began
        raise SystemExit(f"{self._command} ended without saying {text!r}.")

    def ask(self, question: str, *, key: str) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/api/v1/chat?{urllib.parse.urlencode({'query': question})}",
            headers={"Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if not (answer["answer"] and answer["sources"]):
            raise SystemExit(f"{question!r} was answered without a source: {answer}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


if __name__ == "__main__":
    main()
