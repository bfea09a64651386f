"""One attempt at a call: choose a target, ask it, and note how it did."""

import functools
import time
from collections.abc import Callable

from inhouse.core.errors import InhouseError, TimedOut, Unavailable
from inhouse.core.fasthttp import Waits
from inhouse.gateway.call import Call, Events, Reply
from inhouse.gateway.chain import Chain
from inhouse.gateway.route import Target

_SMOOTHING = 0.2


class NoTarget(Unavailable):
    """The model has no server behind it at present."""


class OutOfTime(TimedOut):
    """The whole answer took longer than it may."""


async def attempt(chain: Chain, call: Call) -> Reply:
    """Ask one target. Which one, and for how long, is up to the policies `balance`, `breaker` and `timeouts`."""
    _keep_time(call)
    breaker = chain["breaker"]
    targets = breaker.usable(call.route.targets)
    if not targets:
        raise NoTarget(f"The model {call.route.name!r} has no server behind it.", hint="Is one connected?")
    target = call.target = targets[0] if len(targets) == 1 else chain["balance"].choose(call, targets)
    call.arm = target.arm
    call.attempts += 1
    is_probe = breaker.started(target)
    target.in_flight += 1
    asked = time.perf_counter()
    try:
        reply = await target.backend.send(call, target.model)
    except InhouseError as error:
        target.in_flight -= 1
        breaker.failed(target, error, is_hurried=call.is_hurried, is_probe=is_probe)
        raise
    except BaseException:
        target.in_flight -= 1
        breaker.left(target, is_probe=is_probe)
        raise
    call.usage = reply.usage or call.usage  # now: it is spent even if a policy lets no answer through
    call.upstream_s = time.perf_counter() - asked
    target.latency_s += _SMOOTHING * (call.upstream_s - target.latency_s) if target.latency_s else call.upstream_s
    breaker.succeeded(target, is_probe=is_probe)
    if reply.events is None:
        target.in_flight -= 1
    else:
        call.has_begun = True
        blame = functools.partial(breaker.failed, is_hurried=call.is_hurried, is_probe=False)
        reply.events = _Watched(reply.events, target, blame)
    return reply


class _Watched:
    """A stream, with its target: that is busy until the end, and blamed when it breaks off."""

    def __init__(self, events: Events, target: Target, blame: Callable[[Target, InhouseError], None]) -> None:
        self._events = events
        self._target: Target | None = target
        self._blame = blame

    async def part(self) -> bytes:
        try:
            block = await self._events.part()
        except InhouseError as error:
            if self._target is not None:
                self._blame(self._target, error)
            self._end()
            raise
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
        target, self._target = self._target, None
        if target is not None:
            target.in_flight -= 1


def _keep_time(call: Call) -> None:
    """The whole call has a deadline. What is left of it when another target is asked may be less than a wait."""
    now = time.monotonic()  # the loop's clock; asking the loop itself costs a system call
    if not call.deadline:
        call.deadline = now + call.timeout_s
    left_s = call.deadline - now
    if left_s <= 0:
        raise OutOfTime("The answer did not come in time.", hint="Ask again later, or for less.")
    if left_s < call.waits.head_s:
        waits = call.waits
        call.waits = Waits(min(waits.connect_s, left_s), left_s, min(waits.idle_s, left_s))
