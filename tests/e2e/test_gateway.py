"""The gateway as its operators meet it: a real server, its settings file, models of its own, official clients."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from inhouse.client import Client
from inhouse.testing.language import tiny_language_model
from servers import Server, running, stand_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HI: list[Any] = [{"role": "user", "content": "hi"}]
LIMIT = """
[gateway.policies.limits]
rules = [{subject = "*", each = "key", requests_per_minute = 2}]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("gateway") / "home") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


@pytest.fixture
def api(server: Server) -> Iterator[Client]:
    with server.client() as api:
        yield api


def write(server: Server, settings: str) -> None:
    """Into the settings file of the server, which starts in its data directory."""
    (server.home / "inhouse.toml").write_text(settings)


def eventually(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """Look again and again until it holds."""
    latest = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < latest, "It never came true."
        time.sleep(0.1)


def test_the_settings_file_is_in_force_without_a_restart(server: Server, api: Client, client: openai.OpenAI):
    def limited() -> bool:
        [policy] = [one for one in api.gateway.policies() if one["name"] == "limits"]
        return policy["source"] == "toml"

    write(server, LIMIT)
    eventually(limited)
    asked = [client.chat.completions.with_raw_response.create(model="quote", messages=HI) for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="quote", messages=HI)
    write(server, "")
    eventually(lambda: not limited())

    assert asked[-1].headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.value.code == "rate_limit_exceeded"
    assert float(refused.value.response.headers["retry-after-ms"]) > 0
    assert client.chat.completions.create(model="quote", messages=HI).choices


def test_a_model_of_the_settings_file_answers(server: Server, client: openai.OpenAI, tmp_path: Path):
    directory = tiny_language_model(tmp_path / "tiny")

    write(server, f'[language_models.tiny]\npath = "{directory}"\n')
    eventually(lambda: "tiny" in [model.id for model in client.models.list()])
    whole = client.chat.completions.create(model="tiny", messages=HI, max_tokens=8, seed=1, logprobs=True)
    stream = client.chat.completions.create(model="tiny", messages=HI, max_tokens=8, seed=1, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    write(server, "")
    eventually(lambda: "tiny" not in [model.id for model in client.models.list()])

    [choice] = whole.choices
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8
    assert choice.finish_reason == "length"
    assert choice.logprobs is not None
    assert len(choice.logprobs.content or ()) == 8
    assert text == choice.message.content


def test_every_request_is_accounted_for(server: Server, api: Client):
    made = api.keys.create("counted", ["chat:run"], models=["stand-in"], team="lab")

    with stand_in() as upstream:
        api.upstreams.connect("lab", upstream.url)
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=made["key"], max_retries=0) as client:
            for _ in range(3):
                client.chat.completions.create(model="stand-in", messages=HI)
            with pytest.raises(openai.PermissionDeniedError):
                client.chat.completions.create(model="quote", messages=HI)
            listed = [model.id for model in client.models.list()]
        used = api.gateway.usage(by="key")
        api.upstreams.disconnect("lab")

    [mine] = [one for one in used if made["id"] in str(one)]
    assert listed == ["stand-in"]
    assert mine["requests"] >= 3
    assert mine["prompt_tokens"] > 0


def test_figures_are_published(server: Server, client: openai.OpenAI):
    client.chat.completions.create(model="quote", messages=HI)

    figures = httpx.get(f"{server.url}/metrics", headers={"authorization": f"Bearer {server.key}"}).text

    assert "inhouse_gateway_requests_total{" in figures
    assert 'model="quote"' in figures
