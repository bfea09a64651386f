"""A server as `inhouse up` starts it, in front of a model server that has everything, for clients that others wrote."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from inhouse.testing.openai_stand_in import MODELS, OpenAIStandIn
from servers import running, stand_in

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
    with stand_in((*MODELS, *NAMES)) as behind, running(tmp_path_factory.mktemp("conformance") / "home") as server:
        with server.client() as client:
            client.upstreams.connect("lab", behind.url)
        yield Endpoint(f"{server.url}/v1", server.key, behind)
