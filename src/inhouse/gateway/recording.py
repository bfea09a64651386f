"""Keeps an answer for others who ask the same: notes it as it passes, and says it again, whole or streamed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from inhouse.gateway import chunks
from inhouse.gateway.call import Call, Events, Reply, Usage

_LARGE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, as one JSON document."""

    body: bytes
    usage: Usage | None
    content_type: bytes = b"application/json"


Keep = Callable[[Answer | None], None]


class Recorded:
    """Streamed events on their way. `keep` gets the complete answer, or None where there is none; exactly once.

    Where the reader leaves before the end, `left` is called instead, if there is one.
    """

    def __init__(self, events: Events, keep: Keep, *, max_bytes: int, left: Callable[[], None] | None = None) -> None:
        self._events = events
        self._keep: Keep | None = keep
        self._leave = left
        self._left = max_bytes
        self._blocks: list[bytes] = []

    async def part(self) -> bytes:
        try:
            block = await self._events.part()
            if block:
                self._note(block)
            elif self._keep is not None:
                self._end(await self._answer())
        except asyncio.CancelledError:
            self._left_early()
            raise
        except BaseException:
            self._end(None)
            raise
        return block

    def abort(self) -> None:
        self._left_early()
        self._events.abort()

    def _left_early(self) -> None:
        if self._keep is not None and self._leave is not None:
            self._keep = None
            self._leave()
        self._end(None)

    def _note(self, block: bytes) -> None:
        self._left -= len(block)
        if self._left < 0:
            self._end(None)
        elif self._keep is not None:
            self._blocks.append(block)

    async def _answer(self) -> Answer | None:
        blocks, self._blocks = self._blocks, []
        is_large = sum(map(len, blocks)) > _LARGE_BYTES
        body = await asyncio.to_thread(chunks.assemble, blocks) if is_large else chunks.assemble(blocks)
        return None if body is None else Answer(body, usage_of(body))

    def _end(self, answer: Answer | None) -> None:
        keep, self._keep = self._keep, None
        self._blocks = []
        if keep is not None:
            keep(answer)


class Replayed:
    """A stream that is there already."""

    def __init__(self, block: bytes) -> None:
        self._block = block

    async def part(self) -> bytes:
        block, self._block = self._block, b""
        return block

    def abort(self) -> None:
        self._block = b""


def record(reply: Reply, keep: Keep, *, max_bytes: int, left: Callable[[], None] | None = None) -> Reply:
    """The same reply; `keep` gets its answer when it is complete. See `Recorded` for `left`."""
    if reply.events is not None:
        return Reply(
            events=Recorded(reply.events, keep, max_bytes=max_bytes, left=left),
            content_type=reply.content_type,
            usage=reply.usage,
        )
    fits = len(reply.body) <= max_bytes
    keep(Answer(reply.body, reply.usage or usage_of(reply.body), reply.content_type) if fits else None)
    return reply


def replay(answer: Answer, call: Call) -> Reply:
    """The answer as the call wants it."""
    if call.stream and call.endpoint.generates:
        block = b"".join(chunks.disassemble(answer.body))
        return Reply(events=Replayed(block), content_type=b"text/event-stream", usage=answer.usage)
    return Reply(answer.body, content_type=answer.content_type, usage=answer.usage)


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Counted(msgspec.Struct):
    usage: _Counts | None = None


def usage_of(body: bytes) -> Usage | None:
    """What an answer says of its tokens."""
    try:
        usage = msgspec.json.decode(body, type=_Counted).usage
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if usage is None else Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)
