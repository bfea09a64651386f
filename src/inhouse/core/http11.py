"""One HTTP/1.1 connection of the fast client.

The loop calls in with bytes, llhttp cuts them up, and one future wakes whoever waits: no task, no queue and no
timeout object per request. `pool.py` decides which connection a request takes.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from inhouse.core.answer import Answer, EndpointBrokeOff, EndpointGarbled, Headers
from inhouse.core.http import EndpointTimedOut, EndpointUnreachable
from inhouse.core.inflate import ENCODINGS
from inhouse.core.outbox import outbox_of

_UNREAD_BYTES = 256 << 10
_COPY_BYTES = 64 << 10
_HURRY_S = 1.0


class ConnectionStale(EndpointUnreachable):
    """A kept connection had been given up by the other side before our request came."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds to get a connection, for the head of the answer, and between two pieces of its body."""

    connect_s: float = 5.0
    head_s: float = 60.0
    idle_s: float = 60.0


class Owner(Protocol):
    """Where connections come from and go back to."""

    name: str
    max_head_bytes: int
    keepalive_s: float

    def release(self, connection: "Connection") -> None: ...

    def drop(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One connection: takes a request, hands out its answer, then goes back to its owner."""

    _transport: asyncio.Transport

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, *, is_vetted: bool) -> None:
        self.loop = loop
        self._outbox = outbox_of(loop)
        self._unsent = b""
        self.is_vetted = is_vetted
        self._owner = owner
        self._asked: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self.on_body = self._parts.append  # llhttp calls it for every piece: nothing is cheaper than this
        self._parser = HttpResponseParser(self)
        self._received = 0
        self._idle_s = 0.0
        self._deadline = 0.0
        self._fires_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_head = self._is_complete = self._is_reusable = self._until_eof = False
        self._is_used = self.is_lost = self._is_paused = False

    # What the owner and the client call

    def ask(self, head: bytes, body: bytes, waits: Waits) -> asyncio.Future[Answer]:
        """Send a request. The future brings the answer once its head is here."""
        self._asked = asked = self.loop.create_future()
        if self.is_lost:
            asked.set_exception(self._silence())
            return asked
        self._received = 0
        self._is_head = head.startswith(b"HEAD ")
        self._is_complete = self._is_reusable = self._until_eof = False
        self._idle_s = waits.idle_s
        self._expect_within(waits.head_s)
        if len(body) > _COPY_BYTES:
            self._transport.writelines((head, body))
        else:
            self._unsent = head + body
            self._outbox.add(self)
        return asked

    def flush(self) -> None:
        """Send what waits for the end of this round of the loop."""
        data, self._unsent = self._unsent, b""
        if data and not self.is_lost:
            self._transport.write(data)

    def leave(self, asked: "asyncio.Future[Answer]") -> None:
        """Whoever asked is gone: the other side learns it now."""
        if self._asked is asked:
            self.abort()

    def is_kept(self) -> bool:
        """Whether the time to keep it for the next request is not over yet."""
        return self._deadline > self.loop.time()

    def abort(self) -> None:
        self._asked = self._answer = None
        self._unsent = b""
        if self._timer is not None:
            self._timer.cancel()
        self._owner.drop(self)
        if not self.is_lost:
            self._transport.abort()

    def fail(self, error: Exception) -> None:
        """End the answer that is under way, if any, with an error."""
        asked, answer = self._asked, self._answer
        self.abort()
        if answer is not None:
            if asked is not None and not asked.done():
                asked.set_result(answer)
            answer.fail(error)
        elif asked is not None and not asked.done():
            asked.set_exception(error)

    def resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._expect_within(self._idle_s)
            self._transport.resume_reading()

    def hurry(self) -> None:
        """The rest of the answer is only waited for so that the connection can be kept."""
        self.resume()
        self._idle_s = _HURRY_S
        self._expect_within(_HURRY_S)

    def expect_by(self, deadline: float) -> None:
        """Wait for the next piece no longer than that. Only where the usual patience is longer, a timer is moved."""
        if deadline < self._deadline:
            self._deadline = deadline
            if deadline < self._fires_at:
                self._arm(deadline)

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports derive from nothing

    def data_received(self, data: bytes) -> None:
        asked = self._asked
        if asked is None:
            self.abort()  # nobody asked: whatever follows could be taken for the next answer
            return
        self._received += len(data)
        failure = self._feed(data)
        answer = self._answer
        if answer is None:
            if failure is None and self._received > self._owner.max_head_bytes:
                failure = self._garbled("its head is too large")
            if failure is not None:
                self.fail(failure)
            return
        if self._parts:
            if not self._is_head:
                answer.arrive(self._parts)
            self._parts.clear()
            self._received = 0
        elif self._received > self._owner.max_head_bytes:
            failure = failure or self._garbled("its trailers are too large")
        if failure is not None:
            self.fail(failure)
            return
        if self._is_complete:
            self._finish(answer)
        else:
            self._expect_within(self._idle_s)
            if answer.unread > _UNREAD_BYTES and not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()
        if asked.done():
            answer.wake()
        else:
            asked.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        asked, answer = self._asked, self._answer
        if asked is None:
            self.abort()
        elif answer is None and self._received:
            self.fail(EndpointBrokeOff(f"{self._owner.name} broke off before its answer began."))
        elif answer is None:
            if not asked.done():  # the slot stays with whoever asked: the next connection goes into it
                asked.set_exception(self._silence())
        elif self._until_eof and exc is None:
            self._finish(answer)
            answer.wake()
        else:
            self.fail(EndpointBrokeOff(f"{self._owner.name} broke off in the middle of its answer."))
        del self._parser  # it holds our methods: gone now, and not when the collector comes by

    # What llhttp calls; `on_body` is in __init__

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise _Unacceptable("it goes on after its end")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is None:  # else a trailer
            self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        if status < 200:
            if status < 100 or status == 101:
                raise _Unacceptable(f"status {status} was not asked for")
            return
        fields = dict(headers) if self._received <= self._owner.max_head_bytes else self._bounded(headers)
        if len(fields) != len(headers):
            fields = _joined(headers)
        transfer = fields.get(b"transfer-encoding")
        if transfer is not None and transfer.lower() != b"chunked":
            raise _Unacceptable("its transfer encoding is unknown")
        self._until_eof = transfer is None and b"content-length" not in fields
        answer = Answer(self, status, headers, fields, self._owner.name)
        packing = fields.get(b"content-encoding", b"").lower()
        if packing and packing != b"identity" and not self._is_head:
            if packing not in ENCODINGS:
                raise _Unacceptable("its content encoding is unknown")
            answer.unpack(packing)
        self._answer = answer
        self._received = 0
        self._is_complete = self._is_head

    def on_message_complete(self) -> None:
        if self._answer is not None:  # else the end of an interim answer
            self._is_complete = True
            self._is_reusable = self._parser.should_keep_alive()

    # What only this class calls

    def _feed(self, data: bytes) -> EndpointGarbled | None:
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self._is_complete:
                self._is_reusable = False
                return None
            return self._garbled(str(error.__context__ if isinstance(error, HttpParserCallbackError) else error))
        return None

    def _finish(self, answer: Answer) -> None:
        self._asked = self._answer = None
        self._is_used = True
        answer.complete()
        if not self._is_reusable or self.is_lost or self._unsent or self._transport.get_write_buffer_size():
            self.abort()
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        self._deadline = self.loop.time() + self._owner.keepalive_s
        self._owner.release(self)

    def _expect_within(self, seconds: float) -> None:
        """Move the deadline. The timer stays where it is, and looks again when it fires, unless that is too late."""
        self._deadline = deadline = self.loop.time() + seconds
        if deadline < self._fires_at:
            self._arm(deadline)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._tick)
        self._fires_at = when

    def _tick(self) -> None:
        now = self.loop.time()
        if self._is_paused:  # the reader is slow, not the other side
            self._arm(now + self._idle_s)
        elif now < self._deadline:
            self._arm(self._deadline)
        elif self._asked is None:
            self.abort()
        elif self._answer is None:
            self.fail(EndpointTimedOut(f"{self._owner.name} did not answer in time.", phase="head"))
        else:
            self.fail(EndpointTimedOut(f"{self._owner.name} stopped in the middle of its answer.", phase="idle"))

    def _silence(self) -> EndpointUnreachable:
        kind = ConnectionStale if self._is_used else EndpointUnreachable
        return kind(f"{self._owner.name} closed the connection without an answer.", hint="Is it running?")

    def _garbled(self, why: str) -> EndpointGarbled:
        return EndpointGarbled(
            f"{self._owner.name} did not answer in HTTP/1.1: {why}.", hint="Is that the address of a web server?"
        )

    def _bounded(self, headers: Headers) -> dict[bytes, bytes]:
        """Of more bytes than a head may have, the rest can be body that came along."""
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._owner.max_head_bytes:
            raise _Unacceptable("its head is too large")
        return dict(headers)


class _Unacceptable(Exception):
    """Stops llhttp at what is HTTP, but nothing that we can take."""


def _joined(headers: Headers) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields
