import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from inhouse.core.asgi import Receive, Scope, Send
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.serving.artifact import Manifest
from inhouse.serving.asgi import PredictApp
from inhouse.serving.deployments import Deployments
from inhouse.serving.pool import Key, Pool
from inhouse.serving.predictor import NotAClassifier, Predictor

from .conftest import Shelf


class SignedIn:
    """What the server does before it hands a request over."""

    def __init__(self, app: PredictApp, principal: Principal | None) -> None:
        self.app = app
        self.principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "principal": self.principal}, receive, send)


@pytest.fixture
async def app(pool: Pool, sqlite: Database, principal: Principal) -> PredictApp:
    predictor = Predictor(pool, Deployments(sqlite))
    await predictor.deploy(principal, "intent", {2: 1})
    return PredictApp(predictor, max_body_bytes=10_000)


@pytest.fixture
async def http(app: PredictApp, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(SignedIn(app, principal))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("path", ["/predict", "/predict/intent"])
async def test_one_text_gets_the_answer_of_the_brief(http: httpx.AsyncClient, path: str):
    answer = await http.post(path, json={"text": "the tunnel is down"})

    body = answer.json()
    assert (answer.status_code, body["prediction"], body["model"], body["model_version"]) == (200, "vpn", "intent", 2)
    assert list(body["scores"]) == ["vpn", "leave"]
    assert body["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("field", ["texts", "inputs"])
async def test_several_texts_get_a_list_in_their_order(http: httpx.AsyncClient, field: str):
    answer = await http.post("/predict/intent", json={field: ["vpn", "holiday"], "top_k": 1})

    rows = answer.json()["predictions"]
    assert [row["prediction"] for row in rows] == ["vpn", "leave"]
    assert [len(row["scores"]) for row in rows] == [1, 1]


async def test_a_version_can_be_asked_for(http: httpx.AsyncClient):
    answer = await http.post("/predict/intent", json={"text": "vpn", "version": 1})

    assert answer.json()["model_version"] == 1


async def test_health_is_open(app: PredictApp):
    transport = httpx.ASGITransport(SignedIn(app, None))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        health, prediction = await client.get("/health"), await client.post("/predict", json={"text": "vpn"})

    assert health.json() == {"status": "ok", "gpu": False}
    assert prediction.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/predict/intent", b"{", 422, "bad_request"),
        ("POST", "/predict/intent", b'{"text": 3}', 422, "bad_request"),
        ("POST", "/predict/intent", b'{"text": "\xff"}', 422, "bad_request"),
        ("POST", "/predict/intent", b"{}", 422, "bad_request"),
        ("POST", "/predict/intent", b'{"text": "a", "texts": ["b"]}', 422, "bad_request"),
        ("POST", "/predict/intent", b'{"texts": []}', 422, "nothing_to_predict"),
        ("POST", "/predict/intent", b'{"text": "a", "top_k": 0}', 422, "bad_request"),
        ("POST", "/predict/intent", b'{"text": "a", "version": 9}', 404, "not_found"),
        ("POST", "/predict/intent", b"[" * 9_000, 422, "bad_request"),
        ("POST", "/predict/intent", b'{"text": "' + b"x" * 10_000 + b'"}', 413, "body_too_large"),
        ("POST", "/predict/tone", b'{"text": "a"}', 404, "not_deployed"),
        ("GET", "/predict/intent", b"", 404, "no_such_route"),
        ("POST", "/predictions", b'{"text": "a"}', 404, "no_such_route"),
        ("POST", "/predict/intent/more", b'{"text": "a"}', 404, "no_such_route"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    http: httpx.AsyncClient, method: str, path: str, body: bytes, status: int, code: str
):
    answer = await http.request(method, path, content=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["trace_id"] == answer.headers["x-request-id"]


async def test_a_key_without_the_permission_is_refused(app: PredictApp):
    reader = Principal("default", "user_bob", frozenset({"model:read"}))
    transport = httpx.ASGITransport(SignedIn(app, reader))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/predict", json={"text": "vpn"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_missing")


async def test_a_client_that_leaves_is_dropped_without_an_answer(app: PredictApp, principal: Principal):
    messages = iter([{"type": "http.request", "body": b'{"text": "vpn"}'}, {"type": "http.disconnect"}])
    sent = []

    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(message: object) -> None:
        sent.append(message)

    await SignedIn(app, principal)({"method": "POST", "path": "/predict"}, receive, send)

    assert sent == []


async def test_a_full_queue_answers_429_with_retry_after(shelf: Shelf, sqlite: Database, principal: Principal):
    pool = Pool(shelf, max_queue=2)
    predictor = Predictor(pool, Deployments(sqlite))
    await predictor.deploy(principal, "intent", {1: 1})
    transport = httpx.ASGITransport(SignedIn(PredictApp(predictor), principal))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answers = await asyncio.gather(*(client.post("/predict", json={"texts": ["a", "b"]}) for _ in range(8)))
    await pool.close()

    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


async def test_a_label_that_may_come_with_others_is_told_with_them(shelf: Shelf, http: httpx.AsyncClient):
    _edit(shelf, settings={"multi_label": True, "thresholds": {"leave": 0.6, "vpn": 0.6}})

    answer = await http.post("/predict", json={"texts": ["vpn", "vpn holiday", "else"], "version": 1})

    one, both, none = answer.json()["predictions"]
    assert (one["labels"], one["known"]) == (["vpn"], True)
    assert {*both["labels"]} == {"leave", "vpn"}
    assert (none["labels"], none["known"]) == ([], False)


async def test_an_object_for_a_model_that_reads_texts_is_refused(http: httpx.AsyncClient):
    answer = await http.post("/predict/intent", json={"inputs": [{"text": "vpn", "other": "tunnel"}]})

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")


async def test_only_a_classifier_is_asked_for_labels(shelf: Shelf, pool: Pool, sqlite: Database, principal: Principal):
    predictor = Predictor(pool, Deployments(sqlite))
    (await pool.get(Key("default", "intent", 1))).manifest = Manifest("tag", {})

    with pytest.raises(NotAClassifier, match="kind 'tag'"):
        await predictor.predict(principal, "intent", ["vpn"], version=1)


def _edit(shelf: Shelf, **changes: object) -> None:
    path = shelf.root / "intent" / "1" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
