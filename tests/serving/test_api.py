from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.serving.api import router
from inhouse.serving.deployments import Deployments
from inhouse.serving.pool import Pool
from inhouse.serving.predictor import Predictor


@pytest.fixture
async def http(pool: Pool, sqlite: Database, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    deployments = Deployments(sqlite)
    app = FastAPI()
    app.include_router(router(deployments, Predictor(pool, deployments)))

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": principal}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test") as client:
        yield client


async def test_weights_are_put_and_listed(http: httpx.AsyncClient):
    put = await http.put("/deployments/intent", json={"weights": {"1": 0.8, "2": 0.2}, "note": "canary"})
    listed = await http.get("/deployments")

    assert put.json()["weights"] == {"1": 0.8, "2": 0.2}
    assert listed.json() == {"items": [put.json()]}
