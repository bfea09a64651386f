"""A server of one's own, on a temporary data directory."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inhouse.cli.connection import ADMIN_KEY
from inhouse.core.children import python, spawn
from inhouse.core.errors import Unavailable
from inhouse.core.settings import plain_environment

READY = "inhouse is ready: "
STOP_S = 20


class ServerDidNotStart(Unavailable):
    """The private server ended before it was ready."""


@contextmanager
def private_server() -> Iterator[tuple[str, str]]:
    """Start a server on a free port and a new data directory; give its URL and admin key; end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="inhouse-") as home, (Path(home) / "server.log").open("wb") as log:
        command = python("inhouse.cli", "--home", home, "up", "--port", "0")
        server = spawn(command, env=plain_environment(), cwd=Path(home), stdout=subprocess.PIPE, stderr=log)
        try:
            yield _url(server, Path(home)), (Path(home) / ADMIN_KEY).read_text().strip()
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _url(server: "subprocess.Popen[bytes]", home: Path) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith(READY.encode()):
            return line.decode().removeprefix(READY).strip()
    reason = (home / "server.log").read_text(errors="replace")[-2000:]
    raise ServerDidNotStart(f"The private server did not start. Its log ends with:\n{reason}")
