"""Servers as users start them: processes, each on a data directory of its own."""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inhouse.cli.connection import ADMIN_KEY
from inhouse.cli.private import READY
from inhouse.client import Client
from inhouse.core.children import python, spawn
from inhouse.testing.openai_stand_in import MODELS, OpenAIStandIn, openai_stand_in


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    home: Path
    url: str

    @property
    def key(self) -> str:
        return (self.home / ADMIN_KEY).read_text().strip()

    def client(self) -> Client:
        """A client that gives up at once when the server is gone."""
        return Client(self.url, self.key, retries=0)

    def kill(self) -> None:
        """As a power cut would: no goodbye to anybody. The kernel takes its children along."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """As a person or systemd ends it; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


def plain_environment() -> dict[str, str]:
    """The environment without what the developer has set for a server of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("INHOUSE_")}


@contextmanager
def launched(home: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`inhouse up` on a free port unless the options name one; killed at the end if it still runs."""
    home.mkdir(parents=True, exist_ok=True)
    command = python("inhouse.cli", "--home", str(home), "up", "--port", "0", *options)
    with log_of(home).open("ab") as log:
        process = spawn(command, env=plain_environment(), cwd=home, stdout=subprocess.PIPE, stderr=log)
    with process:
        try:
            yield process
        finally:
            process.kill()


def log_of(home: Path) -> Path:
    """Where servers on this data directory write their errors and log."""
    return home.with_suffix(".log")


@contextmanager
def running(home: Path, *options: str) -> Iterator[Server]:
    """A server that is ready."""
    with launched(home, *options) as process:
        yield Server(process, home, _url(process, home))


def _url(process: "subprocess.Popen[bytes]", home: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY.encode()):
            return line.decode().removeprefix(READY).strip()
    raise AssertionError(f"The server ended with {process.wait()}. {log_of(home).read_text()[-3000:]}")


@contextmanager
def stand_in(models: Sequence[str] = MODELS) -> Iterator[OpenAIStandIn]:
    """A model server in a thread of its own, because tests of blocking clients block theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stand-in", daemon=True)
    thread.start()
    server = openai_stand_in(models)
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
