"""HTTP/1.1 with the bounds that uvicorn leaves open: how large the head of a request is, and how long it takes."""

import asyncio
from collections.abc import Callable
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inhouse.core.asgi import CONNECTION

MAX_HEAD_BYTES = 64 << 10
MAX_HEAD_S = 15.0


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose request does not begin, or whose head does not end."""

    has_left = False
    on_leave: Callable[[], None] | None = None
    """Called when the client leaves before its answer is complete."""

    _head_bytes = 0
    _waiting: asyncio.TimerHandle | None = None

    @property
    def is_read(self) -> bool:
        """Whether the request that is being answered is here to its end."""
        return not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)
        self.has_left = True
        if self.on_leave is not None:
            self.on_leave()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._waiting is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._give_up(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, object]", self.scope)[CONNECTION] = self
        self._wait()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._stop_waiting()
        self._head_bytes = 0
        self._waiting = self.loop.call_later(MAX_HEAD_S, self._give_up, b"408 Request Timeout")

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self, status: bytes) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self._head_bytes and (self.cycle is None or self.cycle.response_complete):  # not into another answer
            self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self.transport.close()
