"""Parse untrusted documents in a child process with limits, so that no document can harm the server.

One warm child serves one document after another; it is killed and replaced when it crashes or takes too long.
"""

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from inhouse.core.children import python, spawn
from inhouse.core.errors import Invalid, TimedOut
from inhouse.knowledge.child import Reply, Request, read_frame, write_frame
from inhouse.knowledge.parser import Parsed, Unreadable

DOCUMENTS_PER_CHILD = 200
"""Then it is replaced, so that memory which a library leaks cannot fail an innocent document."""


class ParserCrashed(Invalid):
    """The document brought its parser down."""


class ParserTimedOut(TimedOut):
    """The document took its parser longer than allowed."""

    retryable = False


class Sandbox:
    """A parsing child and the one thread that starts, talks to and ends it (children die with their thread)."""

    def __init__(self, *, memory_mb: int = 1024, cpu_s: int = 60, wall_s: float = 90) -> None:
        self._argv = python("inhouse.knowledge.child", str(memory_mb << 20), str(cpu_s))
        self._wall_s = wall_s
        self._child: subprocess.Popen[bytes] | None = None
        self._served = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parsing")

    def parse(self, filename: str, data: bytes) -> tuple[str, Parsed]:
        """Return the document's format and content; blocks while other documents are in line."""
        reply = self._thread.submit(self._ask, Request(filename, data)).result()
        if reply.parsed is None:
            raise Unreadable(reply.error, hint=reply.hint)
        return reply.format, reply.parsed

    def close(self) -> None:
        self._thread.submit(self._end)
        self._thread.shutdown()

    def _ask(self, request: Request) -> Reply:
        is_warm = self._child is not None
        try:
            return self._exchange(request)
        except ParserCrashed:
            if not is_warm:
                raise
            return self._exchange(request)  # an earlier document, or the system, may have hurt the warm child

    def _exchange(self, request: Request) -> Reply:
        child = self._ready_child()
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            child.kill()

        timer = threading.Timer(self._wall_s, give_up)
        timer.start()
        try:
            write_frame(cast("BinaryIO", child.stdin), msgspec.msgpack.encode(request))
            body = read_frame(cast("BinaryIO", child.stdout))
        except BrokenPipeError:
            body = None
        finally:
            timer.cancel()
        if body is None:
            raise self._failure(timed_out.is_set())
        reply = msgspec.msgpack.decode(body, type=Reply)
        if reply.is_fatal:
            self._end()
        return reply

    def _ready_child(self) -> "subprocess.Popen[bytes]":
        if self._served >= DOCUMENTS_PER_CHILD or (self._child is not None and self._child.poll() is not None):
            self._end()
        if self._child is None:
            self._child = spawn(
                self._argv,
                env=_environment(),
                cwd=Path("/"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._served = 0
        self._served += 1
        return self._child

    def _failure(self, timed_out: bool) -> Invalid | TimedOut:
        status = self._end()
        if timed_out or status == -signal.SIGXCPU:
            return ParserTimedOut("The document took too long to read.", hint="Split it, or save it in another format.")
        reason = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return ParserCrashed(
            f"The document brought its parser down ({reason}).", hint="Save it again, or in another format."
        )

    def _end(self) -> int:
        """Kill the child and return its exit status (its own, where it ended by itself)."""
        child, self._child = self._child, None
        if child is None:
            return 0
        with child:
            with suppress(BrokenPipeError):  # what it did not take in is thrown away
                cast("BinaryIO", child.stdin).close()
            try:
                return child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                child.kill()
                return child.wait()


def _environment() -> dict[str, str]:
    """The child gets no secrets: only what Python needs to start."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH") if name in os.environ}
