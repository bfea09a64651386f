"""Loops for the tests of this package: what speaks to sockets itself runs on both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from core.wire import Caller, Wire, calling, listening

ON_BOTH_LOOPS = {"test_fasthttp.py", "test_pool.py"}


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name in ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    async with listening() as running:
        yield running


@pytest_asyncio.fixture
async def caller(wire: Wire) -> AsyncIterator[Caller]:
    """The fast client, allowed to call the wire."""
    async with calling(wire) as running:
        yield running
