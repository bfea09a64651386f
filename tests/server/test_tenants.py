"""What belongs to one workspace, or one user, is not there for another."""

import time
from typing import Any

import httpx
import pytest

from server.conftest import ROWS, Server, graph, wait_for_documents

SECRET = "zebra-canary-7391"


@pytest.fixture(scope="module")
def owned(server: Server) -> dict[str, str]:
    """Ids of things of the default workspace, by their place in a path."""
    with server.client() as client:
        asked = client.post("/api/v1/apps/desk/chat", json={"query": f"How many days of leave, {SECRET}?"}).json()
        client.post(f"/api/v1/messages/{asked['id']}/feedback", json={"rating": "down"}).raise_for_status()
        [document] = client.get("/api/v1/knowledge/handbook/documents").json()["items"]
        [feedback] = [f for f in client.get("/api/v1/feedback").json()["items"] if f["message"]["id"] == asked["id"]]
        return {
            "conversation_id": asked["conversation_id"],
            "message_id": asked["id"],
            "trace_id": asked["trace_id"],
            "chunk_id": asked["sources"][0]["chunk_id"],
            "document_id": document["id"],
            "feedback_id": feedback["id"],
            "release_id": client.get("/api/v1/releases").json()["items"][0]["id"],
            "key_id": client.get("/api/v1/keys").json()["items"][0]["id"],
        }


FOREIGN = [
    ("GET", "/api/v1/datasets/moods", None),
    ("POST", "/api/v1/datasets/moods/versions", {"examples": [{"text": "x", "label": "y"}]}),
    ("GET", "/api/v1/datasets/moods/versions/1/examples", None),
    ("GET", "/api/v1/models/mood", None),
    ("GET", "/api/v1/models/mood/versions/1", None),
    ("PUT", "/api/v1/deployments/mood", {"weights": {"1": 1}}),
    ("POST", "/api/v1/releases", {"model": "mood", "version": 1}),
    ("POST", "/api/v1/releases/{release_id}/promote", {}),
    ("POST", "/api/v1/releases/{release_id}/rollback", {}),
    ("POST", "/api/v1/loop/datasets", {"model": "mood"}),
    ("POST", "/api/v1/loop/retrain", {"model": "mood"}),
    ("POST", "/api/v1/loop/gate", {"model": "mood", "candidate": 1}),
    ("POST", "/predict/mood", {"text": "great"}),
    ("POST", "/predict/mood", {"text": "great", "version": 1}),
    ("GET", "/api/v1/knowledge/handbook", None),
    ("GET", "/api/v1/knowledge/handbook/documents", None),
    ("GET", "/api/v1/knowledge/handbook/documents/{document_id}", None),
    ("DELETE", "/api/v1/knowledge/handbook/documents/{document_id}", None),
    ("POST", "/api/v1/knowledge/handbook/documents/{document_id}/retry", {}),
    ("GET", "/api/v1/knowledge/handbook/search?query=leave", None),
    ("GET", "/api/v1/passages/{chunk_id}", None),
    ("GET", "/api/v1/workflows/desk", None),
    ("PUT", "/api/v1/workflows/desk", {"graph": graph()}),
    ("GET", "/api/v1/workflows/desk/versions", None),
    ("POST", "/api/v1/workflows/desk/run", {"query": "x"}),
    ("GET", "/api/v1/traces/{trace_id}", None),
    ("GET", "/api/v1/apps/desk", None),
    ("PUT", "/api/v1/apps/desk", {"workflow": "desk", "title": "Mine"}),
    ("POST", "/api/v1/apps/desk/chat", {"query": "x"}),
    ("GET", "/api/v1/chat?query=x&app=desk", None),
    ("GET", "/api/v1/conversations/{conversation_id}/messages", None),
    ("DELETE", "/api/v1/conversations/{conversation_id}", None),
    ("POST", "/api/v1/messages/{message_id}/feedback", {"rating": "up"}),
    ("POST", "/api/v1/feedback/{feedback_id}/accept", {"label": "praise"}),
    ("POST", "/api/v1/feedback/{feedback_id}/reject", {}),
    ("POST", "/api/v1/users/admin/link", {}),
    ("DELETE", "/api/v1/keys/{key_id}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN, ids=[f"{method} {path}" for method, path, _ in FOREIGN])
def test_another_workspace_finds_nothing(
    stranger: httpx.Client, owned: dict[str, str], method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = stranger.request(method, path.format(**owned), json=body)

    assert answer.status_code == 404
    assert SECRET not in answer.text


def test_lists_of_another_workspace_are_empty(stranger: httpx.Client, owned: dict[str, str]) -> None:
    names = "datasets models deployments knowledge workflows traces apps conversations feedback releases verdicts runs"
    names = f"{names} users upstreams"

    found = {name: stranger.get(f"/api/v1/{name}").json()["items"] for name in names.split()}

    assert found == {name: [] for name in found}
    assert [key["name"] for key in stranger.get("/api/v1/keys").json()["items"]] == ["stranger"]


def test_what_a_graph_names_is_looked_up_where_the_graph_is(stranger: httpx.Client) -> None:
    """A workflow of one's own cannot reach another workspace's model or documents."""
    stranger.post("/api/v1/workflows", json={"name": "reach", "graph": graph()}).raise_for_status()
    without_model = graph(mood={"type": "template-transform", "template": "x", "variables": []})
    stranger.post("/api/v1/workflows", json={"name": "reach2", "graph": without_model}).raise_for_status()

    runs = [
        stranger.post(f"/api/v1/workflows/{name}/run", json={"query": "leave"}).json() for name in ("reach", "reach2")
    ]

    assert [run["status"] for run in runs] == ["failed", "failed"]
    assert [run["error"]["kind"] for run in runs] == ["not_found", "not_found"]
    assert "15 days" not in str(runs)


def test_a_conversation_is_its_owners(server: Server, admin: httpx.Client, owned: dict[str, str]) -> None:
    """Same workspace, another user."""
    with server.client(server.key("app:*", "feedback:write")) as other:
        path = f"/api/v1/conversations/{owned['conversation_id']}"
        answers = [
            other.get(f"{path}/messages"),
            other.delete(path),
            other.post("/api/v1/apps/desk/chat", json={"query": "x", "conversation_id": owned["conversation_id"]}),
            other.post(f"/api/v1/messages/{owned['message_id']}/feedback", json={"rating": "up"}),
        ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert admin.get(f"{path}/messages").json()["items"][0]["query"].endswith(f"{SECRET}?")


def test_the_same_names_and_words_stay_apart(stranger: httpx.Client, admin: httpx.Client) -> None:
    """Search, models and traffic know the workspace; a query that plays with filters does not change it."""
    stranger.post("/api/v1/knowledge", json={"name": "handbook2"}).raise_for_status()
    text = b"# Annual leave\n\nEverybody elsewhere has 99 days of annual leave a year.\n"
    stranger.post("/api/v1/knowledge/handbook2/documents", files={"files": ("leave.md", text)}).raise_for_status()
    wait_for_documents(stranger, "handbook2")

    ours, theirs = (
        client.get(f"/api/v1/knowledge/{base}/search", params={"query": 'annual leave {"workspace":{"$ne":""}}'}).text
        for client, base in ((admin, "handbook"), (stranger, "handbook2"))
    )

    assert "15 days" in ours
    assert "99 days" not in ours
    assert "99 days" in theirs
    assert "15 days" not in theirs


@pytest.fixture
def doomed(admin: httpx.Client) -> tuple[str, str]:
    """A base of its own with one document."""
    base = f"doomed-{time.monotonic_ns()}"
    admin.post("/api/v1/knowledge", json={"name": base}).raise_for_status()
    text = f"# Secret\n\nThe password of the archive is {SECRET}.\n".encode()
    admin.post(f"/api/v1/knowledge/{base}/documents", files={"files": ("s.md", text)}).raise_for_status()
    [document] = wait_for_documents(admin, base)
    return base, document["id"]


def test_a_deleted_document_is_found_no_more(admin: httpx.Client, doomed: tuple[str, str]) -> None:
    base, document = doomed
    search = f"/api/v1/knowledge/{base}/search?query=password+archive"
    [passage] = admin.get(search).json()["passages"]

    admin.delete(f"/api/v1/knowledge/{base}/documents/{document}").raise_for_status()

    assert admin.get(search).json()["passages"] == []
    assert admin.get(f"/api/v1/passages/{passage['chunk_id']}").status_code == 404
    assert admin.get(f"/api/v1/knowledge/{base}/documents").json()["items"] == []


def test_a_deleted_conversation_is_gone_with_all_that_was_said(admin: httpx.Client) -> None:
    asked = admin.post("/api/v1/apps/desk/chat", json={"query": "Forget this, please"}).json()
    admin.post(f"/api/v1/messages/{asked['id']}/feedback", json={"rating": "down"}).raise_for_status()

    admin.delete(f"/api/v1/conversations/{asked['conversation_id']}").raise_for_status()

    assert admin.get(f"/api/v1/conversations/{asked['conversation_id']}/messages").status_code == 404
    assert "Forget this" not in admin.get("/api/v1/feedback").text
    assert "Forget this" not in admin.get("/api/v1/conversations").text
    again = {"query": "What did I say?", "conversation_id": asked["conversation_id"]}
    assert admin.post("/api/v1/apps/desk/chat", json=again).status_code == 404


def test_a_dataset_of_the_same_name_is_another_one(stranger: httpx.Client, admin: httpx.Client) -> None:
    rows = ROWS.replace(b"great work", b"tenant secret")
    stranger.post("/api/v1/datasets", data={"name": "theirs"}, files={"file": ("a.csv", rows)}).raise_for_status()

    assert admin.get("/api/v1/datasets/theirs").status_code == 404
    assert "tenant secret" not in admin.get("/api/v1/datasets/moods/versions/1/examples").text
