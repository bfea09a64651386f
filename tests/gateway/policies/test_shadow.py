import asyncio
from collections.abc import Awaitable, Callable

import pytest

from inhouse.core.errors import InhouseError
from inhouse.gateway.call import Call, Reply, Usage
from inhouse.gateway.policies.shadow import Shadow, ShadowSettings
from inhouse.gateway.policy import Surroundings
from inhouse.gateway.route import Route, Target

from .doubles import Blocks, Down, Told, answer, call, first_of, route, targets, told

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n'


class Deaf:
    """A backend that never answers."""

    name = "deaf"

    async def send(self, call: Call, model: str) -> Reply:
        await asyncio.Event().wait()
        return answer()


@pytest.fixture
def shadow() -> Shadow:
    return Shadow(Surroundings(), uniform=first_of([]))


def shadowed(backend: Told | Deaf, share: float = 1.0) -> Route:
    return route(*targets("lab"), shadow=(Target(backend, "next", share),))


def saying(reply: Reply | InhouseError) -> Callable[[Call], Awaitable[Reply]]:
    async def proceed(asked: Call) -> Reply:
        if isinstance(reply, InhouseError):
            raise reply
        return reply

    return proceed


async def test_the_shadow_gets_a_copy_and_the_client_the_real_answer(shadow: Shadow):
    behind = told("behind", answer("Hello.", usage=Usage(3, 2)))
    asked = call(shadowed(behind))

    reply = await shadow.around(asked, saying(real := answer("Hello.")))
    await shadow.drain()

    assert reply is real
    [copy] = behind.heard
    assert copy.fields == asked.fields
    assert copy is not asked
    assert copy.fields is not asked.fields
    figures = shadow.figures("m")["behind/next"]
    assert (figures.requests, figures.errors, figures.same, figures.different) == (1, 0, 1, 0)
    assert (figures.prompt_tokens, figures.completion_tokens) == (3, 2)


async def test_other_words_are_counted(shadow: Shadow):
    on = shadowed(told("behind", answer("Good day.")))

    await shadow.around(call(on), saying(answer("Hello.")))
    await shadow.drain()

    assert shadow.figures("m")["behind/next"].different == 1


async def test_a_failing_shadow_harms_nobody(shadow: Shadow):
    on = shadowed(told("behind", Down("gone")))

    assert (await shadow.around(call(on), saying(answer()))).body
    await shadow.drain()

    assert shadow.figures("m")["behind/next"].errors == 1


async def test_a_request_that_failed_is_not_shown(shadow: Shadow):
    behind = told("behind")

    with pytest.raises(Down):
        await shadow.around(call(shadowed(behind)), saying(Down("gone")))
    await shadow.drain()

    assert behind.heard == []


async def test_only_a_share_is_shown():
    shadow = Shadow(Surroundings(), uniform=first_of([0.1, 0.3, 0.24, 0.9]))
    behind = told("behind")

    for _ in range(4):
        await shadow.around(call(shadowed(behind, share=0.25)), saying(answer()))
    await shadow.drain()

    assert len(behind.heard) == 2


async def test_streams_are_heard_to_their_end(shadow: Shadow):
    blocks = Blocks(b'data: {"choices":[{}]}\n\n', USAGE)
    on = shadowed(told("behind", Reply(events=blocks)))

    await shadow.around(call(on, stream=True), saying(Reply(events=Blocks())))
    await shadow.drain()

    figures = shadow.figures("m")["behind/next"]
    assert (figures.errors, figures.prompt_tokens, figures.completion_tokens) == (0, 3, 2)
    assert await blocks.part() == b""


async def test_more_than_so_many_at_once_are_dropped_and_counted(shadow: Shadow):
    shadow.configure(ShadowSettings(max_concurrent=2))
    on = shadowed(Deaf())

    for _ in range(5):
        await shadow.around(call(on), saying(answer()))

    assert shadow.figures("m")["deaf/next"].dropped == 3
    shadow.close()
    with pytest.raises(asyncio.CancelledError):
        await shadow.drain()


async def test_large_requests_are_not_shown(shadow: Shadow):
    shadow.configure(ShadowSettings(max_kb=1))
    behind = told("behind")
    asked = call(shadowed(behind))
    asked.body = b" " * 1025

    await shadow.around(asked, saying(answer()))

    assert shadow.figures("m")["behind/next"].dropped == 1
    assert behind.heard == []


async def test_closing_on_another_thread_ends_the_copies(shadow: Shadow):
    asyncio.get_running_loop().set_debug(True)  # it minds calls from other threads
    await shadow.around(call(shadowed(Deaf())), saying(answer()))
    await asyncio.sleep(0)

    await asyncio.to_thread(shadow.close)
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await shadow.drain()
