"""Arms, shadows, figures and spans, over the whole way from a client to model servers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.core.secrets import Secrets
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.policies.tracing import TracingSettings
from inhouse.testing.upstream import ScriptedUpstream, fails, says, scripted_upstream

from .faults import Client, Configured, client_of, document


@pytest.fixture
def configured() -> Configured:
    return Configured()


@pytest.fixture
async def gateway(sqlite: Database, tmp_path: Path, configured: Configured) -> AsyncIterator[Gateway]:
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), configuration=configured)
    yield gateway
    await gateway.close()


@pytest.fixture
async def servers(gateway: Gateway, principal: Principal) -> AsyncIterator[list[ScriptedUpstream]]:
    found: list[ScriptedUpstream] = []
    async with AsyncExitStack() as stack:
        for name in ("one", "two"):
            found.append(await stack.enter_async_context(scripted_upstream()))
            await gateway.connect(principal, name, found[-1].url)
        yield found


@pytest.fixture
async def client(gateway: Gateway, principal: Principal, servers: list[ScriptedUpstream]) -> AsyncIterator[Client]:
    async with client_of(gateway, principal) as client:
        yield client


async def test_a_session_stays_in_its_arm_and_the_figures_say_what_arms_do(
    client: Client, gateway: Gateway, configured: Configured, servers: list[ScriptedUpstream]
):
    configured.documents["trial"] = document("one", "two", arms=("old", "new"))
    gateway.refresh()

    targets = {
        session: {(await client.ask("trial", x_session_id=session)).headers["x-inhouse-target"] for _ in range(2)}
        for session in map(str, range(12))
    }

    assert all(len(seen) == 1 for seen in targets.values())
    figures = gateway.chain("default")["balance"].figures("trial")
    assert figures["old"].requests + figures["new"].requests == 24
    assert (figures["old"].requests, figures["new"].requests) == tuple(len(server.chats) for server in servers)
    assert figures["old"].completion_tokens == 7 * figures["old"].requests
    assert figures["old"].streams == figures["old"].requests
    assert figures["old"].first_token_s > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_shadow_hears_what_the_client_asks_and_nobody_hears_the_shadow(
    client: Client, gateway: Gateway, configured: Configured, servers: list[ScriptedUpstream], stream: bool
):
    configured.documents["watched"] = document("one", shadow=("two",))
    gateway.refresh()
    servers[1].script(says("Something else."), fails(500))

    seen = [await client.ask("watched", stream=stream) for _ in range(3)]
    shadow = gateway.chain("default")["shadow"]
    await shadow.drain()

    assert {one.text for one in seen} == {"Hello from upstream."}
    assert [heard.json["messages"] for heard in servers[1].chats] == [
        heard.json["messages"] for heard in servers[0].chats
    ]
    figures = shadow.figures("watched")["two/told"]
    assert (figures.requests, figures.errors, figures.completion_tokens) == (3, 1, 14)
    assert (figures.same, figures.different) == ((0, 0) if stream else (1, 1))


async def test_the_figures_reach_prometheus(client: Client, gateway: Gateway, configured: Configured):
    configured.documents["counted"] = document("one")
    gateway.refresh()

    await client.ask("counted")
    await client.ask("counted", stream=False)

    text = generate_latest().decode()
    labels = 'arm="",endpoint="chat/completions",model="counted",status="200",target="one/told"'
    assert f"inhouse_gateway_requests_total{{{labels}}} 2.0" in text
    assert 'inhouse_gateway_tokens_total{direction="out",model="counted",target="one/told"} 14.0' in text
    assert 'inhouse_gateway_first_token_seconds_count{model="counted"} 1.0' in text
    assert "inhouse_gateway_in_flight 0.0" in text


async def test_the_model_server_is_told_of_the_span_above_it(
    client: Client, gateway: Gateway, configured: Configured, servers: list[ScriptedUpstream]
):
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    configured.documents["traced"] = document("one")
    gateway.refresh()
    await client.ask("traced", traceparent=f"00-{trace}-{parent}-01")

    configured.settings["tracing"] = TracingSettings(endpoint="http://127.0.0.1:1")
    gateway.refresh()
    await client.ask("traced", traceparent=f"00-{trace}-{parent}-01")

    passed, ours = (heard.headers["traceparent"].split("-") for heard in servers[0].chats)
    assert passed[1:3] == [trace, parent]
    assert ours[1] == trace
    assert ours[2] != parent
