from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from inhouse.core.errors import InhouseError
from inhouse.core.principal import Principal
from inhouse.knowledge.api import router
from inhouse.knowledge.bases import KnowledgeBases
from inhouse.knowledge.store import Document


@pytest.fixture
def client(policies: KnowledgeBases, principal: Principal) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(router(policies))

    @app.middleware("http")
    async def sign_in(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
        request.scope["principal"] = principal
        return await following(request)

    @app.exception_handler(InhouseError)
    async def render(_: Request, error: InhouseError) -> JSONResponse:
        return JSONResponse(error.wire(), error.status)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_documents_are_uploaded_searched_opened_and_deleted(
    client: httpx.AsyncClient, policies: KnowledgeBases, principal: Principal, finish: Callable[..., Document]
) -> None:
    files = [("files", ("taxi.md", b"# Taxi\n\nUp to 50 EUR.")), ("files", ("empty.md", b""))]

    uploaded = await client.post("/knowledge/policies/documents", files=files)
    taxi, empty = [finish(policies, document) for document in policies.documents(principal, "policies")][::-1]
    found = (await client.get("/knowledge/policies/search", params={"query": "taxi"})).json()
    opened = (await client.get(f"/passages/{found['passages'][0]['chunk_id']}")).json()
    retried = await client.post(f"/knowledge/policies/documents/{empty.id}/retry")
    deleted = await client.delete(f"/knowledge/policies/documents/{taxi.id}")

    assert (uploaded.status_code, len(uploaded.json()["items"])) == (202, 2)
    assert found["answerable"]
    assert (opened["text"], opened["document"], opened["heading"]) == ("Up to 50 EUR.", "taxi.md", ["Taxi"])
    assert (retried.status_code, deleted.status_code) == (202, 204)
    assert (await client.get(f"/knowledge/policies/documents/{taxi.id}")).status_code == 404


async def test_bases_are_created_and_listed(client: httpx.AsyncClient) -> None:
    created = await client.post("/knowledge", json={"name": "it", "description": "IT rules"})
    listed = await client.get("/knowledge")

    assert created.status_code == 201
    assert [item["name"] for item in listed.json()["items"]] == ["it", "policies"]
    assert (await client.get("/knowledge/it")).json() == created.json()


async def test_an_unknown_base_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/knowledge/nothing/search", params={"query": "x"})

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "knowledge_base_not_found"


@pytest.mark.parametrize("params", [{}, {"query": ""}, {"query": "x", "top_k": 0}, {"query": "x", "top_k": 1000}])
async def test_a_bad_search_is_refused(client: httpx.AsyncClient, params: dict) -> None:
    assert (await client.get("/knowledge/policies/search", params=params)).status_code == 422
