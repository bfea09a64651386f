"""An answer of the fast client: the head is here, the body comes piece by piece."""

import asyncio
import math
from typing import Protocol

from inhouse.core.errors import Unavailable
from inhouse.core.http import AnswerTooLarge, EndpointTimedOut
from inhouse.core.inflate import BadPacking, Inflate

Headers = list[tuple[bytes, bytes]]
_LATE_PARTS = 8
"""As often may something come that nobody reads any more, before the connection is closed."""


class EndpointBrokeOff(Unavailable):
    """The other side went away in the middle of its answer."""


class EndpointGarbled(Unavailable):
    """What the other side sent is not an answer in HTTP/1.1."""


class Source(Protocol):
    """The connection that an answer comes over."""

    loop: asyncio.AbstractEventLoop

    def abort(self) -> None: ...

    def resume(self) -> None: ...

    def hurry(self) -> None: ...

    def expect_by(self, deadline: float) -> None: ...


class Answer:
    """An answer: its head now, its body as it comes. Read it to the end, or `abort()` it."""

    __slots__ = (
        "_failure",
        "_fields",
        "_inflate",
        "_loop",
        "_name",
        "_parts",
        "_patience",
        "_source",
        "_waiter",
        "deadline",
        "headers",
        "is_complete",
        "status",
        "unread",
    )

    def __init__(self, source: Source, status: int, headers: Headers, fields: dict[bytes, bytes], name: str) -> None:
        self.status = status
        self.headers = headers
        self.is_complete = False
        self.unread = 0
        self.deadline = math.inf
        """On the clock of the loop: after it nothing is waited for."""
        self._fields = fields
        self._name = name
        self._source: Source | None = source
        self._loop = source.loop
        self._inflate: Inflate | None = None
        self._parts: list[bytes] = []
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._patience = 0

    def header(self, name: bytes) -> bytes:
        """The value of a header, joined by commas where it is repeated; empty when it is absent."""
        return self._fields.get(name, b"")

    async def read(self, max_bytes: int, deadline: float = math.inf) -> bytes:
        """The whole rest of the body, by `deadline` on the clock of the loop."""
        body = self.whole(max_bytes)
        return await self._rest(max_bytes, deadline) if body is None else body

    def whole(self, max_bytes: int) -> bytes | None:
        """The body where all of it came with its head, as that of a usual small answer; else None."""
        if self.is_complete and self._inflate is None and self.unread <= max_bytes:
            return self._take()
        return None

    async def _rest(self, max_bytes: int, deadline: float) -> bytes:
        self.deadline = deadline
        body: list[bytes] = []
        size = 0
        while part := await self.part():
            size += len(part)
            if size > max_bytes:
                self.abort()
                raise AnswerTooLarge(f"{self._name} sent more than {max_bytes} bytes.")
            if self._loop.time() > deadline:
                self.abort()
                raise EndpointTimedOut(f"{self._name} did not end its answer in time.", phase="total")
            body.append(part)
        return body[0] if len(body) == 1 else b"".join(body)

    async def part(self) -> bytes:
        """All that arrived since the last call, at least one byte of it; empty at the end of the body."""
        while True:
            while self._parts or (self._inflate is not None and self._inflate.has_more):
                if part := self._take():
                    return part
            if self._failure is not None:
                raise self._failure
            if self.is_complete:
                return self._end()
            if self._source is not None:
                self._source.expect_by(self.deadline)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except BaseException:
                self.abort()
                raise

    def abort(self) -> None:
        """Close the connection at once, unless the body is complete."""
        if self._source is not None:
            self._source.abort()
            self.fail(EndpointBrokeOff(f"The answer of {self._name} was given up."))

    def finish(self) -> None:
        """The reader has what it wants. The connection is kept if the body ends soon, and closed if it does not."""
        if self._source is not None:
            self._patience = _LATE_PARTS
            self._parts.clear()
            self.unread = 0
            self._source.hurry()

    def arrive(self, parts: list[bytes]) -> None:
        if self._patience:
            self._patience -= 1
            if not self._patience:
                self._loop.call_soon(self.abort)
            return
        for part in parts:
            self.unread += len(part)
        self._parts += parts

    def complete(self) -> None:
        self.is_complete = True
        self._source = None

    def fail(self, error: Exception) -> None:
        """What arrived so far can still be read; the error comes after it."""
        self._failure = error
        self._source = None
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def unpack(self, encoding: bytes) -> None:
        """Undo an encoding that we didn't ask for; the headers then describe what is read."""
        self._inflate = Inflate(encoding)
        self.headers = [item for item in self.headers if item[0] not in (b"content-encoding", b"content-length")]
        self._fields.pop(b"content-encoding")
        self._fields.pop(b"content-length", None)

    def _take(self) -> bytes:
        if self._inflate is not None and self._inflate.has_more:
            return self._unpacked(self._inflate, b"")
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.unread = 0
        if self._source is not None:
            self._source.resume()
        return data if self._inflate is None else self._unpacked(self._inflate, data)

    def _unpacked(self, inflate: Inflate, packed: bytes) -> bytes:
        try:
            return inflate.take(packed)
        except BadPacking as error:
            self.abort()
            self._failure = EndpointGarbled(f"{self._name} sent a body that cannot be unpacked.")
            self._parts.clear()
            raise self._failure from error

    def _end(self) -> bytes:
        if self._inflate is not None and not self._inflate.is_whole:
            raise EndpointBrokeOff(f"{self._name} packed its answer, and the end of it is missing.")
        return b""
