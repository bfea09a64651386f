"""One attempt at a call: choose a target, ask it, and note how it did."""

import asyncio
import time

from inhouse.core.errors import InhouseError, TimedOut, Unavailable
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.chain import Chain

_SMOOTHING = 0.2


class NoTarget(Unavailable):
    """The model has no server behind it at present."""


class OutOfTime(TimedOut):
    """The whole answer took longer than it may."""


async def attempt(chain: Chain, call: Call) -> Reply:
    """Ask one target. Which one, and for how long, is up to the policies `balance`, `breaker` and `timeouts`."""
    if not call.deadline:
        call.deadline = asyncio.get_running_loop().time() + call.timeout_s
    breaker = chain["breaker"]
    targets = breaker.usable(call.route.targets)
    if not targets:
        raise NoTarget(f"The model {call.route.name!r} has no server behind it.", hint="Is one connected?")
    target = call.target = targets[0] if len(targets) == 1 else chain["balance"].choose(call, targets)
    call.arm = target.arm
    call.attempts += 1
    breaker.started(target)
    target.in_flight += 1
    asked = time.perf_counter()
    try:
        async with asyncio.timeout_at(call.deadline):
            reply = await target.backend.send(call, target.model)
    except TimeoutError as late:
        target.in_flight -= 1
        error = OutOfTime(f"{target.backend.name!r} did not answer in time.", hint="Ask again later, or for less.")
        breaker.failed(target, error)
        raise error from late
    except InhouseError as error:
        target.in_flight -= 1
        breaker.failed(target, error)
        raise
    except BaseException:
        target.in_flight -= 1
        breaker.left(target)
        raise
    call.upstream_s = time.perf_counter() - asked
    target.latency_s += _SMOOTHING * (call.upstream_s - target.latency_s) if target.latency_s else call.upstream_s
    breaker.succeeded(target)
    if reply.events is None:
        target.in_flight -= 1
    else:
        call.held = target
    return reply
