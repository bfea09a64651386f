"""A server as `inhouse up` starts it, in front of a model server that has everything, for clients that others wrote."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from inhouse.testing.openai_stand_in import MODELS, OpenAIStandIn, openai_stand_in
from servers import running

# The long form installs the clients first: `make conformance`.
collect_ignore = [] if os.environ.get("CONFORMANCE") == "long" else ["clients"]

# What the clients' own tests ask for.
NAMES = (
    "gpt-3.5-turbo-instruct",
    "gpt-4o",
    "gpt-4o-transcribe",
    "gpt-6-astra",
    "gpt-image-1.5",
    "gpt-image-2.5-flare",
    "text-embedding-3-small",
    "tts-1",
    "whisper-1",
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients go, with which key, and the model server behind it."""

    url: str
    key: str
    behind: OpenAIStandIn


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with stand_in() as behind, running(tmp_path_factory.mktemp("conformance") / "home") as server:
        with server.client() as client:
            client.upstreams.connect("lab", behind.url)
        yield Endpoint(f"{server.url}/v1", server.key, behind)


@contextmanager
def stand_in() -> Iterator[OpenAIStandIn]:
    """The model server, in a thread of its own because tests of blocking clients block theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stand-in", daemon=True)
    thread.start()
    server = openai_stand_in((*MODELS, *NAMES))
    yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
