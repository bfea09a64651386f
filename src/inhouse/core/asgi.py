"""The few things that a raw ASGI app needs: reading a body, answering, noticing that the client left."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from inhouse.core.errors import TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]


class BodyTooLarge(TooLarge):
    """The request body is over the limit."""


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    body: bytes | bytearray = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part: bytes = message.get("body", b"")
        if len(body) + len(part) > max_bytes:
            raise BodyTooLarge(
                f"The request body is larger than {max_bytes} bytes.", hint="Send less text in one request."
            )
        if not message.get("more_body"):
            return bytes(body + part) if body else part
        body = body or bytearray()
        body += part


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


class Connection(Protocol):
    """A client's connection, where the server puts it into the scope under `CONNECTION`."""

    has_left: bool
    is_read: bool
    task: asyncio.Task[None]
    """Answers the request."""
    on_leave: Callable[[], None] | None
    known: tuple[bytes, bytes]
    """Credentials that were sent here, and their digest, for who has to look them up again with the next request."""

    def take_body(self) -> bytes:
        """The whole body of a request that `is_read`."""
        ...

    def answer(self, status: int, headers: list[Header], body: bytes, lines: bytes) -> bool:
        """Send a whole answer at once, with its length added; False where that cannot be.

        `lines` are further headers, ready-made and known to be well-formed: each one ends with CR LF.
        """
        ...


class WholeRequest(Protocol):
    """A request that is here to its end, where the server puts it into the scope under `WHOLE`."""

    def body(self) -> bytes: ...

    def answer(self, status: int, headers: list[Header], body: bytes, lines: bytes = b"") -> bool:
        """Answer in one go, with the length added; False where it has to be sent in the ordinary way.

        `lines` are further headers, as in `Connection.answer`.
        """
        ...


CONNECTION = "inhouse.connection"
WHOLE = "inhouse.whole"


class WhileConnected:
    """Cancels the block of an `async` function and raises `ClientLeft` when the client leaves.

    For after the body has been read.

    Where the server tells when a connection ends this costs next to nothing; elsewhere a task waits for it.
    """

    __slots__ = ("_connection", "_left", "_receive", "_task", "_watcher")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._connection: Connection | None = scope.get(CONNECTION)
        self._receive = receive
        self._left = False

    def __enter__(self) -> None:
        if self._connection is None:
            task = asyncio.current_task()
            assert task is not None
            self._task = task
            self._watcher = asyncio.create_task(self._watch())
            return
        self._task = self._connection.task
        if self._connection.has_left:
            raise ClientLeft
        self._connection.on_leave = self._leave

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if self._connection is None:
            self._watcher.cancel()
        else:
            self._connection.on_leave = None
        if self._left and isinstance(error, asyncio.CancelledError) and self._task.uncancel() == 0:
            raise ClientLeft from None

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self.__exit__(kind, error, traceback)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self._left = True
        self._task.cancel()
