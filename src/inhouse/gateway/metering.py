"""What is read off an answer as it passes: tokens, the time of the first, and the answer itself for who wants it."""

import asyncio
import re
import time
from collections.abc import Callable

import msgspec

from inhouse.core.errors import InhouseError
from inhouse.gateway import wire
from inhouse.gateway.call import Call, Events, Outcome, Usage
from inhouse.gateway.models import PER_MESSAGE, text_of
from inhouse.gateway.tokens import estimate

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
LEFT = 499
"""The status of a call whose client left before its answer was complete, as nginx counts it."""
CAPTURE_BYTES = 1 << 20
"""The most that is kept of one answer for policies that want to see it."""


class Metered:
    """Streamed events on their way out. Tells the end of the call exactly once: complete, failed, or left."""

    def __init__(self, events: Events, call: Call, settle: Callable[[Call, Outcome], None]) -> None:
        self._events = events
        self._call = call
        self._settle = settle
        self._parts = 0
        self._kept = 0
        self._is_over = False

    async def part(self) -> bytes:
        call = self._call
        while True:
            try:
                block = await self._events.part()
            except BaseException as error:
                self._end(error)
                raise
            if not block:
                self._end(None)
                return b""
            if not self._parts:
                call.first_token_s = duration(call)
            self._parts += block.count(b"\n\n")
            if b'"usage"' in block:
                block = self._read_usage(block)
            if call.captured is not None:
                self._keep(block)
            if block:
                return block

    def abort(self) -> None:
        """The client left."""
        self._events.abort()
        self._end(GeneratorExit())

    def _end(self, error: BaseException | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        call = self._call
        note_usage(call, self._parts)
        self._settle(call, ended(call, error, self._parts))

    def _read_usage(self, block: bytes) -> bytes:
        """Note the usage; drop the event that has nothing else, unless the client asked for it."""
        found = _USAGE.search(block)
        while found:
            before = block.rfind(b"\n\n", 0, found.start())
            start = before + 2 if before >= 0 else 0
            end = block.find(b"\n\n", start) + 2
            usage, is_alone = _usage(block[start:end])
            if usage is not None:
                self._call.usage = usage
                if is_alone and not self._call.include_usage:
                    block = block[:start] + block[end:]
                    end = start
            found = _USAGE.search(block, end)
        return block

    def _keep(self, block: bytes) -> None:
        self._kept += len(block)
        if self._kept <= CAPTURE_BYTES and self._call.captured is not None:
            self._call.captured.append(block)


def duration(call: Call) -> float:
    """Seconds since the call began."""
    return time.perf_counter() - call.started


def note_usage(call: Call, parts: int = 0, body: bytes = b"") -> None:
    """Estimate the usage where the model did not count, or the stream was given up before it said."""
    if call.usage is None and call.endpoint.generates:
        call.usage = Usage(_asked(call), max(parts - 2, 0) or _said(body), estimated=True)


def _asked(call: Call) -> int:
    messages = call.json("messages")
    if isinstance(messages, list):
        return sum(estimate(text_of(message)) + PER_MESSAGE for message in messages if isinstance(message, dict))
    return call.prompt_estimate


def _said(body: bytes) -> int:
    try:
        choices = msgspec.json.decode(body).get("choices") or ()
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        return 0
    texts = (choice.get("text") or text_of(choice.get("message") or {}) for choice in choices)
    return sum(estimate(text) for text in texts)


def ended(call: Call, error: BaseException | None, parts: int = 0) -> Outcome:
    """How a call ended: answered, failed, or left by its client."""
    spent_s = duration(call)
    if error is None:
        return Outcome(200, None, spent_s, parts)
    if isinstance(error, InhouseError):
        return Outcome(wire.status_of(error), error, spent_s, parts)
    left = isinstance(error, asyncio.CancelledError | GeneratorExit)
    return Outcome(LEFT if left else 500, None, spent_s, parts)


def _usage(event: bytes) -> tuple[Usage | None, bool]:
    """The usage that an event carries, and whether it carries nothing else."""
    try:
        seen = wire.peek(event[event.index(b"{") :])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None, False
    if seen.usage is None:
        return None, False
    return seen.usage.usage(), not seen.choices
