"""Ask again when a model server fails before it has said anything, but never so often that it makes things worse."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable

from pydantic import Field

from inhouse.core.errors import InhouseError, LimitExceeded, TimedOut, Unavailable
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.dispatch import NoTarget
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policy
from inhouse.gateway.route import Target

TRIED = "tried"
"""The note under which a call carries the targets that failed it; the balance prefers others."""
_FORGET_S = 10.0
_TICK_S = 0.05
_MAX_TOKENS = 100.0
_MAX_BUDGETS = 4096


class RetrySettings(Settings):
    """How often, how soon and how much in all is asked again."""

    retries: int = Field(default=3, ge=0, le=10, description="Most further attempts for one request.")
    pause_s: float = Field(default=0.25, ge=0, le=10, description="Longest pause before the first retry; it doubles.")
    max_pause_s: float = Field(
        default=5.0, ge=0, le=60, description="Longest pause; a server that asks for more is not waited for."
    )
    budget: float = Field(default=0.2, ge=0, le=1, description="Retries allowed as a share of the recent requests.")
    spare: int = Field(
        default=10, ge=0, le=1000, description="Retries allowed in ten seconds without any requests to earn them."
    )


@policy("retry", order=80, settings=RetrySettings)
class Retry(Policy[RetrySettings]):
    """Asks again, elsewhere where there is an elsewhere, as long as the route's retry budget lasts.

    An answer whose first event is there is never asked for again: `proceed` has returned by then.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        super().__init__(surroundings)
        self.refused = 0
        """Retries that the budget did not allow."""
        self._sleep = sleep
        self._uniform = uniform
        self._budgets: dict[str, _Budget] = {}

    @property
    def is_active(self) -> bool:
        return self.settings.retries > 0

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        budget = self._budgets.get(call.route.name) or self._budget(call.route.name)
        budget.earn(self.surroundings.clock(), self.settings.budget, self.settings.spare)
        try:
            return await proceed(call)
        except InhouseError as error:
            failure = error
        tried: list[Target] = call.notes.setdefault(TRIED, [])
        for retry in range(self.settings.retries):
            if call.target is not None and call.target not in tried:
                tried.append(call.target)
            pause_s = self._pause(call, failure, retry, len(tried))
            if pause_s is None or not self._afford(budget):
                break
            await self._sleep(pause_s)
            try:
                return await proceed(call)
            except InhouseError as error:
                failure = error
        raise failure

    def _pause(self, call: Call, error: InhouseError, retry: int, tried: int) -> float | None:
        """Seconds until the next attempt; None where another makes no sense."""
        if not error.retryable or not isinstance(error, Unavailable | TimedOut | LimitExceeded):
            return None
        if isinstance(error, NoTarget):  # nobody was asked, and nobody will be there in a moment
            return None
        pause_s = self._uniform(0, min(self.settings.pause_s * 2**retry, self.settings.max_pause_s))
        wait_s = float(error.details.get("retry_after_s") or 0.0)
        if wait_s and tried >= len(call.route.targets):  # who is not asked again need not be waited for
            if wait_s > self.settings.max_pause_s:
                return None
            pause_s += wait_s
        if call.deadline and asyncio.get_running_loop().time() + pause_s >= call.deadline:
            return None
        return pause_s

    def _afford(self, budget: "_Budget") -> bool:
        if budget.spend(self.surroundings.clock(), self.settings):
            return True
        self.refused += 1
        return False

    def _budget(self, route: str) -> "_Budget":
        if len(self._budgets) >= _MAX_BUDGETS:
            self._budgets.pop(next(iter(self._budgets)))
        budget = self._budgets[route] = _Budget(self.surroundings.clock(), self.settings.spare)
        return budget


class _Budget:
    """Retries that a route may make. Each request earns a share of one; what is not spent is forgotten in time, and an
    empty purse fills up to the spare ones.
    """

    __slots__ = ("_at", "_tokens")

    def __init__(self, now: float, spare: int) -> None:
        self._tokens = float(spare)
        self._at = now

    def earn(self, now: float, share: float, spare: int) -> None:
        if now - self._at > _TICK_S:
            self._pass(now, spare)
        if self._tokens < _MAX_TOKENS:
            self._tokens += share

    def spend(self, now: float, settings: RetrySettings) -> bool:
        self._pass(now, settings.spare)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _pass(self, now: float, spare: int) -> None:
        """Let time pass: the purse drifts towards the spare ones."""
        self._tokens = spare + (self._tokens - spare) * math.exp((self._at - now) / _FORGET_S)
        self._at = now
