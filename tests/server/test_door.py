import gc
import weakref
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from inhouse.access import keys
from inhouse.access.api import COOKIE
from inhouse.core.asgi import CONNECTION, WHOLE, Message, Receive, Scope, Send
from inhouse.core.principal import Principal
from inhouse.server.door import Door

ANN = Principal("default", "user_ann", frozenset({"*"}))


class KnownCallers:
    """One key and one session."""

    def by_digest(self, digest: bytes) -> Principal | None:
        return ANN if digest == keys.digest("good-key") else None

    def by_session(self, token: str) -> Principal | None:
        return ANN if token == "good-session" else None


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with who is asking, after reading the body."""
    while (await receive()).get("more_body"):
        pass
    principal = scope["principal"]
    body = (principal.user_id if principal else "nobody").encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def missing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def client() -> httpx.AsyncClient:
    door = Door(
        {"": missing, "/api": echo, "/v1": echo},
        KnownCallers(),
        hosts=frozenset({"localhost"}),
        limits={"": 100, "/api/upload": 1000},
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://localhost:8750")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({}, "nobody"),
        ({"authorization": "Bearer good-key"}, "user_ann"),
        ({"authorization": "bearer good-key"}, "user_ann"),
        ({"authorization": "Bearer bad-key"}, "nobody"),
        ({"authorization": "Basic good-key"}, "nobody"),
        ({"cookie": f"{COOKIE}=good-session"}, "user_ann"),
        ({"cookie": f"other=1; {COOKIE}=bad"}, "nobody"),
        ({"cookie": f"{COOKIE}=good-session", "authorization": "Bearer bad-key"}, "nobody"),
        ({"cookie": f'{COOKIE}="\\'}, "nobody"),
    ],
)
async def test_the_caller_is_known_by_key_or_session(
    client: httpx.AsyncClient, headers: dict[str, str], who: str
) -> None:
    assert (await client.get("/api/me", headers=headers)).text == who


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1"])
async def test_other_host_names_are_refused(client: httpx.AsyncClient, host: str) -> None:
    response = await client.get("/api/me", headers={"host": host})

    assert response.status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_another_site_cannot_use_the_visitors_session(
    client: httpx.AsyncClient, method: str, headers: dict[str, str]
) -> None:
    cookie = {"cookie": f"{COOKIE}=good-session"}

    response = await client.request(method, "/api/keys", headers=cookie | headers)

    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


async def test_the_console_itself_may(client: httpx.AsyncClient) -> None:
    headers = {"origin": "http://localhost:8750", "sec-fetch-site": "same-origin", "cookie": f"{COOKIE}=good-session"}

    assert (await client.post("/api/keys", headers=headers)).text == "user_ann"


async def test_a_large_body_is_refused_with_and_without_a_length(client: httpx.AsyncClient) -> None:
    async def chunks():
        for _ in range(3):
            yield b"x" * 50

    declared = await client.post("/api/me", content=b"x" * 101)
    streamed = await client.post("/api/me", content=chunks())
    allowed = await client.post("/api/upload", content=b"x" * 1000)

    assert [declared.status_code, streamed.status_code, allowed.status_code] == [413, 413, 200]
    assert declared.json()["error"]["code"] == "body_too_large"


async def test_every_answer_carries_the_safety_headers(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/nothing")).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-request-id"].startswith("req_")


async def test_a_prefix_is_a_whole_path_segment(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1")).status_code == 200
    assert (await client.get("/v1x")).status_code == 404


async def test_websockets_are_not_accepted() -> None:
    door = Door({"": echo}, KnownCallers(), hosts=frozenset(), limits={"": 1})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await door({"type": "websocket"}, receive, send)

    assert sent == []


async def test_a_request_that_is_answered_at_once_leaves_nothing_to_the_collector() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope[WHOLE].answer(200, [], b"")

    class Exchange:
        scope: Scope

        async def send(self, message: Message) -> None: ...

    connection: Any = SimpleNamespace(is_read=True, known=(b"", b""), answer=lambda *_: True)
    exchange = Exchange()
    headers = [(b"host", b"localhost"), (b"content-length", b"0")]
    exchange.scope = {"type": "http", "path": "/v1/x", "method": "POST", "headers": headers, CONNECTION: connection}
    door = Door(
        {"": missing, "/v1": app},
        KnownCallers(),
        hosts=frozenset({"localhost"}),
        limits={"": 100},
        data_planes=frozenset({"/v1"}),
    )
    gc.disable()
    try:
        await door(exchange.scope, exchange.send, exchange.send)  # pyright: ignore[reportArgumentType]
        seen = weakref.ref(exchange)
        del exchange

        assert seen() is None
    finally:
        gc.enable()
