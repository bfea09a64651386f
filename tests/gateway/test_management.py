"""The gateway's management API, over real rooms."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.core.secrets import Secrets
from inhouse.core.settings import Gateway as FileSettings
from inhouse.gateway.api import management, router
from inhouse.gateway.configuration import Configuration
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.ledger import Ledger
from inhouse.gateway.policy import Surroundings, policies
from inhouse.gateway.prices import Used
from inhouse.gateway.prompts import Prompts
from inhouse.server import errors
from inhouse.testing.upstream import ScriptedUpstream

HOUR = 500_000


@pytest.fixture
def ledger(sqlite: Database) -> Ledger:
    return Ledger(sqlite)


@pytest.fixture
async def http(
    sqlite: Database, tmp_path: Path, principal: Principal, ledger: Ledger
) -> AsyncIterator[httpx.AsyncClient]:
    configuration = Configuration(
        sqlite,
        FileSettings(policies={"keys": {}}, models={"fixed": {"targets": [{"upstream": "inhouse", "model": "quote"}]}}),
        changed=lambda: gateway.refresh(),
    )
    prompts = Prompts(sqlite)
    gateway = Gateway(
        sqlite,
        Secrets(tmp_path / "secret.key"),
        configuration=configuration,
        surroundings=Surroundings(spending=ledger, prompts=prompts),
    )
    app = FastAPI()
    errors.install(app)
    app.include_router(router(gateway))
    app.include_router(management(gateway, configuration, prompts, ledger))

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": principal}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test/gateway") as client:
        yield client
    await gateway.close()


async def test_every_policy_is_listed_in_the_order_of_requests(http: httpx.AsyncClient):
    items = (await http.get("/policies")).json()["items"]

    orders = [item["order"] for item in items]
    assert orders == sorted(orders)
    assert {item["name"] for item in items} == set(policies)
    limits = next(item for item in items if item["name"] == "limits")
    assert (limits["source"], limits["is_active"], limits["settings"]["rules"]) == ("default", False, [])
    assert limits["texts"]["zh"]["title"] == "速率限制"
    assert "rules" in limits["settings_schema"]["properties"]


async def test_a_policy_is_set_and_reset(http: httpx.AsyncClient):
    put = await http.put("/policies/limits", json={"rules": [{"requests_per_minute": 5}]})
    gone = await http.delete("/policies/limits")
    again = await http.delete("/policies/limits")

    assert put.json()["source"] == "api"
    assert put.json()["is_active"]
    assert put.json()["settings"]["rules"][0]["requests_per_minute"] == 5
    assert (gone.status_code, again.status_code) == (204, 404)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/policies/limits", {"rules": 1}, 422, "bad_policy_settings"),
        ("/policies/nothing", {}, 404, "unknown_name"),
        ("/policies/keys", {}, 409, "set_in_file"),
        ("/models/fixed", {"targets": [{"upstream": "a", "model": "b"}]}, 409, "set_in_file"),
        ("/models/a b", {"targets": [{"upstream": "a", "model": "b"}]}, 422, "bad_route"),
        ("/prompts/desk/default", {"version": 1}, 404, "prompt_not_found"),
    ],
)
async def test_what_cannot_be_is_told(http: httpx.AsyncClient, path: str, body: dict, status: int, code: str):
    answer = await http.put(path, json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_model_is_described_listed_and_forgotten(http: httpx.AsyncClient, upstream: ScriptedUpstream):
    await http.post("http://test/upstreams", json={"name": "lab", "url": upstream.url})
    document = {"targets": [{"upstream": "lab", "model": "told", "arm": "a"}], "fallbacks": ["quote"]}

    put = await http.put("/models/org/chat", json=document)
    items = {item["name"]: item for item in (await http.get("/models")).json()["items"]}
    gone = await http.delete("/models/org/chat")

    [target] = put.json()["targets"]
    assert target == {
        "upstream": "lab",
        "model": "told",
        "weight": 1.0,
        "arm": "a",
        "in_flight": 0,
        "latency_s": 0.0,
        "breaker": "closed",
    }
    assert items["org/chat"]["document"]["fallbacks"] == ["quote"]
    assert [items[name]["source"] for name in ("org/chat", "fixed", "told", "quote")] == [
        "api",
        "toml",
        "found",
        "found",
    ]
    assert gone.status_code == 204
    assert "org/chat" not in (await http.get("/models")).text


async def test_a_model_for_every_other_name_is_listed(http: httpx.AsyncClient):
    await http.put("/models/*", json={"targets": [{"upstream": "inhouse", "model": "quote"}]})

    assert "*" in [item["name"] for item in (await http.get("/models")).json()["items"]]


async def test_prompts_have_versions(http: httpx.AsyncClient):
    first = await http.post("/prompts", json={"name": "desk", "template": "Help!"})
    await http.post("/prompts", json={"name": "desk", "template": "Help {{ who }}!", "note": "personal"})
    chosen = await http.put("/prompts/desk/default", json={"version": 2})

    assert (first.status_code, first.json()["version"], first.json()["is_default"]) == (201, 1, True)
    assert chosen.json()["variables"] == ["who"]
    assert (await http.get("/prompts")).json()["items"] == [chosen.json()]
    assert (await http.get("/prompts/desk/versions/1")).json()["template"] == "Help!"
    assert len((await http.get("/prompts/desk")).json()["items"]) == 2


async def test_usage_is_grouped_as_asked(http: httpx.AsyncClient, ledger: Ledger):
    for model in ("a", "a", "b"):
        ledger.record(("default", HOUR, "k", "user_ann", "", model, "lab/x", ""), 200, False, Used(10, 5, 0.1))

    by_model = (await http.get("/usage")).json()
    later = (await http.get("/usage", params={"by": "hour", "from": (HOUR + 1) * 3600})).json()

    assert [(one["name"], one["requests"], one["prompt_tokens"]) for one in by_model["items"]] == [
        ("a", 2, 20),
        ("b", 1, 10),
    ]
    assert by_model["currency"] == "USD"
    assert later["items"] == []
    assert (await http.get("/usage", params={"from": "nan"})).status_code == 422


async def test_the_state_of_the_gateway(http: httpx.AsyncClient):
    state = (await http.get("http://test/gateway")).json()

    assert (state["file_error"], state["problems"], state["upstreams"], state["in_flight"]) == ("", [], 0, 0)
    assert state["models"] == 3


async def test_settings_may_be_written_at_the_same_time(http: httpx.AsyncClient):
    puts = [http.put("/policies/limits", json={"rules": [{"requests_per_minute": n}]}) for n in range(1, 6)]
    answers = await asyncio.gather(*puts)

    assert {answer.status_code for answer in answers} == {200}
