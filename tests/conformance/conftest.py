"""A server as `inhouse up` starts it, in front of a model server that has everything, for clients that others wrote."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from inhouse.testing.openai_stand_in import OpenAIStandIn
from servers import Server, running, stand_in

# The long form installs the clients first: `make conformance`.
collect_ignore = [] if os.environ.get("CONFORMANCE") == "long" else ["clients"]

# What the clients' own tests ask for: other names of one model.
ALIASES = (
    "gpt-3.5-turbo-instruct",
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
    """The server that clients talk to, and the model server behind it."""

    server: Server
    behind: OpenAIStandIn

    @property
    def url(self) -> str:
        return f"{self.server.url}/v1"

    @property
    def key(self) -> str:
        return self.server.key


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with stand_in() as behind, running(tmp_path_factory.mktemp("conformance") / "home") as server:
        with server.client() as client:
            client.upstreams.connect("lab", behind.url)
            client.gateway.set_model("anything", [{"upstream": "lab", "model": "stand-in"}], aliases=ALIASES)
        yield Endpoint(server, behind)
