"""Where requests over a limit wait until they are within it."""

import asyncio
import bisect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from inhouse.core.errors import LimitExceeded
from inhouse.gateway import metrics
from inhouse.gateway.call import Call

_LEAST_PAUSE_S = 0.005
Take = Callable[[], LimitExceeded | None]


@dataclass(slots=True, eq=False)
class _Waiting:
    rank: tuple[int, int]
    counters: Sequence[object]
    take: Take
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Line:
    """Higher priority goes first, then who came first. Nobody overtakes where both wait for the same counter."""

    def __init__(self) -> None:
        self.dropped = 0
        """Requests refused because too many waited, or their turn did not come in time."""
        self._max_wait_s = 0.0
        self._max_waiting = 1
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def configure(self, max_wait_s: float, max_waiting: int) -> None:
        self._max_wait_s = max_wait_s
        self._max_waiting = max_waiting

    def is_behind(self, call: Call, counters: Sequence[object]) -> bool:
        """Whether somebody waits already who goes before this call."""
        return any(
            -one.rank[0] >= call.priority and not set(map(id, one.counters)).isdisjoint(map(id, counters))
            for one in self._waiting
        )

    async def wait(self, call: Call, counters: Sequence[object], take: Take) -> None:
        """Return once `take` has taken what the call needs, or raise what it said last."""
        one = _Waiting((-call.priority, next(self._numbers)), counters, take)
        if len(self._waiting) >= self._max_waiting:
            self._give_up(one)
            return
        began = asyncio.get_running_loop().time()
        bisect.insort(self._waiting, one, key=lambda other: other.rank)
        self._next()
        try:
            await asyncio.wait((one.turn,), timeout=min(self._max_wait_s, call.timeout_s or self._max_wait_s))
        finally:
            if not one.turn.done():
                self._waiting.remove(one)
        call.queued_s += asyncio.get_running_loop().time() - began
        if not one.turn.done():
            self._give_up(one)

    def _give_up(self, one: _Waiting) -> None:
        """Refuse it, unless its turn has come this very moment."""
        refusal = one.take()
        if refusal is not None:
            self.dropped += 1
            metrics.dropped("limits")
            raise refusal

    def _next(self) -> None:
        """Let everybody go whose turn it is, and look again when the next may be due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        blocked: set[int] = set()
        still: list[_Waiting] = []
        pause_s = self._max_wait_s
        for one in self._waiting:
            mine = set(map(id, one.counters))
            if mine.isdisjoint(blocked):
                refusal = one.take()
                if refusal is None:
                    one.turn.set_result(None)
                    continue
                pause_s = min(pause_s, float(refusal.details.get("retry_after_s") or pause_s))
            blocked |= mine
            still.append(one)
        self._waiting = still
        if still:
            self._timer = asyncio.get_running_loop().call_later(max(pause_s, _LEAST_PAUSE_S), self._next)
