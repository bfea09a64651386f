from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.principal import Principal
from inhouse.gateway.api import router
from inhouse.gateway.gateway import Gateway
from inhouse.testing.upstream import ScriptedUpstream


@pytest.fixture
async def http(gateway: Gateway, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router(gateway))

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": principal}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test") as client:
        yield client


async def test_a_server_is_connected_listed_and_disconnected(http: httpx.AsyncClient, upstream: ScriptedUpstream):
    made = await http.post("/upstreams", json={"name": "lab", "url": upstream.url, "key": "sk-secret"})
    listed = await http.get("/upstreams")
    gone = await http.delete("/upstreams/lab")

    assert (made.status_code, made.json()["models"], made.json()["has_key"]) == (201, ["told"], True)
    assert listed.json() == {"items": [made.json()]}
    assert "sk-secret" not in made.text + listed.text
    assert (gone.status_code, (await http.get("/upstreams")).json()) == (204, {"items": []})


async def test_a_probe_connects_nothing(http: httpx.AsyncClient, upstream: ScriptedUpstream):
    probed = await http.post("/upstreams/probe", json={"url": upstream.url})

    assert probed.json() == {"url": upstream.url, "models": ["told"]}
    assert (await http.get("/upstreams")).json() == {"items": []}


async def test_discovery_finds_nothing_where_nothing_runs(http: httpx.AsyncClient):
    assert (await http.get("/upstreams/discover")).json() == {"items": []}
