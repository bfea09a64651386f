import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from inhouse.core.principal import Principal
from inhouse.gateway import wire
from inhouse.gateway.call import Call, Reply, Usage
from inhouse.gateway.chunks import assemble, disassemble
from inhouse.gateway.policies.cache import Cache, CacheSettings
from inhouse.gateway.policy import Surroundings

from . import doubles
from .doubles import Blocks, Clock, Down

USAGE = Usage(3, 4)


class Model:
    """Counts how often it is asked, and answers by the same answer."""

    def __init__(self, reply: Callable[[], Reply] = doubles.answer) -> None:
        self.asked = 0
        self._reply = reply

    async def __call__(self, call: Call) -> Reply:
        self.asked += 1
        return self._reply()


def cache(clock: Clock | None = None, **more: Any) -> Cache:
    policy = Cache(Surroundings(clock=clock or Clock()))
    policy.configure(CacheSettings(enabled=True, **more))
    return policy


def call(text: str = "hi", *, key: str = "k1", version: str = "", stream: bool = False, **fields: Any) -> Call:
    found = doubles.call(doubles.route(*doubles.targets("lab"), version=version), stream=stream)
    found.principal = Principal("default", f"key_{key}", frozenset(), key_id=key)
    found.put("messages", [{"role": "user", "content": text}])
    for name, value in {"temperature": 0, "stream": stream, **fields}.items():
        found.put(name, value)
    return found


def streamed(text: str = "Hello.") -> Reply:
    body = msgspec.json.decode(doubles.answer(text).body)
    return Reply(events=Blocks(*disassemble(wire.encode({**body, "usage": USAGE.wire()}))))


async def read(reply: Reply) -> bytes:
    assert reply.events is not None
    blocks: list[bytes] = []
    while block := await reply.events.part():
        blocks.append(block)
    return b"".join(blocks)


async def test_the_second_answer_comes_from_memory() -> None:
    policy, model, second = cache(), Model(), call()
    first = await policy.around(call(), model)

    reply = await policy.around(second, model)

    assert model.asked == 1
    assert reply.body == first.body
    assert second.cache == "hit"
    assert second.headers == [(b"x-cache", b"hit")]


@pytest.mark.parametrize(
    "other",
    [call("other"), call(key="k2"), call(version="2"), call(max_tokens=5), call(temperature=0, seed=1)],
    ids=["text", "key", "version", "parameter", "seed"],
)
async def test_what_asks_something_else_is_asked(other: Call) -> None:
    policy, model = cache(), Model()
    await policy.around(call(), model)

    await policy.around(other, model)

    assert model.asked == 2


@pytest.mark.parametrize(
    "same", [call(user="u"), call(metadata={"a": 1}), call(stream_options={"include_usage": True})]
)
async def test_what_changes_no_answer_is_the_same(same: Call) -> None:
    policy, model = cache(), Model()
    await policy.around(call(), model)

    await policy.around(same, model)

    assert model.asked == 1


async def test_a_workspace_may_share() -> None:
    policy, model = cache(share="workspace"), Model()
    await policy.around(call(), model)

    await policy.around(call(key="k2"), model)

    assert model.asked == 1


async def test_answers_that_would_differ_are_not_kept() -> None:
    policy, model = cache(), Model()
    for _ in range(2):
        await policy.around(call(temperature=0.7), model)

    assert model.asked == 2
    assert len(policy) == 0


async def test_answers_are_forgotten_in_time() -> None:
    clock = Clock()
    policy, model = cache(clock, ttl_s=10), Model()
    await policy.around(call(), model)
    clock.move(10)

    await policy.around(call(), model)

    assert model.asked == 2


async def test_memory_is_bounded_and_the_least_used_goes() -> None:
    policy, model = cache(max_bytes=1 << 16, max_answer_bytes=1 << 16), Model(lambda: doubles.answer("x" * 25_000))
    for text in ("a", "b", "a", "c", "a"):
        await policy.around(call(text), model)

    assert policy.size_bytes <= 1 << 16
    assert model.asked == 3
    assert policy.evicted == 1


async def test_a_streamed_answer_is_kept_and_given_either_way() -> None:
    policy, model = cache(), Model(streamed)
    first = await read(await policy.around(call(stream=True), model))

    again = await read(await policy.around(call(stream=True), model))
    whole = await policy.around(call(), model)

    assert model.asked == 1
    assert assemble([first]) == assemble([again]) == whole.body
    assert whole.usage == USAGE


@pytest.mark.parametrize("wish", ["no-store", "no-cache"])
async def test_a_client_may_want_a_fresh_answer(wish: str) -> None:
    policy, model, fresh = cache(), Model(), call()
    await policy.around(call(), model)
    fresh.notes["cache_control"] = wish

    await policy.around(fresh, model)

    assert model.asked == 2


async def test_a_stream_that_breaks_off_is_not_kept() -> None:
    policy = cache()
    [start, *_] = disassemble(doubles.answer().body)
    reply = await policy.around(call(stream=True), Model(lambda: Reply(events=Blocks(start, Down("gone")))))

    with pytest.raises(Down):
        await read(reply)

    assert len(policy) == 0
    assert (await policy.around(call(), Model())).body == doubles.answer().body


class Slow:
    """A model that answers when it is told."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Reply]] = []

    async def __call__(self, call: Call) -> Reply:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def several(policy: Cache, model: Callable[[Call], Awaitable[Reply]], count: int) -> list[asyncio.Task[Reply]]:
    tasks = [asyncio.create_task(policy.around(call(), model)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_identical_requests_under_way_share_one_answer() -> None:
    policy, model = cache(), Slow()
    tasks = await several(policy, model, 5)

    model.waiting[0].set_result(doubles.answer())
    replies = await asyncio.gather(*tasks)

    assert len(model.waiting) == 1
    assert len({reply.body for reply in replies}) == 1
    assert policy.shared == 4


@pytest.mark.parametrize("how", ["leaves", "fails"])
async def test_when_the_first_is_of_no_use_the_others_ask_themselves(how: str) -> None:
    policy, model = cache(), Slow()
    first, *others = await several(policy, model, 3)

    if how == "leaves":
        first.cancel()
    else:
        model.waiting[0].set_exception(Down("gone"))
    await asyncio.gather(first, return_exceptions=True)
    await settled()
    for waiting in model.waiting[1:]:
        waiting.set_result(doubles.answer())

    assert [reply.body for reply in await asyncio.gather(*others)] == [doubles.answer().body] * 2


async def test_when_the_first_leaves_one_of_the_others_asks_for_all() -> None:
    policy, model = cache(), Slow()
    first, second, *others = await several(policy, model, 5)

    first.cancel()
    await settled()
    assert len(model.waiting) == 2
    second.cancel()
    await settled()
    assert len(model.waiting) == 3
    model.waiting[2].set_result(doubles.answer())

    assert [reply.body for reply in await asyncio.gather(*others)] == [doubles.answer().body] * 3
    assert len(model.waiting) == 3
    assert policy.shared == 2


async def test_nobody_waits_for_an_answer_that_is_too_large_to_share() -> None:
    policy, model = cache(max_answer_bytes=1024), Slow()
    first, *others = await several(policy, model, 3)

    model.waiting[0].set_result(doubles.answer("x" * 2000))
    await first
    await settled()

    assert len(model.waiting) == 3
    for waiting in model.waiting[1:]:
        waiting.set_result(doubles.answer())
    await asyncio.gather(*others)


async def test_waiting_for_another_takes_from_the_time_of_the_call() -> None:
    policy, model, hurried = cache(), Slow(), call()
    [first] = await several(policy, model, 1)
    hurried.timeout_s = 0.01

    async with asyncio.timeout(5):
        reply = await policy.around(hurried, Model())

    assert reply.body == doubles.answer().body
    assert hurried.deadline > 0
    model.waiting[0].set_result(doubles.answer())
    await first


async def test_a_follower_that_leaves_disturbs_nobody() -> None:
    policy, model = cache(), Slow()
    first, second, third = await several(policy, model, 3)

    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    model.waiting[0].set_result(doubles.answer())

    assert (await first).body == (await third).body
    assert len(model.waiting) == 1


async def test_a_stream_given_up_lets_the_others_ask_themselves() -> None:
    policy = cache()
    reply = await policy.around(call(stream=True), Model(streamed))
    model = Slow()
    [other] = await several(policy, model, 1)
    assert not model.waiting
    assert reply.events is not None

    reply.events.abort()
    await settled()
    model.waiting[0].set_result(doubles.answer())

    assert (await other).body == doubles.answer().body


async def test_nobody_waits_for_a_slow_reader_for_long() -> None:
    policy, model = cache(share_wait_s=0.01), Model()
    reply = await policy.around(call(stream=True), Model(streamed))

    other = await policy.around(call(), model)
    await read(reply)

    assert other.body == doubles.answer().body
    assert model.asked == 1
