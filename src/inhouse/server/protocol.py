"""HTTP/1.1 with the bounds that uvicorn leaves open (how large the head of a request is, and how long it takes), and
answers that go out in as few writes as they have parts.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from inhouse.core.asgi import CONNECTION

MAX_HEAD_BYTES = 64 << 10
MAX_HEAD_S = 15.0
KEEP_ALIVE_S = 75.0
"""A connection without a request is kept for so long: longer than clients and proxies keep theirs."""
_NO_BODY = frozenset({204, 304})


class BadHeader(ValueError):
    """An app's header holds a line break or a NUL."""


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose request does not begin, or whose head does not end."""

    has_left = False
    task: asyncio.Task[None]
    """Answers the request."""
    on_leave: Callable[[], None] | None = None
    """Called when the client leaves before its answer is complete."""

    _head_bytes = 0
    _deadline = math.inf
    """When the head of a request has to be here, on the clock of the loop; infinite while none is awaited."""
    _is_idle = False
    """Whether the connection is only kept for a next request."""
    _timer: asyncio.TimerHandle | None = None

    @property
    def is_read(self) -> bool:
        """Whether the request that is being answered is here to its end."""
        return not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._wait()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self.has_left = True
        if self.on_leave is not None:
            self.on_leave()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._deadline is math.inf or self._is_idle:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._give_up(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, object]", self.scope)[CONNECTION] = self
        self._wait()

    def on_headers_complete(self) -> None:
        self._deadline = math.inf
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._deadline is math.inf:  # else the next head has begun already
            self._is_idle = True
            self._deadline = self.loop.time() + KEEP_ALIVE_S

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = Cycle  # made by uvicorn a moment ago, and not begun
        self.task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _wait(self) -> None:
        """A head has to be here soon. The timer stays where it is and looks again, so that this costs nothing."""
        self._head_bytes = 0
        self._is_idle = False
        self._deadline = self.loop.time() + MAX_HEAD_S

    def _look(self) -> None:
        now = self.loop.time()
        if now >= self._deadline:
            if self._is_idle:
                self.transport.close()
            else:
                self._give_up(b"408 Request Timeout")
        else:
            self._timer = self.loop.call_at(min(self._deadline, now + MAX_HEAD_S), self._look)

    def _give_up(self, status: bytes) -> None:
        self._deadline = math.inf
        if self.transport.is_closing():
            return
        if self._head_bytes and (self.cycle is None or self.cycle.response_complete):  # not into another answer
            self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self.transport.close()


class Cycle(RequestResponseCycle):
    """One request and its answer. The head of the answer waits for the first part of the body, but not for long."""

    _head = b""

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message)
        elif not self.response_complete:
            self._continue(message)
        else:
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r}: the response is complete.")

    def _start(self, message: Any) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"Expected 'http.response.start', but got {message['type']!r}.")
        self.response_started = True
        self.waiting_for_100_continue = False
        status = message["status"]
        lines = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *message.get("headers", ())):
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _NO_BODY:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)
        _check(self._head, len(lines))
        if self.chunked_encoding:
            asyncio.get_running_loop().call_soon(self._flush)

    def _continue(self, message: Any) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"Expected 'http.response.body', but got {message['type']!r}.")
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("Response content longer than Content-Length")
        if is_last and self.expected_content_length > 0:
            raise RuntimeError("Response content shorter than Content-Length")
        head, self._head = self._head, b""
        if head or body:
            self.transport.write(head + body if head else body)
        if is_last:
            self._end()

    def _flush(self) -> None:
        """Nothing came with the head: it goes alone, so that who waits for a stream knows that it is open."""
        if self._head and not self.disconnected:
            head, self._head = self._head, b""
            self.transport.write(head)

    def _end(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _check(head: bytes, count: int) -> None:
    """One look at the whole head instead of two at every header."""
    if head.count(b"\n") != count or head.count(b"\r") != count or b"\0" in head:
        raise BadHeader("A header of the answer holds a line break.")
