"""One caller cannot take the server from the others, and work nobody waits for stops."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from inhouse.testing.upstream import ScriptedUpstream, says, scripted_upstream
from server.conftest import Server, graph, post_odd

SLOW = says("word " * 200, pause_s=0.1)


@pytest.fixture
async def api(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {server.admin}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
async def slow(api: httpx.AsyncClient) -> AsyncIterator[ScriptedUpstream]:
    """A model server that takes its time, connected under the name of its model."""
    name = f"slow-{time.monotonic_ns()}"
    async with scripted_upstream(SLOW, SLOW, models=[name]) as upstream:
        (await api.post("/api/v1/upstreams", json={"name": name, "url": upstream.url})).raise_for_status()
        yield upstream
        (await api.delete(f"/api/v1/upstreams/{name}")).raise_for_status()


@pytest.mark.parametrize(
    "extra",
    [
        {"n": 10_000},
        {"max_tokens": 10**9},
        {"stop": ["x"] * 100_000},
        {"temperature": float("nan")},
        {"temperature": 1e9},
        {"messages": []},
        {"messages": "x"},
        {"stream": "yes"},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_a_greedy_completion_is_refused_at_once(admin: httpx.Client, extra: dict[str, object]) -> None:
    body = {"model": "quote", "messages": [{"role": "user", "content": "hi"}], **extra}
    started = time.perf_counter()

    answer = post_odd(admin, "/v1/chat/completions", body)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/predict/mood", "/api/v1/apps/desk/chat", "/api/v1/workflows"]
)
@pytest.mark.parametrize("key", ["text", "messages", "inputs", "graph"])
def test_deep_json_is_refused_at_once(admin: httpx.Client, path: str, key: str) -> None:
    body = f'{{"model":"quote","name":"deep","query":"x","{key}":{"[" * 100_000}{"]" * 100_000}}}'
    started = time.perf_counter()

    answer = admin.post(path, content=body, headers={"content-type": "application/json"})

    assert answer.status_code in (400, 413, 422)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "text", ["great " * 600_000, "g" * 3_900_000, "很好" * 600_000], ids=["words", "word", "Chinese"]
)
def test_a_huge_text_holds_nobody_up(admin: httpx.Client, text: str) -> None:
    started = time.perf_counter()

    answer = admin.post("/predict/mood", json={"text": text})

    assert answer.status_code in (200, 413)
    assert time.perf_counter() - started < 2


def test_too_many_texts_are_refused(admin: httpx.Client) -> None:
    answer = admin.post("/predict/mood", json={"texts": ["x"] * 300_000})

    assert answer.status_code == 422
    assert "1024" in answer.json()["error"]["hint"]


@pytest.mark.parametrize(
    "prompt",
    ["<source " * 480_000, '<source id="1">' * 200_000, "\n" * 1_900_000 + "x", " " * 3_800_000 + "x"],
    ids=["openings", "open blocks", "lines", "blanks"],
)
async def test_no_prompt_stops_the_others(api: httpx.AsyncClient, prompt: str) -> None:
    body = {"model": "quote", "messages": [{"role": "user", "content": prompt}]}
    asking = asyncio.create_task(api.post("/v1/chat/completions", json=body))
    worst = 0.0
    while not asking.done():
        started = time.perf_counter()
        (await api.get("/healthz")).raise_for_status()
        worst = max(worst, time.perf_counter() - started)

    assert (await asking).status_code == 200
    assert worst < 1


async def test_a_client_that_leaves_a_completion_frees_the_model(
    api: httpx.AsyncClient, slow: ScriptedUpstream
) -> None:
    body = {"model": slow.models[0], "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with api.stream("POST", "/v1/chat/completions", json=body) as answer:
        await anext(answer.aiter_bytes())

    await asyncio.wait_for(slow.hung_up.wait(), 1)


async def test_a_client_that_leaves_a_chat_stops_the_run(api: httpx.AsyncClient, slow: ScriptedUpstream) -> None:
    name = slow.models[0]
    llm = {"type": "llm", "model": {"name": name}, "prompt_template": [{"role": "user", "text": "{{#sys.query#}}"}]}
    (await api.post("/api/v1/workflows", json={"name": name, "graph": graph(llm=llm)})).raise_for_status()
    (await api.post("/api/v1/apps", json={"name": name, "workflow": name, "title": name})).raise_for_status()
    seen: list[str] = []
    path = f"/api/v1/apps/{name}/chat"
    async with api.stream("POST", path, json={"query": "hi", "stream": True}) as answer:
        async for line in answer.aiter_lines():
            seen.append(line)
            if line == "event: delta":
                break

    await asyncio.wait_for(slow.hung_up.wait(), 1)
    trace_id = json.loads(seen[1].removeprefix("data: "))["trace_id"]
    trace = await api.get(f"/api/v1/traces/{trace_id}")
    assert trace.json()["status"] == "stopped"
    [message] = (await api.get(f"/api/v1/conversations/{trace.json()['conversation_id']}/messages")).json()["items"]
    assert (message["status"], message["query"]) == ("stopped", "hi")


async def test_whoever_leaves_during_an_upload_leaves_nothing_behind(api: httpx.AsyncClient, server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /api/v1/datasets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.admin}\r\n"
    form = b"--x\r\nContent-Disposition: form-data; name=file; filename=left.csv\r\n\r\ntext,label\n"
    writer.write(f"{head}Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n".encode() + form)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    del reader

    assert (await api.get("/healthz")).status_code == 200
    assert "left.csv" not in (await api.get("/api/v1/datasets")).text
