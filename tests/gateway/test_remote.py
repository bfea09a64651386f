"""One model server, asked over a real connection. What is asked again, and when, is in `policies/test_retry.py`."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from inhouse.core.errors import InhouseError, TimedOut, Unavailable
from inhouse.core.fasthttp import FastHttp, Waits
from inhouse.core.principal import Principal
from inhouse.gateway import wire
from inhouse.gateway.call import Call, Endpoint
from inhouse.gateway.remote import (
    Remote,
    UpstreamBrokeOff,
    UpstreamBusy,
    UpstreamDown,
    UpstreamGarbled,
    UpstreamKeyRefused,
    UpstreamModelUnknown,
    UpstreamRefused,
    UpstreamTimedOut,
)
from inhouse.gateway.route import Route
from inhouse.testing.upstream import Reply, ScriptedUpstream, chunk, event, fails, says, scripted_upstream, streams

KEY = "sk-our-secret-key"
SOON = Waits(connect_s=1.0, head_s=0.3, idle_s=0.3)
LONG = Waits(connect_s=5.0, head_s=10.0, idle_s=10.0)


@pytest.fixture
async def http() -> AsyncIterator[FastHttp]:
    http = FastHttp(lambda host, port: host == "127.0.0.1")
    yield http
    await http.close()


@pytest.fixture
def remote(http: FastHttp, upstream: ScriptedUpstream) -> Remote:
    return Remote(http, "lab", upstream.url, key=KEY)


def asking(*, waits: Waits = LONG, total_s: float = 30.0, **parameters: Any) -> Call:
    body = {"model": "told", "messages": [{"role": "user", "content": "hi"}], "stream": True, **parameters}
    read, fields = wire.read(Endpoint.CHAT, msgspec.json.encode(body))
    who = Principal("default", "user_ann", frozenset({"*"}))
    call = Call(who, Endpoint.CHAT, "told", Route("told", ()), b"", fields, stream=bool(read.stream), waits=waits)
    call.deadline = asyncio.get_running_loop().time() + total_s
    return call


async def ask(remote: Remote, call: Call | None = None) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, which ends with [DONE]."""
    events = (await remote.send(call or asking(), "told")).events
    assert events is not None
    try:
        found = b""
        while part := await events.part():
            assert part.endswith(b"\n\n")
            found += part
    finally:
        events.abort()
    *chunks, done = wire.frames(found)
    assert done == b"[DONE]"
    return [json.loads(data) for data in chunks]


def text(chunks: list[dict[str, Any]]) -> str:
    return "".join(one["delta"].get("content") or "" for chunk in chunks for one in chunk["choices"])


async def test_an_answer_streams_as_it_is(remote: Remote, upstream: ScriptedUpstream):
    upstream.script(says("One two three."))

    chunks = await ask(remote)

    assert text(chunks) == "One two three."
    assert chunks[-1]["usage"] == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


async def test_the_request_carries_our_key_and_the_callers_parameters(remote: Remote, upstream: ScriptedUpstream):
    await ask(remote, asking(temperature=0.5, stop=["END"], top_p=0.9, api_base="http://evil", api_key="sk-mine"))

    [heard] = upstream.chats
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.json == {
        "model": "told",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "stop": ["END"],
        "top_p": 0.9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_whole_answer_passes_as_it_is(remote: Remote, upstream: ScriptedUpstream):
    answer = {"choices": [{"index": 0}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}, "odd": [1]}
    upstream.script(Reply([json.dumps(answer).encode()]))

    reply = await remote.send(asking(stream=False), "told")

    assert json.loads(reply.body) == answer
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 4)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([chunk({"content": "é"}), chunk({}, "stop")], id="no DONE"),
        pytest.param([b": ping\n\n", chunk({"content": "é"}), b": ping\n\n", chunk({}, "stop")], id="comments"),
        pytest.param([chunk({"content": "é"}).replace(b"\n", b"\r\n"), chunk({}, "stop")], id="CRLF"),
        pytest.param([bytes([b]) for b in chunk({"content": "é"}) + chunk({}, "stop")], id="byte by byte"),
        pytest.param([chunk({"content": None, "role": "assistant"}), chunk({"content": "é"}, "stop")], id="null"),
        pytest.param([chunk({"content": "é"}), chunk({}, "stop").removesuffix(b"\n\n")], id="no last blank line"),
        pytest.param([event({"choices": []}), chunk({"content": "é"}, "stop")], id="empty choices"),
    ],
)
async def test_unusual_framing_is_understood(remote: Remote, upstream: ScriptedUpstream, parts: list[bytes]):
    upstream.script(streams(*parts))

    assert text(await ask(remote)) == "é"
    assert len(upstream.chats) == 1


async def test_a_very_long_line_is_understood(remote: Remote, upstream: ScriptedUpstream):
    upstream.script(streams(chunk({"content": "x" * (1 << 20)}), chunk({}, "stop")))

    assert len(text(await ask(remote))) == 1 << 20


async def test_a_server_that_ignores_stream_is_understood(remote: Remote, upstream: ScriptedUpstream):
    message = {"role": "assistant", "content": "Whole.", "refusal": None}
    upstream.script(Reply([json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()]))

    chunks = await ask(remote)

    assert text(chunks) == "Whole."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(fails(500), id="500"),
        pytest.param(fails(503, b"<html>"), id="503"),
        pytest.param(fails(429, retry_after_ms="1"), id="429"),
        pytest.param(streams(complete=False), id="cut before the first byte"),
        pytest.param(streams(chunk({"role": "assistant"}), complete=False), id="cut before the first token"),
        pytest.param(streams(event({"error": {"message": "overloaded"}})), id="error event first"),
    ],
)
async def test_a_failure_before_the_first_token_can_be_asked_again(
    remote: Remote, upstream: ScriptedUpstream, failure: Reply
):
    upstream.script(failure)

    with pytest.raises(InhouseError) as told:
        await remote.send(asking(), "told")

    assert told.value.retryable


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (streams(chunk({"content": "So"}), complete=False), UpstreamBrokeOff),
        (streams(chunk({"content": "So"})), UpstreamBrokeOff),
        (streams(chunk({"content": "So"}), event({"error": {"message": KEY}})), UpstreamDown),
    ],
)
async def test_a_failure_after_the_first_token_ends_the_stream(
    remote: Remote, upstream: ScriptedUpstream, ending: Reply, error: type[InhouseError]
):
    upstream.script(ending)

    with pytest.raises(error) as failure:
        await ask(remote)

    assert len(upstream.chats) == 1
    assert KEY not in str(failure.value) + failure.value.hint


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, UpstreamRefused), (401, UpstreamKeyRefused), (403, UpstreamKeyRefused), (404, UpstreamModelUnknown)],
)
async def test_a_refusal_is_not_retried_and_never_repeats_what_the_upstream_said(
    remote: Remote, upstream: ScriptedUpstream, status: int, error: type[InhouseError]
):
    upstream.script(fails(status, {"error": {"message": f"Bad key {KEY} at 0x7f3a", "code": KEY}}))

    with pytest.raises(error) as refusal:
        await ask(remote)

    said = json.dumps(refusal.value.wire())
    assert KEY not in said
    assert "0x7f3a" not in said
    assert len(upstream.chats) == 1


async def test_a_telling_code_is_passed_on(remote: Remote, upstream: ScriptedUpstream):
    upstream.script(fails(400, {"error": {"message": "too long", "code": "context_length_exceeded"}}))

    with pytest.raises(UpstreamRefused) as refusal:
        await ask(remote)

    assert refusal.value.details["upstream_code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after": "30"}, 30),
        ({"retry_after_ms": "9000", "retry_after": "1"}, 9),
        ({"retry_after": "60.5"}, 60.5),
    ],
)
async def test_a_long_wait_is_handed_to_the_caller(
    remote: Remote, upstream: ScriptedUpstream, headers: dict[str, str], wait_s: float
):
    upstream.script(fails(429, **headers))

    with pytest.raises(UpstreamBusy) as busy:
        await ask(remote)

    assert busy.value.details["retry_after_s"] == wait_s


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"", b"[]", b'{"choices": 3}', b"\xff"])
async def test_an_answer_that_is_no_answer_says_so(remote: Remote, upstream: ScriptedUpstream, body: bytes):
    upstream.script(Reply([body], content_type="text/html"))

    with pytest.raises(UpstreamGarbled):
        await ask(remote)


async def test_truncated_gzip_is_an_error(remote: Remote, upstream: ScriptedUpstream):
    upstream.script(Reply([b"\x1f\x8bjunk"], headers={"content-encoding": "gzip"}))

    with pytest.raises(Unavailable):
        await ask(remote)


async def test_a_server_that_is_not_there_cannot_be_reached(http: FastHttp):
    with pytest.raises(UpstreamDown, match="'lab' cannot be reached"):
        await ask(Remote(http, "lab", "http://127.0.0.1:1/v1"))


@pytest.mark.parametrize(
    "slow", [Reply([5.0]), streams(5.0), streams(chunk({"role": "assistant"}), 5.0), streams(b": ping\n\n", 5.0)]
)
async def test_a_first_token_that_does_not_come_is_not_waited_for(
    remote: Remote, upstream: ScriptedUpstream, slow: Reply
):
    upstream.script(slow)

    with pytest.raises(UpstreamTimedOut):
        await ask(remote, asking(waits=SOON))


async def test_an_answer_that_never_ends_is_cut_off(remote: Remote, upstream: ScriptedUpstream):
    upstream.script(says("word " * 1000, pause_s=0.01))

    with pytest.raises(TimedOut):
        await ask(remote, asking(total_s=0.1))


@pytest.mark.parametrize(
    "silent",
    [streams(chunk({"content": "So"}), 5.0), Reply([b"{", 5.0]), Reply([b"{", 5.0], 500)],
    ids=["stream", "whole", "refusal"],
)
async def test_the_deadline_holds_while_nothing_comes(remote: Remote, upstream: ScriptedUpstream, silent: Reply):
    upstream.script(silent)

    async with asyncio.timeout(3):
        with pytest.raises(TimedOut):
            await ask(remote, asking(total_s=0.2))


async def test_leaving_hangs_up_on_the_upstream_at_once(remote: Remote, upstream: ScriptedUpstream):
    upstream.script(streams(chunk({"content": "So"}), 5.0))
    events = (await remote.send(asking(), "told")).events
    assert events is not None

    await events.part()
    events.abort()

    async with asyncio.timeout(1):
        await upstream.hung_up.wait()


@pytest.mark.parametrize("length", range(0, 170, 13))
async def test_a_connection_reset_anywhere_is_an_error(remote: Remote, length: int, upstream: ScriptedUpstream):
    whole = b"".join(part for part in says("Hi.").parts if isinstance(part, bytes))
    upstream.script(streams(whole[:length], complete=False))

    with pytest.raises(Unavailable):
        await ask(remote)


async def test_the_models_of_a_server_are_listed(http: FastHttp):
    async with scripted_upstream(models=["a", "b"]) as server:
        assert await Remote(http, "lab", server.url).models(LONG) == ["a", "b"]


async def test_names_that_no_model_can_have_are_left_out(http: FastHttp):
    async with scripted_upstream(models=["a", "b\nc", "\x1b[31m", "", "x" * 200, "y" * 201]) as server:
        assert await Remote(http, "lab", server.url).models(LONG) == ["a", "x" * 200]
