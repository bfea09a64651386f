import asyncio

import pytest

from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Endpoint, Reply
from inhouse.gateway.policies.limits import Limit, Limits, LimitsSettings, TooManyRequests
from inhouse.gateway.policy import Surroundings
from inhouse.gateway.route import Route

FAST = 60_000  # a minute: one in a millisecond
OK = Reply(b"{}")


def limits(*, burst_s: int = 1, per_minute: int = 60, **settings: float) -> Limits:
    policy = Limits(Surroundings())
    rule = Limit(subject="*", each="key", requests_per_minute=per_minute, burst_s=burst_s)
    policy.configure(LimitsSettings(rules=(rule,), **settings))  # type: ignore[arg-type]
    return policy


def a_call(*, priority: int = 0, key: str = "k") -> Call:
    who = Principal("default", "user_ann", frozenset({"*"}), key_id=key)
    call = Call(who, Endpoint.CHAT, "m", Route("m", ()), b"{}", max_tokens=1)
    call.priority = priority
    return call


async def ask(policy: Limits, call: Call, log: list[str] | None = None, name: str = "") -> Reply:
    async def proceed(call: Call) -> Reply:
        if log is not None:
            log.append(name)
        return OK

    policy.admit(call)
    return await policy.around(call, proceed)


async def test_a_request_over_the_limit_waits_for_its_turn() -> None:
    policy = limits(per_minute=600, max_wait_s=5)
    calls = [a_call() for _ in range(13)]

    replies = await asyncio.gather(*(ask(policy, call) for call in calls))

    assert replies == [OK] * 13
    assert [call.queued_s > 0 for call in calls] == [False] * 10 + [True] * 3
    assert policy.line.waiting == 0


async def test_without_a_wait_it_is_refused_at_once() -> None:
    policy = limits()
    await ask(policy, a_call())

    with pytest.raises(TooManyRequests):
        await ask(policy, a_call())


async def test_a_wait_that_is_too_long_ends_with_the_refusal() -> None:
    policy = limits(max_wait_s=0.02)
    await ask(policy, a_call())

    with pytest.raises(TooManyRequests) as refused:
        await ask(policy, a_call())

    assert refused.value.details["retry_after_s"] > 0
    assert (policy.line.waiting, policy.line.dropped) == (0, 1)


async def test_no_more_wait_than_may() -> None:
    policy = limits(max_wait_s=30, max_waiting=1)
    await ask(policy, a_call())
    waiting = asyncio.create_task(ask(policy, a_call()))
    await asyncio.sleep(0)

    with pytest.raises(TooManyRequests):
        await ask(policy, a_call())

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert policy.line.waiting == 0


async def test_priority_goes_first_and_nobody_overtakes_their_equals() -> None:
    policy = limits(per_minute=600, max_wait_s=5)
    for _ in range(10):
        await ask(policy, a_call())
    log: list[str] = []
    asked = [("first", 0), ("second", 0), ("urgent", 5), ("third", 0)]

    await asyncio.gather(*(ask(policy, a_call(priority=level), log, name) for name, level in asked))

    assert log == ["urgent", "first", "second", "third"]


async def test_who_waits_for_another_counter_is_not_held_up() -> None:
    policy = limits(max_wait_s=30)
    await ask(policy, a_call())
    waiting = asyncio.create_task(ask(policy, a_call()))
    await asyncio.sleep(0)

    assert await ask(policy, a_call(key="other")) is OK

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
