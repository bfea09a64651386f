"""Where the server goes when it is told to: where an administrator sent it, and nowhere else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from inhouse.testing.upstream import Reply, ScriptedUpstream, fails, scripted_upstream
from server.conftest import Server

KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
async def api(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {server.admin}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream(models=[f"told-{time.monotonic_ns()}"]) as running:
        yield running


@asynccontextmanager
async def redirecting(status: int, target: str) -> AsyncIterator[str]:
    """A server that sends everybody on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} Elsewhere\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/v1"


@pytest.mark.parametrize("path", ["/api/v1/upstreams", "/api/v1/upstreams/probe"])
@pytest.mark.parametrize("scope", ["gateway:read", "app:*", "workflow:*"])
async def test_only_who_may_write_gateways_sends_the_server_anywhere(
    api: httpx.AsyncClient, server: Server, upstream: ScriptedUpstream, path: str, scope: str
) -> None:
    headers = {"authorization": f"Bearer {await asyncio.to_thread(server.key, scope)}"}

    answer = await api.post(path, json={"name": "mine", "url": upstream.url}, headers=headers)

    assert answer.status_code == 403
    assert upstream.heard == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/_x",
        "ftp://127.0.0.1/",
        "http://user:password@127.0.0.1:1/v1",
        "http://127.0.0.1\\@evil.example/v1",
        "http://",
        "//127.0.0.1/v1",
        "javascript:alert(1)",
        "x" * 3_000,
        "http://[::1",
        "http://127.0.0.1:99999/v1",
        "http://a\r\nb/v1",
    ],
)
async def test_what_is_no_web_address_is_refused(api: httpx.AsyncClient, url: str) -> None:
    answer = await api.post("/api/v1/upstreams/probe", json={"url": url})

    assert answer.status_code == 422
    assert "password@" not in answer.text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_no_model_server(api: httpx.AsyncClient, upstream: ScriptedUpstream, status: int) -> None:
    """A model server cannot send ours on: not to itself, and not to the cloud's metadata."""
    for target in (f"{upstream.url}/models", "http://169.254.169.254/latest/", "file:///etc/passwd"):
        async with redirecting(status, target) as url:
            answer = await api.post("/api/v1/upstreams/probe", json={"url": url})

        assert answer.status_code in (422, 503)
    assert upstream.heard == []


@pytest.mark.parametrize("field", ["api_base", "base_url", "extra_headers", "headers", "api_key"])
async def test_a_request_cannot_choose_where_it_goes(
    api: httpx.AsyncClient, upstream: ScriptedUpstream, field: str
) -> None:
    name = upstream.models[0]
    async with scripted_upstream() as elsewhere:
        (await api.post("/api/v1/upstreams", json={"name": name, "url": upstream.url, "key": KEY})).raise_for_status()
        body = {"model": name, "messages": [{"role": "user", "content": "hi"}], field: {"url": elsewhere.url}}
        answer = await api.post("/v1/chat/completions", json=body)
        (await api.delete(f"/api/v1/upstreams/{name}")).raise_for_status()

        assert answer.status_code == 200
        assert elsewhere.heard == []
        assert field not in upstream.chats[0].json
        assert upstream.chats[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_server_that_was_disconnected_is_not_visited_again(
    api: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    name = upstream.models[0]
    (await api.post("/api/v1/upstreams", json={"name": name, "url": upstream.url})).raise_for_status()
    (await api.delete(f"/api/v1/upstreams/{name}")).raise_for_status()
    heard = len(upstream.heard)

    body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    answer = await api.post("/v1/chat/completions", json=body)

    assert answer.status_code == 404
    assert len(upstream.heard) == heard


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_what_an_upstream_says_of_our_key_stays_here(
    api: httpx.AsyncClient, server: Server, upstream: ScriptedUpstream, status: int
) -> None:
    name = upstream.models[0]
    (await api.post("/api/v1/upstreams", json={"name": name, "url": upstream.url, "key": KEY})).raise_for_status()
    error = {"error": {"message": f"Incorrect key {KEY} at 0x7f3a2b", "code": KEY, "type": KEY, "param": None}}
    upstream.script(*[fails(status, error, retry_after="9")] * 5)

    body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    answer = await api.post("/v1/chat/completions", json=body)
    listed = await api.get("/api/v1/upstreams")
    (await api.delete(f"/api/v1/upstreams/{name}")).raise_for_status()

    assert answer.status_code >= 400
    assert KEY not in answer.text + str(answer.headers) + listed.text
    assert "0x7f" not in answer.text
    assert KEY.encode() not in server.log.read_bytes()


async def test_an_upstream_that_talks_nonsense_is_said_to(api: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    name = upstream.models[0]
    (await api.post("/api/v1/upstreams", json={"name": name, "url": upstream.url})).raise_for_status()
    upstream.script(*[Reply([b"<html>It works!</html>"], content_type="text/html")] * 5)

    body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    answer = await api.post("/v1/chat/completions", json=body)
    (await api.delete(f"/api/v1/upstreams/{name}")).raise_for_status()

    assert answer.status_code == 503
    assert "It works" not in answer.text
