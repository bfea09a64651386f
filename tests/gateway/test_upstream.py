import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from inhouse.core.errors import InhouseError, LimitExceeded, TimedOut, Unavailable
from inhouse.core.http import Http
from inhouse.gateway.models import ChatDelta
from inhouse.gateway.openai import Chat
from inhouse.gateway.upstream import (
    Patience,
    Upstream,
    UpstreamBrokeOff,
    UpstreamBusy,
    UpstreamDown,
    UpstreamGarbled,
    UpstreamKeyRefused,
    UpstreamModelUnknown,
    UpstreamRefused,
    UpstreamTimedOut,
)
from inhouse.testing.upstream import Reply, ScriptedUpstream, chunk, event, fails, says, scripted_upstream, streams

KEY = "sk-our-secret-key"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http(lambda host, port: host == "127.0.0.1")
    yield http
    await http.close()


@pytest.fixture
def client(http: Http, upstream: ScriptedUpstream) -> Upstream:
    return Upstream(http, "lab", upstream.url, key=KEY, pause_s=0.001)


async def ask(client: Upstream, **parameters: Any) -> list[ChatDelta]:
    chat = Chat("told", [{"role": "user", "content": "hi"}], stream=True, include_usage=True, **parameters)
    return [delta async for delta in client.stream("told", chat)]


def text(deltas: list[ChatDelta]) -> str:
    return "".join(delta.text for delta in deltas)


async def test_an_answer_streams_with_its_usage_and_reason(client: Upstream, upstream: ScriptedUpstream):
    upstream.script(says("One two three."))

    deltas = await ask(client)

    assert [delta.text for delta in deltas if delta.text] == ["One ", "two ", "three."]
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert deltas[-1].usage == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


async def test_the_request_carries_our_key_and_the_callers_parameters(client: Upstream, upstream: ScriptedUpstream):
    await ask(client, temperature=0.5, stop=["END"], extra={"top_p": 0.9, "api_base": "http://evil", "n": 4})

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
async def test_unusual_framing_is_understood(client: Upstream, upstream: ScriptedUpstream, parts: list[bytes]):
    upstream.script(streams(*parts))

    assert text(await ask(client)) == "é"
    assert len(upstream.chats) == 1


async def test_a_very_long_line_is_understood(client: Upstream, upstream: ScriptedUpstream):
    upstream.script(streams(chunk({"content": "x" * (1 << 20)}), chunk({}, "stop")))

    assert len(text(await ask(client))) == 1 << 20


async def test_a_server_that_ignores_stream_is_understood(client: Upstream, upstream: ScriptedUpstream):
    message = {"role": "assistant", "content": "Whole.", "refusal": None}
    upstream.script(Reply([json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()]))

    [delta] = await ask(client)

    assert (delta.text, delta.finish_reason, delta.extra) == ("Whole.", "stop", {})


async def test_other_fields_of_a_delta_are_kept(client: Upstream, upstream: ScriptedUpstream):
    upstream.script(streams(chunk({"reasoning_content": "Hm."}), chunk({"content": "Yes."}, "stop")))

    assert (await ask(client))[0].extra == {"reasoning_content": "Hm."}


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
async def test_a_failure_before_the_first_token_is_retried(
    client: Upstream, upstream: ScriptedUpstream, failure: Reply
):
    upstream.script(failure, failure, says("At last."))

    assert text(await ask(client)) == "At last."
    assert len(upstream.chats) == 3


async def test_it_gives_up_after_three_retries(client: Upstream, upstream: ScriptedUpstream):
    upstream.script(*[fails(500)] * 5)

    with pytest.raises(UpstreamDown, match="'lab' failed with status 500"):
        await ask(client)

    assert len(upstream.chats) == 4


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (streams(chunk({"content": "So"}), complete=False), UpstreamDown),
        (streams(chunk({"content": "So"})), UpstreamBrokeOff),
        (streams(chunk({"content": "So"}), event({"error": {"message": KEY}})), UpstreamDown),
        (streams(chunk({"content": "So"}), event(b"{")), UpstreamGarbled),
    ],
)
async def test_nothing_is_retried_after_the_first_token(
    client: Upstream, upstream: ScriptedUpstream, ending: Reply, error: type[InhouseError]
):
    upstream.script(ending)

    with pytest.raises(error) as failure:
        await ask(client)

    assert len(upstream.chats) == 1
    assert KEY not in str(failure.value) + failure.value.hint


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, UpstreamRefused), (401, UpstreamKeyRefused), (403, UpstreamKeyRefused), (404, UpstreamModelUnknown)],
)
async def test_a_refusal_is_not_retried_and_never_repeats_what_the_upstream_said(
    client: Upstream, upstream: ScriptedUpstream, status: int, error: type[InhouseError]
):
    upstream.script(fails(status, {"error": {"message": f"Bad key {KEY} at 0x7f3a", "code": KEY}}))

    with pytest.raises(error) as refusal:
        await ask(client)

    said = json.dumps(refusal.value.wire())
    assert KEY not in said
    assert "0x7f3a" not in said
    assert len(upstream.chats) == 1


async def test_a_telling_code_is_passed_on(client: Upstream, upstream: ScriptedUpstream):
    upstream.script(fails(400, {"error": {"message": "too long", "code": "context_length_exceeded"}}))

    with pytest.raises(UpstreamRefused) as refusal:
        await ask(client)

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
    client: Upstream, upstream: ScriptedUpstream, headers: dict[str, str], wait_s: float
):
    upstream.script(fails(429, **headers))

    with pytest.raises(UpstreamBusy) as busy:
        await ask(client)

    assert busy.value.details["retry_after_s"] == wait_s


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"", b"[]", b'{"choices": 3}', b"\xff"])
async def test_an_answer_that_is_no_answer_says_so(client: Upstream, upstream: ScriptedUpstream, body: bytes):
    upstream.script(*[Reply([body], content_type="text/html")] * 4)

    with pytest.raises(Unavailable):
        await ask(client)


async def test_truncated_gzip_is_an_error(client: Upstream, upstream: ScriptedUpstream):
    upstream.script(*[Reply([b"\x1f\x8bjunk"], headers={"content-encoding": "gzip"})] * 4)

    with pytest.raises(UpstreamDown):
        await ask(client)


async def test_a_server_that_is_not_there_cannot_be_reached(http: Http):
    with pytest.raises(UpstreamDown, match="'lab' cannot be reached"):
        await ask(Upstream(http, "lab", "http://127.0.0.1:1/v1", pause_s=0.001))


@pytest.mark.parametrize(
    "slow", [Reply([5.0]), streams(5.0), streams(chunk({"role": "assistant"}), 5.0), streams(b": ping\n\n", 5.0)]
)
async def test_a_first_token_that_does_not_come_is_not_waited_for(http: Http, upstream: ScriptedUpstream, slow: Reply):
    upstream.script(slow)
    client = Upstream(http, "lab", upstream.url, patience=Patience(first_token_s=0.3))

    with pytest.raises(UpstreamTimedOut):
        await ask(client)

    assert len(upstream.chats) == 1


async def test_an_answer_that_never_ends_is_cut_off(http: Http, upstream: ScriptedUpstream):
    upstream.script(says("word " * 1000, pause_s=0.01))
    client = Upstream(http, "lab", upstream.url, patience=Patience(total_s=0.1))

    with pytest.raises(TimedOut):
        await ask(client)


async def test_leaving_hangs_up_on_the_upstream_at_once(client: Upstream, upstream: ScriptedUpstream):
    upstream.script(streams(chunk({"content": "So"}), 5.0))
    chat = Chat("told", [], stream=True, include_usage=False)
    async with aclosing(client.stream("told", chat)) as deltas:
        await anext(deltas)

    async with asyncio.timeout(1):
        await upstream.hung_up.wait()


@pytest.mark.parametrize("length", range(0, 170, 13))
async def test_a_connection_reset_anywhere_is_an_error_or_retried(http: Http, length: int, upstream: ScriptedUpstream):
    whole = b"".join(part for part in says("Hi.").parts if isinstance(part, bytes))
    upstream.script(*[streams(whole[:length], complete=False)] * 4)
    client = Upstream(http, "lab", upstream.url, pause_s=0.0)

    with pytest.raises((Unavailable, LimitExceeded)):
        await ask(client)


async def test_the_models_of_a_server_are_listed(http: Http):
    async with scripted_upstream(models=["a", "b"]) as server:
        assert await Upstream(http, "lab", server.url).models() == ["a", "b"]
