import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.principal import Principal
from inhouse.models import api as models_api
from inhouse.training.versions.api import router
from inhouse.training.versions.versions import Versions

VERSION = "/models/intent/versions/1"


@pytest.fixture
async def http(versions: Versions, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(models_api.router(versions.registry))
    app.include_router(router(versions))

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": principal}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test") as client:
        yield client


async def evaluated(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.post(f"{VERSION}/evaluations", json={})
    assert answer.status_code == 202
    found = answer.json()
    async with asyncio.timeout(90):
        while found["status"] == "queued":
            found = (await http.get(f"/evaluations/{found['id']}")).json()
    return found


async def test_an_evaluation_is_asked_for_read_and_browsed(http: httpx.AsyncClient):
    done = await evaluated(http)
    report = (await http.get(f"/evaluations/{done['id']}/report")).json()
    right = (await http.get(f"/evaluations/{done['id']}/rows?correct=true&limit=2&offset=1")).json()
    some = (await http.get(f"/evaluations/{done['id']}/rows?text=PASSWORD&label=password")).json()

    assert done["metrics"]["accuracy"] == report["metrics"]["accuracy"]
    assert report["per_class"]["leave"]["support"] > 0
    assert (len(right["items"]), right["total"] > 2) == (2, True)
    assert all("password" in row["text"] for row in some["items"])
    card = (await http.get(f"{VERSION}/card")).json()["markdown"]
    assert "| desk@v1 test |" in card


async def test_a_version_is_annotated_named_and_deleted(http: httpx.AsyncClient):
    changed = (await http.patch(VERSION, json={"note": "Keep.", "is_protected": True})).json()
    named = (await http.put("/models/intent/aliases/best", json={"version": 1})).json()
    lineage = (await http.get(f"{VERSION}/lineage")).json()

    assert (changed["note"], changed["is_protected"], named["aliases"]) == ("Keep.", True, {"best": 1})
    assert lineage["lineage"]["recipe"] == "classify"
    assert lineage["files"]["model.onnx"]["size"] > 0
    assert (await http.delete("/models/intent/aliases/best")).json() == {"aliases": {}}
    assert (await http.patch(VERSION, json={"is_protected": False})).json()["note"] == "Keep."
    assert (await http.delete(VERSION)).status_code == 204
    assert (await http.get("/models")).json() == {"items": []}


async def test_a_bundle_comes_as_a_zip(http: httpx.AsyncClient):
    answer = await http.get(f"{VERSION}/archive?edge=true")

    assert answer.headers["content-disposition"] == 'attachment; filename="intent-1-edge.zip"'
    assert "run.py" in ZipFile(BytesIO(answer.content)).namelist()


@pytest.mark.slow
async def test_an_answer_is_explained(http: httpx.AsyncClient):
    found = (await http.post(f"{VERSION}/explain", json={"text": "forgot the password"})).json()

    total = sum(token["weight"] for token in found["tokens"])
    assert found["label"] == "password"
    assert total == pytest.approx(found["logit"] - found["baseline"], abs=1e-3)
