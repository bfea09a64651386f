import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.policies.queue import Queue, QueueFull, QueueSettings, Turns, WaitedTooLong
from inhouse.gateway.policy import Surroundings

from . import doubles
from .doubles import Blocks, Clock, Down


def queue(*rules: dict[str, Any], clock: Clock | None = None, **more: Any) -> Queue:
    policy = Queue(Surroundings(clock=clock or Clock()))
    policy.configure(QueueSettings(rules=tuple(Turns(**rule) for rule in rules), **more))
    return policy


class House:
    """Calls that run until they are told to end."""

    def __init__(self, policy: Queue) -> None:
        self.policy = policy
        self.order: list[str] = []
        self.ends: dict[str, asyncio.Future[Reply]] = {}
        self.tasks: dict[str, asyncio.Task[Reply]] = {}

    async def ask(self, name: str, *, user: str = "ann", priority: int = 0, model: str = "m") -> None:
        call = doubles.call(doubles.route(*doubles.targets("lab"), name=model), priority=priority)
        call.principal = Principal("default", user, frozenset())
        call.session = name
        self.tasks[name] = asyncio.create_task(self.policy.around(call, self._proceed))
        await settled()

    async def end(self, name: str, reply: Reply | None = None) -> None:
        self.ends.pop(name).set_result(reply or doubles.answer())
        await settled()

    async def leave(self, name: str) -> None:
        self.tasks[name].cancel()
        await settled()
        self.ends.pop(name, None)

    async def _proceed(self, call: Call) -> Reply:
        self.order.append(call.session)
        self.ends[call.session] = asyncio.get_running_loop().create_future()
        return await self.ends[call.session]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_only_so_many_run_at_a_time() -> None:
    house = House(queue({"max_running": 2}))
    for name in "abc":
        await house.ask(name)

    before = list(house.order)
    await house.end("a")

    assert (before, house.order) == (["a", "b"], ["a", "b", "c"])


async def test_each_model_and_each_user_has_turns_of_its_own() -> None:
    house = House(queue({"max_running": 1, "each": "user"}))
    await house.ask("a", user="ann", model="x")
    await house.ask("b", user="bob", model="x")
    await house.ask("c", user="ann", model="y")
    await house.ask("d", user="ann", model="x")

    assert house.order == ["a", "b", "c"]
    assert house.policy.running == {"user:ann x": 1, "user:bob x": 1, "user:ann y": 1}


async def test_who_cannot_go_lets_others_pass() -> None:
    house = House(queue({"max_running": 2}, {"max_running": 1, "each": "user"}))
    await house.ask("a", user="ann")
    await house.ask("b", user="ann")
    await house.ask("c", user="bob")

    assert house.order == ["a", "c"]


async def test_higher_priority_goes_first_and_equals_in_their_order() -> None:
    house = House(queue({"max_running": 1}))
    await house.ask("first")
    for name, priority in (("low", 0), ("high", 5), ("low too", 0), ("high too", 5)):
        await house.ask(name, priority=priority)

    for name in ("first", "high", "high too", "low"):
        await house.end(name)

    assert house.order == ["first", "high", "high too", "low", "low too"]


async def test_who_has_waited_long_goes_before_higher_priority() -> None:
    clock = Clock()
    house = House(queue({"max_running": 1}, clock=clock, ageing_s=10))
    await house.ask("first")
    await house.ask("patient", priority=0)
    clock.move(31)
    await house.ask("important", priority=3)

    await house.end("first")

    assert house.order == ["first", "patient"]


async def test_a_full_waiting_room_refuses_and_says_when_to_come_back() -> None:
    clock = Clock()
    house = House(queue({"max_running": 2}, max_waiting=1, clock=clock))
    await house.ask("quick")
    clock.move(4)
    await house.end("quick")
    for name in "abc":
        await house.ask(name)

    await house.ask("d")

    error = house.tasks["d"].exception()
    assert isinstance(error, QueueFull)
    assert error.details == {"code": "rate_limit_exceeded", "retry_after_s": 4.0}
    assert house.policy.dropped == 1
    await house.leave("c")
    await house.leave("a")
    await house.leave("b")


async def test_nobody_waits_longer_than_allowed() -> None:
    house = House(queue({"max_running": 1}, max_wait_s=0.01))
    await house.ask("a")
    await house.ask("b")

    with pytest.raises(WaitedTooLong):
        await house.tasks["b"]

    assert house.policy.waiting == 0


async def test_a_stream_takes_its_turn_until_its_end() -> None:
    house = House(queue({"max_running": 1}))
    await house.ask("a")
    await house.ask("b")
    await house.end("a", Reply(events=Blocks(b"data: 1\n\n")))
    reply = await house.tasks["a"]
    assert reply.events is not None
    before = list(house.order)

    await reply.events.part()
    await reply.events.part()
    reply.events.abort()
    await settled()

    assert before == ["a"]
    assert house.order == ["a", "b"]
    assert house.policy.running == {"workspace m": 1}


@pytest.mark.parametrize("how", ["abort", "error"])
async def test_a_stream_that_is_given_up_gives_its_turn_back_once(how: str) -> None:
    policy = queue({"max_running": 1})
    events = Blocks(Down("gone"))

    async def proceed(_: Call) -> Reply:
        return Reply(events=events)

    reply = await policy.around(doubles.call(), proceed)
    assert reply.events is not None
    if how == "error":
        with pytest.raises(Down):
            await reply.events.part()
    reply.events.abort()
    reply.events.abort()

    assert policy.running == {}


async def test_new_rules_let_those_go_who_wait() -> None:
    house = House(queue({"max_running": 1}))
    await house.ask("a")
    await house.ask("b")

    house.policy.configure(QueueSettings(rules=(Turns(max_running=2),)))
    await settled()

    assert house.order == ["a", "b"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "end", "leave", "fail"]), st.integers(0, 9), st.integers(0, 2)),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
async def test_bounds_hold_whatever_happens_and_nothing_leaks(steps: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    policy = queue({"max_running": 3}, {"max_running": 2, "each": "user"}, max_waiting=4, clock=clock)
    house, numbers = House(policy), iter(range(1000))
    for step, which, kind in steps:
        clock.move(1)
        await act(house, step, which, kind, numbers)
        assert policy.waiting <= 4
        assert len(house.ends) <= 3
        assert policy.running.get("workspace m", 0) == len(house.ends)

    for task in house.tasks.values():
        task.cancel()
    await asyncio.gather(*house.tasks.values(), return_exceptions=True)

    assert policy.running == {}
    assert policy.waiting == 0


async def act(house: House, step: str, which: int, kind: int, numbers: Iterator[int]) -> None:
    if step == "ask":
        await house.ask(f"call {next(numbers)}", user=f"user {kind}", priority=kind)
        return
    running = sorted(house.ends)
    waiting = sorted(name for name, task in house.tasks.items() if not task.done())
    if step == "leave" and waiting:
        await house.leave(waiting[which % len(waiting)])
    elif step == "end" and running:
        await house.end(running[which % len(running)])
    elif step == "fail" and running:
        house.ends.pop(running[which % len(running)]).set_exception(Down("gone"))
        await settled()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
async def test_nobody_starves(priorities: list[int]) -> None:
    """While important requests keep coming, the unimportant one gets its turn after a bounded time."""
    clock = Clock()
    house = House(queue({"max_running": 1}, clock=clock, ageing_s=10, max_waiting=1000))
    await house.ask("running")
    await house.ask("unimportant", priority=0)
    current, passed = "running", 0
    for number, priority in enumerate(priorities):
        await house.ask(f"later {number}", priority=priority)
        clock.move(10)
        await house.end(current)
        current = house.order[-1]
        if current == "unimportant":
            break
        passed += 1

    assert passed <= 5
    await drain(house)


async def drain(house: House) -> None:
    finish: Callable[[str], Any] = house.end
    while house.ends:
        await finish(next(iter(house.ends)))


async def test_new_rules_may_come_on_another_thread() -> None:
    house = House(queue({"max_running": 1}))
    await house.ask("a")
    await house.ask("b")
    loop = asyncio.get_running_loop()
    loop.set_debug(True)  # it minds calls from other threads

    await asyncio.to_thread(house.policy.configure, QueueSettings(rules=(Turns(max_running=2),)))
    await settled()

    assert house.order == ["a", "b"]
