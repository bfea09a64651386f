"""Answer what has been asked before from memory, and let identical requests under way share one answer."""

import asyncio
import math
from collections import OrderedDict
from typing import Literal

import msgspec
from pydantic import Field

from inhouse.gateway.call import Call, Endpoint, Reply
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policy
from inhouse.gateway.recording import Answer, record, replay
from inhouse.gateway.sameness import digest

_CACHED = frozenset({Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS, Endpoint.RERANK})
_ENTRY_BYTES = 500  # what an entry takes beside its answer


class CacheSettings(Settings):
    enabled: bool = Field(default=False, description="Whether answers are kept.")
    ttl_s: float = Field(default=3600, ge=1, le=30 * 86400, description="Seconds until an answer is forgotten.")
    max_bytes: int = Field(default=64 << 20, ge=1 << 16, le=1 << 36, description="Memory for answers.")
    max_answer_bytes: int = Field(default=1 << 20, ge=1 << 10, le=1 << 28, description="Longer answers are not kept.")
    share: Literal["key", "workspace"] = Field(default="key", description="Who gets answers that others asked for.")
    only_deterministic: bool = Field(
        default=True, description="Keep only answers that come out the same: temperature 0, a seed, or embeddings."
    )
    single_flight: bool = Field(default=True, description="Let identical requests under way share one answer.")
    share_wait_s: float = Field(
        default=30, ge=0.01, le=600, description="The longest wait for another request's answer before asking oneself."
    )


@policy("cache", order=50, settings=CacheSettings)
class Cache(Policy[CacheSettings]):
    """Answers to exactly the same request, of the same version of the model."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.hits = self.misses = self.shared = self.evicted = 0
        self.size_bytes = 0
        self._kept: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()
        self._flights: dict[bytes, asyncio.Future[Answer | None]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def configure(self, settings: CacheSettings) -> None:
        super().configure(settings)
        if settings.enabled:
            self._fit()
        else:
            self.clear()

    @property
    def is_active(self) -> bool:
        return self.settings.enabled

    def clear(self) -> None:
        """Forget all answers."""
        self._kept.clear()
        self.size_bytes = 0

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        wish = str(call.notes.get("cache_control", ""))
        key = self._key(call) if "no-store" not in wish else None
        if key is None:
            return await proceed(call)
        if "no-cache" in wish:
            route = call.route
            reply = await proceed(call)
            if call.route is not route:  # another model stepped in
                return reply
            return record(reply, lambda answer: self._keep(key, answer), max_bytes=self._max_bytes)
        answer = self._find(key)
        if answer is not None:
            self.hits += 1
            return self._replay(answer, call, "hit")
        if self.settings.single_flight and key in self._flights:
            answer = await self._others(key, call)
            if answer is not None:
                self.shared += 1
                return self._replay(answer, call, "shared")
        self.misses += 1
        call.headers.append((b"x-cache", b"miss"))
        return await self._ask(key, call, proceed)

    async def _others(self, key: bytes, call: Call) -> Answer | None:
        """The answer that another request waits for. If that one leaves, one of those who wait here asks instead."""
        loop = asyncio.get_running_loop()
        if call.timeout_s and not call.deadline:
            call.deadline = loop.time() + call.timeout_s  # the wait is a part of the time that the call has
        until = min(loop.time() + self.settings.share_wait_s, call.deadline or math.inf)
        while (flight := self._flights.get(key)) is not None:
            await asyncio.wait((flight,), timeout=max(until - loop.time(), 0))
            if not flight.cancelled():
                return flight.result() if flight.done() else None
        return None

    async def _ask(self, key: bytes, call: Call, proceed: Proceed) -> Reply:
        """Ask the model. Whoever asks the same meanwhile waits for this answer, and goes on alone if there is none."""
        flight: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        is_first = self._flights.setdefault(key, flight) is flight
        route = call.route

        def keep(answer: Answer | None) -> None:
            if call.route is not route:  # another model stepped in: nobody else shall take its answer for this one's
                answer = None
            self._keep(key, answer)
            if is_first:
                del self._flights[key]
                flight.set_result(answer)

        def leave() -> None:
            if is_first:
                del self._flights[key]
                flight.cancel()

        try:
            reply = await proceed(call)
        except asyncio.CancelledError:
            leave()
            raise
        except BaseException:
            keep(None)
            raise
        return record(reply, keep, max_bytes=self._max_bytes, left=leave)

    @property
    def _max_bytes(self) -> int:
        return min(self.settings.max_answer_bytes, self.settings.max_bytes)

    def _key(self, call: Call) -> bytes | None:
        if call.endpoint not in _CACHED or not call.fields:
            return None
        if self.settings.only_deterministic and call.endpoint.generates and not _is_deterministic(call):
            return None
        return digest(call, self.settings.share)

    def _find(self, key: bytes) -> Answer | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= self.surroundings.clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def _replay(self, answer: Answer, call: Call, how: str) -> Reply:
        call.cache = how
        call.headers.append((b"x-cache", how.encode()))
        return replay(answer, call)

    def _keep(self, key: bytes, answer: Answer | None) -> None:
        if answer is None or not self.settings.enabled:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = (self.surroundings.clock() + self.settings.ttl_s, answer)
        self.size_bytes += len(answer.body) + _ENTRY_BYTES
        self._fit()

    def _fit(self) -> None:
        while self.size_bytes > self.settings.max_bytes:
            self._drop(next(iter(self._kept)))
            self.evicted += 1

    def _drop(self, key: bytes) -> None:
        _, answer = self._kept.pop(key)
        self.size_bytes -= len(answer.body) + _ENTRY_BYTES


def _is_deterministic(call: Call) -> bool:
    try:
        return call.json("temperature") == 0 or call.json("seed") is not None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
