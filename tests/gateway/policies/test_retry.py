import asyncio
from collections.abc import Awaitable, Callable

import pytest

from inhouse.core.errors import InhouseError, Invalid, NotFound, TooLarge
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.dispatch import NoTarget
from inhouse.gateway.policies.retry import TRIED, Retry, RetrySettings
from inhouse.gateway.policy import Surroundings

from .doubles import Blocks, Busy, Clock, Down, Slow, Told, answer, call, route, targets, told


class Naps:
    """Sleeps that take no time, and pauses of the greatest length."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)

    def longest(self, low: float, high: float) -> float:
        return high


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def retry(naps: Naps, clock: Clock) -> Retry:
    return Retry(Surroundings(clock=clock), sleep=naps.sleep, uniform=naps.longest)


def asking(backend: Told) -> Callable[[Call], Awaitable[Reply]]:
    async def proceed(asked: Call) -> Reply:
        asked.attempts += 1
        asked.target = asked.route.targets[(asked.attempts - 1) % len(asked.route.targets)]
        return await backend.send(asked, "m")

    return proceed


@pytest.mark.parametrize("error", [Down("no"), Slow("no"), Busy("no")])
async def test_a_failure_that_may_pass_is_tried_again(retry: Retry, naps: Naps, error: InhouseError):
    backend = told("lab", error, error, answer())

    reply = await retry.around(asked := call(), asking(backend))

    assert reply.body
    assert asked.attempts == 3
    assert naps.taken == [0.25, 0.5]


@pytest.mark.parametrize("error", [Invalid("no"), NotFound("no"), TooLarge("no")])
async def test_a_refusal_is_not_tried_again(retry: Retry, error: InhouseError):
    backend = told("lab", error)

    with pytest.raises(type(error)):
        await retry.around(call(), asking(backend))

    assert len(backend.heard) == 1


async def test_a_model_with_no_server_is_not_asked_for_again(retry: Retry, naps: Naps):
    backend = told("lab", NoTarget("nobody"))

    with pytest.raises(NoTarget):
        await retry.around(call(), asking(backend))

    assert len(backend.heard) == 1
    assert naps.taken == []


async def test_it_gives_up_after_three_retries(retry: Retry):
    backend = told("lab", Down("no"))

    with pytest.raises(Down):
        await retry.around(call(), asking(backend))

    assert len(backend.heard) == 4


async def test_what_failed_is_noted_so_that_another_is_asked(retry: Retry):
    both = targets("one", "two")
    asked = call(route(*both))

    await retry.around(asked, asking(told("lab", Down("no"), Down("no"), answer())))

    assert asked.notes[TRIED] == list(both)


async def test_a_server_is_given_the_time_it_asks_for(retry: Retry, naps: Naps):
    await retry.around(call(), asking(told("lab", Busy("later", retry_after_s=2.0), answer())))

    assert naps.taken == [2.25]


async def test_a_server_that_asks_for_long_is_not_waited_for(retry: Retry):
    backend = told("lab", Busy("later", retry_after_s=30.0))

    with pytest.raises(Busy):
        await retry.around(call(), asking(backend))

    assert len(backend.heard) == 1


async def test_another_server_need_not_wait(retry: Retry, naps: Naps):
    asked = call(route(*targets("one", "two")))

    await retry.around(asked, asking(told("lab", Busy("later", retry_after_s=30.0), answer())))

    assert naps.taken == [0.25]


async def test_nothing_is_tried_that_would_end_too_late(retry: Retry):
    asked = call()
    asked.deadline = asyncio.get_running_loop().time() + 0.2
    backend = told("lab", Down("no"))

    with pytest.raises(Down):
        await retry.around(asked, asking(backend))

    assert len(backend.heard) == 1


async def test_a_stream_that_breaks_off_is_not_tried_again(retry: Retry):
    backend = told("lab", Reply(events=Blocks(b"data: {}\n\n", Down("gone"))))

    reply = await retry.around(call(stream=True), asking(backend))

    assert reply.events is not None
    assert await reply.events.part() == b"data: {}\n\n"
    with pytest.raises(Down):
        await reply.events.part()
    assert len(backend.heard) == 1


async def storm(retry: Retry, backend: Told, requests: int, clock: Clock, every_s: float) -> None:
    for _ in range(requests):
        with pytest.raises(Down):
            await retry.around(call(), asking(backend))
        clock.move(every_s)


async def test_in_a_storm_retries_stay_within_a_fifth_of_the_requests(retry: Retry, clock: Clock):
    backend = told("lab", Down("no"))

    await storm(retry, backend, 1000, clock, every_s=0.001)

    assert 1000 * 0.15 <= len(backend.heard) - 1000 <= 1000 * 0.2 + 11
    assert retry.refused > 0


async def test_a_quiet_route_has_some_retries_to_spare(retry: Retry, clock: Clock):
    retry.configure(RetrySettings(budget=0.0))
    backend = told("lab", Down("no"))

    await storm(retry, backend, 20, clock, every_s=0.0)
    spent = len(backend.heard) - 20
    clock.move(600)
    await storm(retry, backend, 20, clock, every_s=0.0)

    assert spent == 10
    assert len(backend.heard) - 40 == 20


async def test_good_times_do_not_pay_for_a_storm_later(retry: Retry, clock: Clock):
    for _ in range(1000):
        await retry.around(call(), asking(told()))
    clock.move(60)
    backend = told("lab", Down("no"))

    await storm(retry, backend, 100, clock, every_s=0.0)

    assert len(backend.heard) - 100 <= 100 * 0.2 + 11


async def test_each_route_has_a_budget_of_its_own(retry: Retry, clock: Clock):
    await storm(retry, told("lab", Down("no")), 100, clock, every_s=0.0)
    backend = told("lab", Down("no"), answer())

    reply = await retry.around(call(route(*targets("lab"), name="other")), asking(backend))

    assert reply.body


async def test_no_retries_means_no_policy(retry: Retry):
    retry.configure(RetrySettings(retries=0))

    assert not retry.is_active
