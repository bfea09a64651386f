import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.principal import Principal
from inhouse.training.api import router
from inhouse.training.runs import Runs


@pytest.fixture
async def http(runs: Runs, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router(runs))

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": principal}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test") as client:
        yield client


def sent(stream: str) -> list[tuple[str, dict[str, Any]]]:
    """The name and data of each server-sent event."""
    frames = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in stream.strip().split("\n\n")]
    return [(frame["event"], json.loads(frame["data"])) for frame in frames]


async def test_recipes_come_with_their_form_in_both_languages(http: httpx.AsyncClient):
    classify = next(one for one in (await http.get("/recipes")).json()["items"] if one["name"] == "classify")

    assert classify["name"] == "classify"
    assert classify["settings"]["properties"]["epochs"]
    assert classify["texts"]["zh"]["fields"]["epochs"]["title"] == "训练轮数"


async def test_a_run_is_followed_to_its_model_and_replayed(http: httpx.AsyncClient):
    body = {"dataset": "desk", "model": "intent", "config": {"epochs": 6}}
    run = (await http.post("/runs", json=body)).json()

    live = sent((await http.get(f"/runs/{run['id']}/events", timeout=60)).text)
    last_step = max(data["seq"] for name, data in live if name == "step")
    replayed = sent((await http.get(f"/runs/{run['id']}/events?after={last_step}")).text)
    listed = (await http.get(f"/runs/{run['id']}/events", headers={"accept": "application/json"})).json()["items"]

    assert run["status"] == "queued"
    name, done = live[-1]
    assert (name, done["status"], done["model_version"]) == ("end", "succeeded", 1)
    assert done["metrics"]["accuracy"] > 0.5
    assert replayed == [item for item in live if item[0] == "end" or item[1]["seq"] > last_step]
    assert listed == [data for name, data in live if name != "end"]
    assert (await http.get(f"/runs/{run['id']}")).json() == done
