import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from inhouse.gateway.call import Events
from inhouse.gateway.local import Local, TooSlow
from inhouse.serving.lm.piece import Piece

from .policies.doubles import call


class Rambling:
    """A model that never comes to an end."""

    def __init__(self) -> None:
        self.has_ended = False

    async def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece]:
        try:
            while True:
                yield Piece(text="and ")
                await asyncio.sleep(0)
        finally:
            self.has_ended = True


async def to_the_end(events: Events) -> None:
    while await events.part():
        pass


async def test_a_stream_ends_with_the_time_that_it_has():
    model = Rambling()

    async def opened(workspace_id: str, name: str) -> Rambling:
        return model

    asked = call(stream=True)
    asked.deadline = asyncio.get_running_loop().time() + 0.05
    reply = await Local("local", "default", opened).send(asked, "m")
    assert reply.events is not None

    with pytest.raises(TooSlow):
        await to_the_end(reply.events)

    assert model.has_ended
    assert await reply.events.part() == b""
