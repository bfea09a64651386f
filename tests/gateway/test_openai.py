import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import openai
import pytest
import uvicorn

from inhouse.core.asgi import Receive, Scope, Send
from inhouse.core.principal import Principal
from inhouse.gateway import wire
from inhouse.gateway.call import Endpoint
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.openai import OpenAIApp
from inhouse.testing.upstream import ScriptedUpstream, chunk, event, fails, streams, whole

pytestmark = pytest.mark.conformance  # with the official client

SOURCE = '<source id="1" title="VPN" page="2">VPN passwords expire every 90 days. They have 12 characters.</source>'
MESSAGES = [
    {"role": "system", "content": SOURCE},
    {"role": "user", "content": "How often do VPN passwords expire?"},
]
SAID = "VPN passwords expire every 90 days. [1]"
HI = [{"role": "user", "content": "hi"}]


@asynccontextmanager
async def running(gateway: Gateway, principal: Principal | None, *, ping_s: float = 15.0) -> AsyncIterator[str]:
    """The app under a real server, behind the sign-in that our server does; gives the base URL."""
    app = OpenAIApp(gateway, ping_s=ping_s)

    async def signed_in(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "principal": principal}, receive, send)

    config = uvicorn.Config(signed_in, port=0, log_level="warning", lifespan="off")  # type: ignore[arg-type]
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/v1"
    await server.shutdown()


@pytest.fixture
async def url(gateway: Gateway, principal: Principal, upstream: ScriptedUpstream) -> AsyncIterator[str]:
    await gateway.connect(principal, "lab", upstream.url)
    async with running(gateway, principal) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=url, api_key="ih_test", max_retries=0) as client:
        yield client


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        yield client


async def test_the_official_client_lists_and_gets_models(client: openai.AsyncOpenAI):
    listed = [model.id async for model in await client.models.list()]

    assert listed == ["quote", "default", "told"]
    assert (await client.models.retrieve("told")).owned_by == "lab"


async def test_the_official_client_gets_an_answer(client: openai.AsyncOpenAI):
    answer = await client.chat.completions.create(model="quote", messages=MESSAGES)

    assert answer.choices[0].message.content.startswith(SAID)
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", "quote")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 20
    assert answer._request_id.startswith("req_")


async def test_the_official_client_streams_an_answer(client: openai.AsyncOpenAI):
    stream = await client.chat.completions.create(model="quote", messages=MESSAGES, stream=True)
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).startswith(SAID)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


async def test_usage_comes_in_one_more_chunk_when_asked_for(http: httpx.AsyncClient):
    body = {"model": "told", "messages": HI, "stream": True, "stream_options": {"include_usage": True}}
    *chunks, done = [line[6:] for line in (await http.post("chat/completions", json=body)).text.split("\n\n") if line]

    *earlier, last = [json.loads(chunk) for chunk in chunks]
    assert done == "[DONE]"
    assert all(chunk.get("usage") is None for chunk in earlier)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 18)


async def test_no_usage_is_streamed_unasked(http: httpx.AsyncClient):
    answer = await http.post("chat/completions", json={"model": "told", "messages": HI, "stream": True})

    assert "usage" not in answer.text
    assert '"choices":[]' not in answer.text


async def test_an_upstreams_answer_and_usage_are_passed_on(client: openai.AsyncOpenAI):
    answer = await client.chat.completions.create(model="default", messages=HI)

    assert answer.choices[0].message.content == "Hello from upstream."
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.completion_tokens) == ("told", 11, 7)


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_come_through(client: openai.AsyncOpenAI, upstream: ScriptedUpstream, stream: bool):
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"city":', '"Berlin"}')]
    parts = [chunk({"tool_calls": [piece]}) for piece in (call, *pieces)]
    function = {"name": "weather", "arguments": '{"city":"Berlin"}'}
    made = {"role": "assistant", "content": None, "tool_calls": [{**call, "function": function}]}
    answer = streams(*parts, chunk({}, "tool_calls"), event(b"[DONE]"))
    upstream.script(replace(answer, whole=whole(made, "tool_calls")))

    if stream:
        async with client.chat.completions.stream(model="told", messages=HI) as events:
            answer = await events.get_final_completion()
    else:
        answer = await client.chat.completions.create(model="told", messages=HI)

    [made] = answer.choices[0].message.tool_calls
    assert (made.id, made.function.name, made.function.arguments) == ("call_1", "weather", '{"city":"Berlin"}')
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_unknown_parameters_reach_the_upstream_and_overrides_do_not(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
):
    extra = {"enable_thinking": False, "api_base": "http://evil", "api_key": "theirs"}
    await client.chat.completions.create(model="told", messages=HI, max_completion_tokens=9, extra_body=extra)

    sent = upstream.chats[-1].json
    assert (sent["enable_thinking"], sent["max_completion_tokens"]) == (False, 9)
    assert not {"api_base", "api_key"} & sent.keys()


@pytest.mark.parametrize(("limit", "reason"), [(5, "length"), (500, "stop")])
async def test_quote_keeps_to_max_tokens(client: openai.AsyncOpenAI, limit: int, reason: str):
    answer = await client.chat.completions.create(model="quote", messages=MESSAGES, max_tokens=limit)

    assert answer.choices[0].finish_reason == reason
    assert answer.usage.completion_tokens <= limit


async def test_quote_ends_before_a_stop_string(client: openai.AsyncOpenAI):
    answer = await client.chat.completions.create(model="quote", messages=MESSAGES, stop=["every"])

    assert answer.choices[0].message.content == "VPN passwords expire "


async def test_an_unknown_model_is_the_clients_not_found(client: openai.AsyncOpenAI):
    with pytest.raises(openai.NotFoundError) as error:
        await client.chat.completions.create(model="gpt-9", messages=HI)

    assert (error.value.code, error.value.type) == ("model_not_found", "invalid_request_error")
    assert "quote, default, told" in error.value.message


async def test_without_a_key_the_client_sees_an_authentication_error(gateway: Gateway):
    async with running(gateway, None) as url, openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as error:
            await client.models.list()

    assert error.value.code == "invalid_api_key"


async def test_a_key_without_the_permission_is_denied(gateway: Gateway):
    reader = Principal("default", "user_bob", frozenset({"model:read"}))
    async with running(gateway, reader) as url, openai.AsyncOpenAI(base_url=url, api_key="x") as client:
        with pytest.raises(openai.PermissionDeniedError):
            await client.models.list()


async def test_a_busy_upstream_is_a_rate_limit_with_its_wait(client: openai.AsyncOpenAI, upstream: ScriptedUpstream):
    upstream.script(fails(429, retry_after="7"))

    with pytest.raises(openai.RateLimitError) as error:
        await client.chat.completions.create(model="told", messages=HI)

    assert error.value.response.headers["retry-after-ms"] == "7000"
    assert error.value.code == "rate_limit_exceeded"


async def test_a_client_does_not_retry_what_was_retried_here(url: str, upstream: ScriptedUpstream):
    upstream.script(*[fails(500, {"error": {"message": "sk-secret"}})] * 4)
    async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as error:
            await client.chat.completions.create(model="told", messages=HI)

    assert len(upstream.chats) == 4
    assert "sk-secret" not in error.value.response.text


async def test_an_upstreams_context_limit_keeps_its_code(client: openai.AsyncOpenAI, upstream: ScriptedUpstream):
    upstream.script(fails(400, {"error": {"message": "x", "code": "context_length_exceeded"}}))

    with pytest.raises(openai.BadRequestError) as error:
        await client.chat.completions.create(model="told", messages=HI)

    assert error.value.code == "context_length_exceeded"


async def test_a_failure_in_the_middle_of_a_stream_ends_it_with_an_error(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient, upstream: ScriptedUpstream
):
    upstream.script(*[streams(chunk({"content": "So"}), complete=False)] * 2)

    stream = await client.chat.completions.create(model="told", messages=HI, stream=True)
    with pytest.raises(openai.APIError, match="stopped in the middle"):
        [chunk async for chunk in stream]
    raw = await http.post("chat/completions", json={"model": "told", "messages": HI, "stream": True})

    assert raw.status_code == 200
    assert "[DONE]" not in raw.text


async def test_a_client_that_leaves_hangs_up_on_the_upstream(client: openai.AsyncOpenAI, upstream: ScriptedUpstream):
    upstream.script(streams(chunk({"content": "So"}), 30.0))

    stream = await client.chat.completions.create(model="told", messages=HI, stream=True)
    await anext(stream)
    await stream.close()

    async with asyncio.timeout(1):
        await upstream.hung_up.wait()


async def test_a_client_that_leaves_before_the_first_token_hangs_up_too(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
):
    upstream.script(streams(30.0))

    with pytest.raises(httpx.ReadTimeout):
        await http.post("chat/completions", json={"model": "told", "messages": HI}, timeout=0.2)

    async with asyncio.timeout(1):
        await upstream.hung_up.wait()


async def test_a_silent_stream_gets_comments_that_clients_skip(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    await gateway.connect(principal, "lab", upstream.url)
    late = streams(0.5, chunk({"content": "Late"}), 0.5, chunk({}, "stop"), event(b"[DONE]"))
    upstream.script(late, late)

    async with (
        running(gateway, principal, ping_s=0.1) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
        openai.AsyncOpenAI(base_url=url, api_key="ih_test", max_retries=0) as client,
    ):
        raw = (await http.post("chat/completions", json={"model": "told", "messages": HI, "stream": True})).text
        chunks = [one async for one in await client.chat.completions.create(model="told", messages=HI, stream=True)]

    before, _, after = raw.partition("Late")
    assert before.startswith(": ping\n\n")
    assert ": ping\n\n" in after
    assert raw.endswith("data: [DONE]\n\n")
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Late", None]


async def test_a_stream_that_fails_after_comments_ends_with_the_error(
    gateway: Gateway, principal: Principal, upstream: ScriptedUpstream
):
    await gateway.connect(principal, "lab", upstream.url)
    upstream.script(streams(0.5, event({"error": {"message": "sk-secret"}})))
    upstream.script(*[fails(400)] * 4)

    async with (
        running(gateway, principal, ping_s=0.1) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        raw = (await http.post("chat/completions", json={"model": "told", "messages": HI, "stream": True})).text

    *comments, error = [line for line in raw.split("\n\n") if line]
    assert set(comments) == {": ping"}
    assert json.loads(error.removeprefix("data: "))["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b"{}", "model"),
        (b'{"model": "quote"}', "messages"),
        (b'{"model": "quote", "messages": []}', "messages"),
        (b'{"model": "quote", "messages": ["hi"]}', "messages[0]"),
        (b'{"model": 3, "messages": [{}]}', "model"),
        (b'{"model": "quote", "messages": [{"role": "user"}], "max_tokens": 1000000000}', "max_tokens"),
        (b'{"model": "quote", "messages": [{"role": "user"}], "max_tokens": 0}', "max_tokens"),
        (b'{"model": "quote", "messages": [{"role": "user"}], "temperature": NaN}', None),
        (b'{"model": "quote", "messages": [{"role": "user"}], "temperature": 3}', "temperature"),
        (b'{"model": "quote", "messages": [{"role": "user"}], "n": 10000}', "n"),
        (b'{"model": "quote", "messages": [{"role": "user"}], "stop": ["a", "b", "c", "d", "e"]}', "stop"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_request_names_the_parameter(body: bytes, param: str | None):
    with pytest.raises(wire.InvalidRequest) as refused:
        wire.read(Endpoint.CHAT, body)

    status, answer = wire.error_body(refused.value)
    assert (status, answer["error"]["type"], answer["error"]["param"]) == (400, "invalid_request_error", param)


async def test_a_request_over_the_limit_is_too_large(http: httpx.AsyncClient):
    answer = await http.post("chat/completions", content=b"x" * ((4 << 20) + 1))

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


async def test_an_address_that_does_not_exist_is_told(http: httpx.AsyncClient):
    answer = await http.get("assistants")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


async def test_moderations_pass_the_policies_like_other_requests(gateway: Gateway):
    bound = Principal("default", "key_abc", frozenset({"*"}), key_id="abc", models=("gpt-*",))
    free = Principal("default", "key_def", frozenset({"*"}), key_id="def")

    async with running(gateway, free) as url, openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
        found = await client.moderations.create(input=["one", "two"])
    async with running(gateway, bound) as url, openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await client.moderations.create(input="one")

    assert [result.flagged for result in found.results] == [False, False]
    assert refused.value.code == "model_not_allowed"
