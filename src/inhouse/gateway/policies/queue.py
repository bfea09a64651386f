"""Let so many requests at a time through; the others wait their turn, up to a bound."""

import asyncio
import bisect
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from inhouse.core.errors import LimitExceeded
from inhouse.gateway import metrics
from inhouse.gateway.call import Call, Events, Reply
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policy
from inhouse.gateway.subjects import Identity, Rule, numbered

_LEAST_RETRY_S = 0.1
_MOST_RETRY_S = 60.0  # clients give up at once when told to wait for longer than two minutes
_SMOOTHING = 0.2
_MAX_TIMES = 1000
Slot = tuple[Identity, str, str]


class QueueFull(LimitExceeded):
    """As many requests wait as may."""


class WaitedTooLong(LimitExceeded):
    """The request's turn did not come in time."""


class Turns(Rule):
    """How many requests of somebody run at a time."""

    each: Literal["", "key", "user", "team", "workspace"] = Field(
        default="workspace", description="Who has turns of their own."
    )
    per_model: bool = Field(default=True, description="Whether each model has turns of its own.")
    max_running: int = Field(ge=1, le=100_000, description="How many requests run at a time.")


class QueueSettings(Settings):
    rules: tuple[Turns, ...] = Field(default=(), max_length=100, description="How many requests run at a time.")
    max_waiting: int = Field(default=100, ge=0, le=10_000, description="How many requests wait; more are refused.")
    max_wait_s: float = Field(default=30, ge=0.01, le=3600, description="The longest wait before a request is refused.")
    ageing_s: float = Field(
        default=10, ge=0.1, le=3600, description="Waiting that long counts as much as one more of priority."
    )


@dataclass(slots=True, eq=False)
class _Waiting:
    rank: tuple[float, int]
    slots: list[tuple[Slot, int]]
    call: Call
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@policy("queue", order=60, settings=QueueSettings)
class Queue(Policy[QueueSettings]):
    """Those of higher priority go first, then those who came first; who waits rises, so nobody waits for ever."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.dropped = 0
        """Requests refused because too many waited, or their turn did not come in time."""
        self._rules: list[tuple[Identity, Turns]] = []
        self._running: dict[Slot, int] = {}
        self._waiting: list[_Waiting] = []
        self._times: dict[str, float] = {}
        self._numbers = itertools.count()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> dict[str, int]:
        """How many requests run, by whose turns they take and of which model."""
        return {f"{subject} {model}".strip(): count for (_, subject, model), count in self._running.items()}

    @property
    def is_active(self) -> bool:
        return bool(self.settings.rules)

    def configure(self, settings: QueueSettings) -> None:
        super().configure(settings)
        self._rules = numbered(settings.rules)
        for one in list(self._waiting)[:1]:  # settings come on any thread, turns are given in the event loop
            one.turn.get_loop().call_soon_threadsafe(self._regroup)

    def _regroup(self) -> None:
        """Let those who wait do so by the rules of now."""
        for one in self._waiting:
            one.slots = self._slots(one.call)
        self._next()

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        slots = self._slots(call)
        if not slots:
            return await proceed(call)
        if self._is_free(slots):
            self._take(slots)
        else:
            slots = await self._wait(call, slots)
        started = self.surroundings.clock()
        try:
            reply = await proceed(call)
        except BaseException:
            self._release(slots)
            raise
        if reply.events is None:
            self._done(call, slots, started)
            return reply
        events = _Held(reply.events, lambda: self._done(call, slots, started))
        return Reply(events=events, content_type=reply.content_type, usage=reply.usage)

    def _slots(self, call: Call) -> list[tuple[Slot, int]]:
        model = call.route.name
        return [
            ((identity, subject, model if rule.per_model else ""), rule.max_running)
            for identity, rule in self._rules
            if rule.fits(model) and (subject := rule.counts(call.principal))
        ]

    def _is_free(self, slots: list[tuple[Slot, int]]) -> bool:
        return all(self._running.get(slot, 0) < limit for slot, limit in slots)

    def _take(self, slots: list[tuple[Slot, int]]) -> None:
        for slot, _ in slots:
            self._running[slot] = self._running.get(slot, 0) + 1

    async def _wait(self, call: Call, slots: list[tuple[Slot, int]]) -> list[tuple[Slot, int]]:
        if len(self._waiting) >= self.settings.max_waiting:
            self._drop()
            raise self._refusal(QueueFull, "Too many requests are waiting.", call, slots)
        clock = self.surroundings.clock
        began = clock()
        # The rank never changes while others wait: a later request must have that much more priority to go first.
        rank = (began / self.settings.ageing_s - call.priority, next(self._numbers))
        one = _Waiting(rank, slots, call)
        bisect.insort(self._waiting, one, key=lambda other: other.rank)
        patience_s = self.settings.max_wait_s
        if call.timeout_s:
            patience_s = min(patience_s, call.timeout_s)
        try:
            await asyncio.wait((one.turn,), timeout=patience_s)
        except BaseException:
            self._give_up(one)
            raise
        call.queued_s += clock() - began
        if not one.turn.done():
            self._give_up(one)
            self._drop()
            raise self._refusal(WaitedTooLong, "The request's turn did not come in time.", call, slots)
        return one.slots

    def _drop(self) -> None:
        self.dropped += 1
        metrics.dropped("queue")

    def _give_up(self, one: _Waiting) -> None:
        if one.turn.done():
            self._release(one.slots)
        else:
            self._waiting.remove(one)

    def _done(self, call: Call, slots: list[tuple[Slot, int]], started: float) -> None:
        spent_s = self.surroundings.clock() - started
        model = call.route.name
        usual_s = self._times.get(model)
        if usual_s is None and len(self._times) >= _MAX_TIMES:
            self._times.clear()
        self._times[model] = spent_s if usual_s is None else usual_s + _SMOOTHING * (spent_s - usual_s)
        self._release(slots)

    def _release(self, slots: list[tuple[Slot, int]]) -> None:
        for slot, _ in slots:
            left = self._running[slot] - 1
            if left:
                self._running[slot] = left
            else:
                del self._running[slot]
        self._next()

    def _next(self) -> None:
        """Let everybody go whose turn it is."""
        if not self._waiting:
            return
        still: list[_Waiting] = []
        for one in self._waiting:
            if self._is_free(one.slots):
                self._take(one.slots)
                one.turn.set_result(None)
            else:
                still.append(one)
        self._waiting = still

    def _refusal(
        self, kind: type[LimitExceeded], message: str, call: Call, slots: list[tuple[Slot, int]]
    ) -> LimitExceeded:
        ahead = (len(self._waiting) + 1) / min(limit for _, limit in slots)
        wait_s = min(max(ahead * self._times.get(call.route.name, 1.0), _LEAST_RETRY_S), _MOST_RETRY_S)
        return kind(
            message,
            hint="Try again later.",
            code="rate_limit_exceeded",
            retry_after_s=round(wait_s, 3),
        )


class _Held:
    """A streamed answer that takes up its slots until its end."""

    def __init__(self, events: Events, done: Callable[[], None]) -> None:
        self._events = events
        self._done: Callable[[], None] | None = done

    async def part(self) -> bytes:
        try:
            block = await self._events.part()
        except BaseException:
            self._end()
            raise
        if not block:
            self._end()
        return block

    def abort(self) -> None:
        self._events.abort()
        self._end()

    def _end(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()
