"""A server is killed at work, again and again: what it acknowledged is there when it comes back."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from inhouse.client import Client
from inhouse.core.errors import InhouseError

ROUNDS = 20 if os.environ.get("STORM") == "long" else 2
WRITERS = 4
ACKNOWLEDGED_PER_ROUND = 12
ROWS = b"text,label\n" + b"".join(b"question %d,label %d\n" % (number, number % 4) for number in range(40))

pytestmark = [pytest.mark.storm, pytest.mark.slow, pytest.mark.timeout(60 * ROUNDS)]


@contextmanager
def server(home: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Client]]:
    """A server process on a data directory, and a client that gives up at once when it is gone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inhouse.cli", "up", "--home", str(home), "--port", str(port)]
    with (home.parent / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_listening(process, port)
        with Client(f"http://127.0.0.1:{port}", (home / "admin.key").read_text().strip(), retries=0) as client:
            yield process, client
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the server does not listen on {port} (exit code {process.poll()})")


def write_until_it_breaks(client: Client, prefix: str, acknowledged: list[str], enough: threading.Event) -> None:
    for number in range(10_000):
        name = f"{prefix}-{number}"
        try:
            client.datasets.create(name, ("rows.csv", ROWS))
        except InhouseError:
            return
        acknowledged.append(name)
        if len(acknowledged) >= ACKNOWLEDGED_PER_ROUND:
            enough.set()


def test_what_was_acknowledged_survives_every_kill(tmp_path: Path) -> None:
    home = tmp_path / "home"
    survivors: set[str] = set()
    for round_number in range(ROUNDS):
        acknowledged: list[str] = []
        enough = threading.Event()
        with server(home) as (process, client), ThreadPoolExecutor(WRITERS) as pool:
            writers = [
                pool.submit(write_until_it_breaks, client, f"r{round_number}w{writer}", acknowledged, enough)
                for writer in range(WRITERS)
            ]
            assert enough.wait(30), "too few writes were acknowledged"
            os.killpg(process.pid, signal.SIGKILL)
            for writer in writers:
                writer.result(timeout=30)
        survivors |= set(acknowledged)

    with server(home) as (_, client):
        stored = {version["dataset"]: version for version in client.datasets.list()}
        assert survivors <= stored.keys()
        assert {version["count"] for version in stored.values()} == {40}
        assert all(client.datasets.examples(name, 1, limit=1)["items"] for name in survivors)
