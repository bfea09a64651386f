from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from inhouse.core.db import Database
from inhouse.core.errors import InhouseError
from inhouse.core.principal import Principal
from inhouse.core.secrets import Secrets
from inhouse.gateway.catalogue import ModelNotFound
from inhouse.gateway.configuration import Configuration
from inhouse.gateway.gateway import BadUpstream, Gateway, UpstreamExists, UpstreamNotFound
from inhouse.gateway.policy import Settings
from inhouse.gateway.schemas import RouteDocument
from inhouse.gateway.store import upstreams
from inhouse.testing.upstream import ScriptedUpstream, says, scripted_upstream
from inhouse.workflow.context import ChatRequest


def names(gateway: Gateway, principal: Principal) -> list[str]:
    return [route.name for route in gateway.routes(principal)]


async def said(gateway: Gateway, principal: Principal, model: str) -> str:
    chat = ChatRequest(model, [{"role": "user", "content": "hi"}])
    return "".join([delta.text async for delta in gateway.stream(principal, chat)])


async def test_without_upstreams_the_default_is_quote(gateway: Gateway, principal: Principal):
    assert names(gateway, principal) == ["quote", "default"]
    assert "No language model is connected" in await said(gateway, principal, "default")


async def test_a_connected_server_answers_by_model_name_and_by_default(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    await gateway.connect(principal, "lab", upstream.url)

    assert names(gateway, principal) == ["quote", "default", "told"]
    assert await said(gateway, principal, "told") == "Hello from upstream."
    assert await said(gateway, principal, "default") == "Hello from upstream."


async def test_connections_survive_a_restart_with_their_keys(
    db: Database, tmp_path: Path, principal: Principal, upstream: ScriptedUpstream
):
    secrets = Secrets(tmp_path / "secret.key")
    before = Gateway(db, secrets)
    await before.connect(principal, "lab", upstream.url, key="sk-secret")
    await before.close()

    after = Gateway(db, secrets)
    after.refresh()
    await said(after, principal, "told")
    await after.close()

    assert upstream.chats[0].headers["authorization"] == "Bearer sk-secret"


async def test_blanks_around_a_key_are_not_sent(gateway: Gateway, principal: Principal, upstream: ScriptedUpstream):
    await gateway.connect(principal, "lab", upstream.url, key=" sk-secret\n")
    await gateway.attach("own", upstream.url, key="\tsk-own ")

    await said(gateway, principal, "told")
    await said(gateway, principal, "lab/told")

    assert {chat.headers["authorization"] for chat in upstream.chats} == {"Bearer sk-secret", "Bearer sk-own"}


@pytest.mark.parametrize("key", ["sk\r\nx-admin: 1", "sk\x00", "sk\x7f", "sk-\u200b"], ids=ascii)
async def test_a_key_that_no_header_can_carry_is_refused(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream, key: str
):
    with pytest.raises(BadUpstream, match="no key has") as raised:
        await gateway.connect(principal, "lab", upstream.url, key=key)
    with pytest.raises(BadUpstream, match="no key has"):
        await gateway.attach("lab", upstream.url, key=key)

    assert key not in str(raised.value)


async def test_a_key_is_not_readable_in_the_database(
    gateway: Gateway, sqlite: Database, principal: Principal, upstream: ScriptedUpstream
):
    await gateway.connect(principal, "lab", upstream.url, key="sk-secret")

    with sqlite.read() as conn:
        [row] = conn.execute(upstreams.select()).all()
    assert "sk-secret" not in str(row)


async def test_a_model_that_two_servers_have_is_told_apart(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    async with scripted_upstream(says("From the second.")) as second:
        await gateway.connect(principal, "one", upstream.url)
        await gateway.connect(principal, "two", second.url)

        assert names(gateway, principal) == ["quote", "default", "told", "two/told"]
        assert await said(gateway, principal, "two/told") == "From the second."


async def test_a_url_without_v1_is_completed(gateway: Gateway, principal: Principal, upstream: ScriptedUpstream):
    connected = await gateway.connect(principal, "lab", upstream.url.removesuffix("/v1"))

    assert connected.url == upstream.url


async def test_the_default_is_a_model_for_chat(gateway: Gateway, principal: Principal):
    async with scripted_upstream(models=["nomic-embed-text", "qwen3"]) as server:
        assert (await gateway.connect(principal, "lab", server.url)).model == "qwen3"


async def test_a_model_that_the_server_lacks_is_refused_with_those_it_has(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    with pytest.raises(BadUpstream, match="no model named 'gpt'") as refused:
        await gateway.connect(principal, "lab", upstream.url, model="gpt")

    assert "told" in refused.value.hint


@pytest.mark.parametrize("url", ["", "localhost", "file:///etc/passwd", "http://me:pw@127.0.0.1/", "http://["])
async def test_what_is_no_url_is_refused(gateway: Gateway, url: str):
    with pytest.raises(InhouseError):
        await gateway.probe(url)


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 64, "名"])
async def test_a_bad_name_is_refused(gateway: Gateway, principal: Principal, upstream: ScriptedUpstream, name: str):
    with pytest.raises(BadUpstream):
        await gateway.connect(principal, name, upstream.url)


async def test_a_name_is_taken_once(gateway: Gateway, principal: Principal, upstream: ScriptedUpstream):
    await gateway.connect(principal, "lab", upstream.url)

    with pytest.raises(UpstreamExists):
        await gateway.connect(principal, "lab", upstream.url)


async def test_a_server_that_is_disconnected_is_gone(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    await gateway.connect(principal, "lab", upstream.url)
    gateway.disconnect(principal, "lab")

    assert names(gateway, principal) == ["quote", "default"]
    with pytest.raises(UpstreamNotFound):
        gateway.disconnect(principal, "lab")


async def test_another_workspace_has_neither_the_models_nor_the_server(
    gateway: Gateway, principal: Principal, stranger: Principal, upstream: ScriptedUpstream
):
    await gateway.connect(principal, "lab", upstream.url)

    with pytest.raises(ModelNotFound):
        gateway.route(stranger, "told")
    with pytest.raises(UpstreamNotFound):
        gateway.disconnect(stranger, "lab")


async def test_a_server_from_the_settings_comes_first_and_is_not_stored(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    async with scripted_upstream(models=["other"]) as other:
        await gateway.connect(principal, "other", other.url)
        await gateway.attach("settings", upstream.url, key="sk-secret")
        gateway.refresh()

        assert names(gateway, principal) == ["quote", "default", "told", "other"]
        assert await said(gateway, principal, "default") == "Hello from upstream."


async def test_a_local_server_is_discovered(sqlite: Database, tmp_path: Path, upstream: ScriptedUpstream):
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), ollama_url=upstream.url)

    assert [found.models for found in await gateway.discover()] == [("told",)]
    await gateway.close()


async def test_nothing_is_discovered_where_nothing_runs(gateway: Gateway):
    assert await gateway.discover() == []


async def test_a_model_that_does_not_count_gets_an_estimate(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    await gateway.connect(principal, "lab", upstream.url)
    upstream.script(says("Twelve bytes", usage=None))
    chat = ChatRequest("told", [{"role": "user", "content": "hello"}])

    *_, last = [delta async for delta in gateway.stream(principal, chat)]

    assert last.usage == {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}


@dataclass
class Beside:
    """A local model in a server of its own, and what happens while it is asked."""

    url: str
    meanwhile: Callable[[], None] = lambda: None
    name: str = "own"
    kind: str = "chat"
    version: str = "1"
    created_at: float = 1.0
    adapters: Mapping[str, str] = field(default_factory=dict)
    key: str = "sk-own"

    @property
    def model(self) -> str:
        self.meanwhile()
        return "told"

    def workspaces(self) -> tuple[str, ...]:
        return ("default",)

    def list(self, workspace_id: str) -> "Sequence[Beside]":
        return [self] if workspace_id == "default" else []

    async def open(self, workspace_id: str, name: str) -> "Beside":
        return self


async def test_a_local_server_can_be_asked_while_the_models_change(
    sqlite: Database, tmp_path: Path, principal: Principal, upstream: ScriptedUpstream
):
    beside = Beside(upstream.url)
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), local=beside)
    gateway.refresh()
    beside.meanwhile = gateway.rebuild

    assert await said(gateway, principal, "own") == "Hello from upstream."

    await gateway.close()


async def test_a_local_server_that_is_gone_cannot_be_reached_any_more(
    sqlite: Database, tmp_path: Path, principal: Principal, upstream: ScriptedUpstream
):
    beside = Beside(upstream.url)
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), local=beside)
    await said(gateway, principal, "own")

    def stop() -> None:
        beside.url = ""
        gateway.rebuild()
        beside.url = upstream.url

    beside.meanwhile = stop

    with pytest.raises(InhouseError, match="not allowed"):
        await said(gateway, principal, "own")

    await gateway.close()


class Broken:
    """Settings of which those of one workspace cannot be had."""

    def __init__(self) -> None:
        self.bad = ""

    def workspaces(self) -> tuple[str, ...]:
        return ()

    def policies(self, workspace_id: str) -> Mapping[str, Settings]:
        if workspace_id == self.bad:
            raise ValueError(workspace_id)
        return {}

    def routes(self, workspace_id: str) -> Mapping[str, RouteDocument]:
        return {}


async def test_a_workspace_that_fails_leaves_the_others_alone(
    sqlite: Database, tmp_path: Path, principal: Principal, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
):
    settings = Broken()
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), configuration=settings)
    other = replace(principal, workspace_id="other")
    gateway.routes(principal)
    gateway.routes(other)
    settings.bad = "default"

    await gateway.connect(other, "lab", upstream.url)

    assert names(gateway, other) == ["quote", "default", "told"]
    assert "'default' keeps its old settings" in caplog.text
    await gateway.close()


class Asked:
    """A configuration that remembers for which workspaces it was asked."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self.workspace_ids: list[str] = []
        self.workspaces = configuration.workspaces
        self.routes = configuration.routes

    def policies(self, workspace_id: str) -> Mapping[str, Settings]:
        self.workspace_ids.append(workspace_id)
        return self._configuration.policies(workspace_id)


async def test_workspaces_with_something_of_their_own_are_opened_before_their_first_request(
    sqlite: Database, tmp_path: Path, principal: Principal, upstream: ScriptedUpstream
):
    configuration = Configuration(sqlite)
    before = Gateway(sqlite, Secrets(tmp_path / "secret.key"), configuration=configuration)
    await before.connect(replace(principal, workspace_id="connected"), "lab", upstream.url)
    configuration.put_policy(replace(principal, workspace_id="ruled"), "queue", {})
    await before.close()

    asked_for = Asked(configuration)
    after = Gateway(sqlite, Secrets(tmp_path / "secret.key"), configuration=asked_for)
    after.refresh()
    opened = list(asked_for.workspace_ids)
    for workspace_id in ("connected", "ruled", "default"):
        after.routes(replace(principal, workspace_id=workspace_id))

    assert sorted(opened) == ["connected", "default", "ruled"]
    assert asked_for.workspace_ids == opened
    await after.close()
