import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.server import errors
from inhouse.serving.language_models import LanguageModels
from inhouse.serving.lm.api import router

from .playing import Parrots, adapter_directory, parrot_directory, registry

AT = "/language-models"


@pytest.fixture
async def models(sqlite: Database, tmp_path: Path) -> AsyncIterator[LanguageModels]:
    known = registry(transformers=Parrots(), openvino=Parrots(missing="pip install 'inhouse[openvino]'"))
    models = LanguageModels(sqlite, tmp_path / "cache", runtimes=known)
    models.refresh()
    yield models
    await models.close()


def client(models: LanguageModels, principal: Principal) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(router(models))
    errors.install(app)

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": principal}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test")


@pytest.fixture
async def http(models: LanguageModels, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    async with client(models, principal) as http:
        yield http


async def test_a_model_is_loaded_listed_and_unloaded(http: httpx.AsyncClient, tmp_path: Path):
    directory = parrot_directory(tmp_path / "model")

    created = await http.post(AT, json={"name": "bird", "path": str(directory)})
    listed = await http.get(AT)
    removed = await http.delete(f"{AT}/bird")

    assert (created.status_code, created.json()["state"]) == (201, "loading")
    assert [item["name"] for item in listed.json()["items"]] == ["bird"]
    assert removed.status_code == 204
    assert (await http.get(f"{AT}/bird")).status_code == 404


async def test_missing_runtimes_are_listed_with_what_to_do(http: httpx.AsyncClient):
    assert (await http.get(AT)).json()["runtimes"] == [
        {"name": "openvino", "missing": "pip install 'inhouse[openvino]'"},
        {"name": "transformers", "missing": ""},
    ]


async def test_adapters_are_added_and_removed(http: httpx.AsyncClient, tmp_path: Path):
    await http.post(AT, json={"name": "bird", "path": str(parrot_directory(tmp_path / "model"))})

    added = await http.post(
        f"{AT}/bird/adapters", json={"name": "sad", "path": str(adapter_directory(tmp_path / "lora"))}
    )
    removed = await http.delete(f"{AT}/bird/adapters/sad")

    assert list(added.json()["adapters"]) == ["sad"]
    assert removed.status_code == 204
    assert (await http.get(f"{AT}/bird")).json()["adapters"] == {}


@pytest.mark.parametrize(
    "body",
    [
        {"path": "/nowhere"},
        {"path": "a\0b"},
        {"path": "~nobody-here/model"},
        {"path": "/" + "x" * 4000},
        {"path": "/tmp", "max_batch": 0},
        {"path": "/tmp", "trust_remote_code": True},
    ],
)
async def test_what_cannot_be_loaded_is_refused(http: httpx.AsyncClient, body: dict[str, object]):
    assert (await http.post(AT, json={"name": "bird", **body})).status_code == 422


async def test_who_may_only_look_changes_nothing(models: LanguageModels, tmp_path: Path):
    viewer = Principal("default", "user_vic", frozenset({"llm:read"}))
    async with client(models, viewer) as http:
        changes = await asyncio.gather(
            http.post(AT, json={"name": "bird", "path": str(parrot_directory(tmp_path / "model"))}),
            http.delete(f"{AT}/bird"),
            http.post(f"{AT}/bird/adapters", json={"name": "sad", "path": "/"}),
            http.delete(f"{AT}/bird/adapters/sad"),
        )

        assert (await http.get(AT)).status_code == 200
        assert {answer.status_code for answer in changes} == {403}


async def test_who_may_not_even_look_sees_nothing(models: LanguageModels):
    async with client(models, Principal("default", "user_eve", frozenset({"chat:run"}))) as http:
        assert {(await http.get(f"{AT}{path}")).status_code for path in ("", "/bird")} == {403}
