from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from inhouse.core.db import Database
from inhouse.core.errors import InhouseError
from inhouse.core.principal import Principal
from inhouse.testing.services import fixed_services
from inhouse.workflow.api import router
from inhouse.workflow.engine import Engine
from inhouse.workflow.traces import Traces
from inhouse.workflow.workflows import Workflows

from .conftest import GRAPHS

GRAPH = (GRAPHS / "basic_chatflow.yml").read_text("utf-8")


@pytest.fixture
def client(sqlite: Database, principal: Principal) -> Iterator[TestClient]:
    traces = Traces(sqlite)
    traces.start()
    app = FastAPI()
    app.include_router(router(Workflows(sqlite, Engine(fixed_services()), traces), traces))

    @app.exception_handler(InhouseError)
    async def render(_: Request, error: InhouseError) -> JSONResponse:
        return JSONResponse(error.wire(), error.status)

    def signed_in(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "principal": principal}, receive, send)

        return call

    with TestClient(signed_in(app)) as client:
        yield client
    traces.close()


def test_a_workflow_is_made_changed_run_and_traced(client: TestClient) -> None:
    assert client.post("/workflows", json={"name": "chat", "yaml": GRAPH}).status_code == 201
    changed = client.put("/workflows/chat", json={"yaml": GRAPH.replace("brief", "kind"), "note": "kinder"}).json()
    run = client.post("/workflows/chat/run", json={"query": "hi"}).json()

    assert (changed["number"], run["status"], run["workflow_version"]) == (2, "succeeded", 2)
    assert run["outputs"] == {"answer": "mocked llm response"}
    assert client.get("/workflows").json()["items"][0]["number"] == 2
    assert [item["number"] for item in client.get("/workflows/chat/versions").json()["items"]] == [2, 1]
    assert "brief" in str(client.get("/workflows/chat?version=1").json()["graph"])
    assert client.get(f"/traces/{run['trace_id']}").json()["spans"][1]["kind"] == "llm"
    assert client.get("/traces?limit=1").json()["items"][0]["id"] == run["trace_id"]


def test_a_run_streams_its_events(client: TestClient) -> None:
    client.post("/workflows", json={"name": "chat", "yaml": GRAPH})

    body = client.post("/workflows/chat/run", json={"query": "hi", "stream": True}).text

    names = [line.removeprefix("event: ") for line in body.splitlines() if line.startswith("event: ")]
    assert names[0] == "node_started"
    assert "text_chunk" in names
    assert names[-1] == "run_finished"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/workflows/ghost", None, 404),
        ("PUT", "/workflows/ghost", {"yaml": GRAPH}, 404),
        ("POST", "/workflows/ghost/run", {"query": "x"}, 404),
        ("POST", "/workflows", {"name": "x", "yaml": GRAPH, "graph": {}}, 422),
        ("POST", "/workflows", {"name": "X y", "yaml": GRAPH}, 422),
        ("POST", "/workflows", {"name": "x", "yaml": "nodes: []"}, 422),
        ("GET", "/traces/ghost", None, 404),
        ("GET", "/traces?limit=0", None, 422),
    ],
)
def test_wrong_requests_are_told_so(client: TestClient, method: str, path: str, body: object, status: int) -> None:
    assert client.request(method, path, json=body).status_code == status


def test_all_nodes_are_described(client: TestClient) -> None:
    items = client.get("/nodes").json()["items"]

    assert {item["type"] for item in items} >= {"start", "llm", "answer"}
    assert items[0]["texts"]["zh"]["title"]
