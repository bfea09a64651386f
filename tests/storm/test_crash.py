"""A server is killed at work, again and again: what it acknowledged is there when it comes back."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inhouse.client import Client
from inhouse.core.errors import InhouseError
from servers import running

ROUNDS = 20 if os.environ.get("STORM") == "long" else 2
WRITERS = 4
ACKNOWLEDGED_PER_ROUND = 12
ROWS = b"text,label\n" + b"".join(b"question %d,label %d\n" % (number, number % 4) for number in range(40))

pytestmark = [pytest.mark.storm, pytest.mark.slow, pytest.mark.timeout(60 * ROUNDS)]


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
        with running(home) as server, server.client() as client, ThreadPoolExecutor(WRITERS) as pool:
            writers = [
                pool.submit(write_until_it_breaks, client, f"r{round_number}w{writer}", acknowledged, enough)
                for writer in range(WRITERS)
            ]
            assert enough.wait(30), "too few writes were acknowledged"
            server.kill()
            for writer in writers:
                writer.result(timeout=30)
        survivors |= set(acknowledged)

    with running(home) as server, server.client() as client:
        stored = {version["dataset"]: version for version in client.datasets.list()}
        assert survivors <= stored.keys()
        assert {version["count"] for version in stored.values()} == {40}
        assert all(client.datasets.examples(name, 1, limit=1)["items"] for name in survivors)
