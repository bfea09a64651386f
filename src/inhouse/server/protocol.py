"""HTTP/1.1 on one connection: llhttp cuts the bytes up, an ASGI app answers, and everything has a bound.

uvicorn opens the sockets and ends the server. Its own protocol costs more than the rest of a small request, and bounds
neither the head of a request, nor the time that it takes, nor how long a client may leave its answer unread.
"""

import asyncio
import functools
import logging
import math
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn.server import ServerState

from inhouse.core.asgi import CONNECTION, Message, Scope
from inhouse.core.outbox import outbox_of

MAX_HEAD_BYTES = 64 << 10
MAX_HEAD_S = 15.0
KEEP_ALIVE_S = 75.0
"""A connection without a request is kept for so long: longer than clients and proxies keep theirs."""
STUCK_S = 60.0
"""A client that takes nothing of its answer for so long holds up a model: it is cut off."""
_UNREAD_BYTES = 64 << 10
_UNSENT_BYTES = 32 << 10
_NO_BODY = frozenset({204, 304})
_STATUS = {one.value: b"HTTP/1.1 %d %b\r\n" % (one.value, one.phrase.encode()) for one in HTTPStatus}
_log = logging.getLogger(__name__)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BadHeader(ValueError):
    """An app's header holds a line break or a NUL."""


class HttpConnection(asyncio.Protocol):
    """A client's connection. Requests that come before the last is answered wait their turn."""

    transport: asyncio.Transport
    task: asyncio.Task[None]
    """Answers the request."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self._outbox = outbox_of(self.loop)
        self._unsent = b""
        self.has_left = False
        self.on_leave: Callable[[], None] | None = None
        """Called when the client leaves before its answer is complete."""
        self.known = (b"", b"")
        self.state = server_state
        self._app: Any = config.loaded_app
        self._parser = HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # it is left alone, see `_end`
        self._server: tuple[str, int] | None = None
        self._client: tuple[str, int] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._heads = 0
        self._has_begun = False
        self._head_bytes = 0
        self._reading: Exchange | None = None
        self._answering: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._is_paused = False
        self._is_ending = False
        """Whether what follows is not read any more."""
        self._head_due = math.inf
        """When the head of a request has to be here, on the clock of the loop; infinite while none is awaited."""
        self._idle_until = math.inf
        """Until when the connection is kept for a next request; infinite while it has one."""
        self._stuck_at = math.inf
        """Since when the client takes nothing of what is sent."""
        self._timer: asyncio.TimerHandle | None = None
        self._writable: asyncio.Event | None = None

    @property
    def is_read(self) -> bool:
        """Whether the request that is being answered is here to its end."""
        return self._answering is None or not self._answering.more_body

    def take_body(self) -> bytes:
        """The whole body of the request that is being answered, which has to be read."""
        assert self._answering is not None
        return self._answering.take()

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, lines: bytes = b"") -> bool:
        """Send a whole answer at once; False while the client still has to take what was sent before.

        `lines` are further headers, ready-made; nobody looks at them again.
        """
        exchange = self._answering
        if exchange is None or not exchange.may_answer(status) or self._stuck_at is not math.inf:
            return False
        if not self.has_left:
            exchange.answer(status, headers, body, lines)
        return True

    def write(self, data: bytes) -> None:
        """Send it at the end of this round of the loop, or at once where it is much."""
        if self._unsent:
            self._unsent += data
        else:
            self._unsent = data
            self._outbox.add(self)
        if len(self._unsent) > _UNSENT_BYTES:
            self.flush()

    def flush(self) -> None:
        data, self._unsent = self._unsent, b""
        if data:
            self.transport.write(data)

    def close(self) -> None:
        """Close after what is still to be sent."""
        self.flush()
        self.transport.close()

    async def drain(self) -> None:
        """Wait until the client has taken some of what was sent."""
        if self._writable is not None:
            await self._writable.wait()

    def resume_reading(self) -> None:
        if self._is_paused and not self._waiting:
            self._is_paused = False
            self.transport.resume_reading()

    def answered(self, exchange: "Exchange") -> None:
        """An answer is complete: the next request may begin."""
        self.state.total_requests += 1
        self._answering = None
        if not exchange.keep_alive:
            self.close()
        if self.transport.is_closing():
            return
        if self._waiting:
            self._start(self._waiting.popleft())
        elif self._head_due is math.inf:  # else the next head has begun already
            self._idle_until = self.loop.time() + (MAX_HEAD_S if exchange.more_body else KEEP_ALIVE_S)
        self.resume_reading()

    # What the loop and the server call

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.transport = transport
        self.state.connections.add(self)  # pyright: ignore[reportArgumentType]  # all that it wants is `shutdown`
        self._server, self._client = _address(transport, "sockname"), _address(transport, "peername")
        self._await_head()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.connections.discard(self)  # pyright: ignore[reportArgumentType]
        if self._timer is not None:
            self._timer.cancel()
        self._leave()
        self.resume_writing()
        del self._parser  # which holds this object in turn

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        head = self._heads
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._end()  # what follows is not HTTP/1.1
            return
        except HttpParserError:
            self._give_up(400)
            return
        if head == self._heads and self._head_due is not math.inf:  # all of it belongs to a head that has not ended
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._give_up(431)

    def eof_received(self) -> None:
        pass

    def pause_writing(self) -> None:
        self._writable = self._writable or asyncio.Event()
        self._writable.clear()
        self._stuck_at = self.loop.time()

    def resume_writing(self) -> None:
        self._stuck_at = math.inf
        if self._writable is not None:
            self._writable.set()

    def shutdown(self) -> None:
        """Take no further request, and close after the answer that is under way."""
        if self._answering is None:
            self.close()
        else:
            self._answering.keep_alive = False

    # What llhttp calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._heads += 1
        self._has_begun = True
        self._await_head()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._head_due = math.inf
        self._has_begun = False
        parser = self._parser
        version = parser.get_http_version()
        path, raw_path, query = _split(self._url)
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": _method(parser.get_method()),
            "root_path": "",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
            "state": {},
            CONNECTION: self,
        }
        self._reading = exchange = Exchange(self, scope, version != "1.0" and parser.should_keep_alive())
        if self._answering is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self._pause()

    def on_body(self, body: bytes) -> None:
        exchange = self._reading
        if exchange is not None and not exchange.is_complete:
            exchange.arrive(body)
            if exchange.unread > _UNREAD_BYTES:
                self._pause()

    def on_message_complete(self) -> None:
        exchange, self._reading = self._reading, None
        if exchange is not None:
            exchange.more_body = False
            exchange.wake()
            if exchange.is_complete and self._answering is None:  # the rest of a body that nobody wanted is over
                self._idle_until = self.loop.time() + KEEP_ALIVE_S

    # What only this class calls

    def _start(self, exchange: "Exchange") -> None:
        self._answering = exchange
        self.task = exchange.task = self.loop.create_task(exchange.run(self._app))
        self.state.tasks.add(self.task)

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()

    def _end(self) -> None:
        """Close after the last request that came."""
        self._is_ending = True
        last = self._waiting[-1] if self._waiting else self._answering
        if last is not None:
            last.keep_alive = False

    def _await_head(self) -> None:
        """A head has to be here soon. The timer stays where it is and looks again, so that this costs nothing."""
        self._head_bytes = 0
        self._idle_until = math.inf
        self._head_due = self.loop.time() + MAX_HEAD_S

    def _look(self) -> None:
        now = self.loop.time()
        if now >= self._idle_until:
            self.close()
        elif now >= self._stuck_at + STUCK_S:
            self.transport.abort()
        elif now >= self._head_due and self._answering is None:
            self._give_up(408)
        else:
            due = min(self._idle_until, self._head_due if self._answering is None else math.inf, now + MAX_HEAD_S)
            self._timer = self.loop.call_at(due, self._look)

    def _leave(self) -> None:
        """Tell whoever is answering that nobody listens any more."""
        if self.has_left:
            return
        self.has_left = True
        for exchange in (self._answering, self._reading):
            if exchange is not None:
                exchange.wake()
        if self.on_leave is not None:
            self.on_leave()

    def _give_up(self, status: int) -> None:
        """Refuse what came, unless an answer has begun or nothing came at all, and hang up."""
        self._head_due = math.inf
        if self.transport.is_closing():
            return
        if self._answering is not None and self._answering is not self._reading:
            self._end()  # into the answer of an earlier request nobody cuts
            return
        is_started = self._answering is not None and self._answering.is_started
        if not is_started and (self._has_begun or status == 400):
            self.write(_STATUS[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self._leave()
        self.close()


class Exchange:
    """One request and its answer. The head of the answer waits for the first part of the body, but not for long."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_is_told",
        "_left",
        "_may_want_continue",
        "_parts",
        "_scope",
        "_waiter",
        "is_complete",
        "is_started",
        "keep_alive",
        "more_body",
        "task",
        "unread",
    )

    task: asyncio.Task[None]

    def __init__(self, connection: HttpConnection, scope: Scope, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.more_body = True
        self.is_complete = False
        self.unread = 0
        self._connection = connection
        self._scope = scope
        self._parts: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._may_want_continue = True
        self.is_started = False
        self._is_told = False
        """Whether the app has had the whole request."""
        self._chunked = False
        self._left = 0
        """Bytes of the body that are still to come, where its length was told."""
        self._head = b""

    async def run(self, app: Any) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:  # the edge of a request
            _log.exception("An app failed to answer.")
            self._fail()
            return
        except asyncio.CancelledError:
            self._fail()
            raise
        finally:
            self._connection.state.tasks.discard(self.task)
        if not self.is_complete and not self._connection.has_left:
            self._fail()

    async def receive(self) -> Message:
        connection = self._connection
        if self._may_want_continue:
            self._may_want_continue = False
            if not self.is_started and _wants_continue(self._scope["headers"]):
                connection.write(_CONTINUE)
        while not (connection.has_left or self.is_complete):
            if self._parts or not (self.more_body or self._is_told):
                return {"type": "http.request", "body": self.take(), "more_body": self.more_body}
            self._waiter = connection.loop.create_future()
            await self._waiter
        return {"type": "http.disconnect"}

    def take(self) -> bytes:
        """What has arrived of the body since the last time."""
        parts, self._parts = self._parts, []
        self.unread = 0
        self._is_told = not self.more_body
        self._connection.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def may_answer(self, status: int) -> bool:
        """Whether an answer with a body can be sent at once."""
        return not self.is_started and self._scope["method"] != "HEAD" and status not in _NO_BODY

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, lines: bytes) -> None:
        """The same as the two messages of a whole answer, which leave in one piece. The length is added here."""
        self.is_started = self.is_complete = True
        connection = self._connection
        pairs = [*connection.state.default_headers, *headers, (b"content-length", b"%d" % len(body))]
        head = b"\r\n".join(map(b": ".join, pairs))
        _check_lines(head, len(pairs) - 1)
        connection.write(
            b"%b%b\r\n%b%b\r\n%b"
            % (
                _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status,
                head,
                lines,
                b"" if self.keep_alive else b"connection: close\r\n",
                body,
            )
        )
        connection.answered(self)

    async def send(self, message: Message) -> None:
        connection = self._connection
        await connection.drain()
        if connection.has_left:
            return
        if not self.is_started:
            self._start(message)
        elif not self.is_complete:
            self._continue(message)
        else:
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r}: the response is complete.")

    def arrive(self, body: bytes) -> None:
        self._parts.append(body)
        self.unread += len(body)
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _start(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"Expected 'http.response.start', but got {message['type']!r}.")
        self.is_started = True
        status: int = message["status"]
        has_length = False
        lines = [_STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in (*self._connection.state.default_headers, *message.get("headers", ())):
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                self._left = int(value)
                has_length = True
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
        if self._scope["method"] == "HEAD" or status in _NO_BODY:
            self._left = 0
        elif not has_length and self._scope["http_version"] == "1.0":
            self._left = -1  # its end is the end of the connection
        elif not has_length:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        _check_lines(head, len(lines))
        self._head = head + b"\r\n"
        if self._chunked:
            self._connection.loop.call_soon(self._flush)

    def _continue(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"Expected 'http.response.body', but got {message['type']!r}.")
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        if self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                body += b"0\r\n\r\n"
        elif self._scope["method"] == "HEAD":
            body = b""
        elif self._left >= 0:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("The body of the answer is longer than its content-length.")
        if is_last and self._left > 0:
            raise RuntimeError("The body of the answer is shorter than its content-length.")
        head, self._head = self._head, b""
        if head or body:
            self._connection.write(head + body if head else body)
        if is_last:
            self.is_complete = True
            self.wake()
            self._connection.answered(self)

    def _flush(self) -> None:
        """Nothing came with the head: it goes alone, so that who waits for a stream knows that it is open."""
        if self._head and not self._connection.has_left:
            head, self._head = self._head, b""
            self._connection.write(head)

    def _fail(self) -> None:
        """The app gave up. What it has not begun is answered for it, what it has begun is cut off."""
        connection = self._connection
        if not self.is_started and not connection.has_left:
            connection.write(_STATUS[500] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.is_complete = True
        self._head = b""
        connection.close()


def _check_lines(head: bytes, breaks: int) -> None:
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise BadHeader("A header of the answer holds a line break.")


def _wants_continue(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


@functools.lru_cache(maxsize=64)
def _method(name: bytes) -> str:
    return name.decode("ascii")


@functools.lru_cache(maxsize=512)
def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """The path as text, as it came, and the query."""
    target = parse_url(url)
    raw_path: bytes = target.path or b"/"
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path, raw_path, target.query or b""


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    found = transport.get_extra_info(name)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) else None
