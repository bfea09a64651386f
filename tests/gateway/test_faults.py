"""What the clients of the gateway see when a model server fails, in every way that we know of."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.core.secrets import Secrets
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.policies.retry import RetrySettings
from inhouse.gateway.policies.timeouts import TimeoutsSettings
from inhouse.gateway.policy import Surroundings
from inhouse.testing.upstream import ScriptedUpstream, chunk, event, fails, says, scripted_upstream, streams, whole

from .faults import (
    Client,
    Configured,
    Fault,
    FaultProxy,
    black_hole,
    client_of,
    document,
    fault_proxy,
    goes_away_later,
    hangs_up,
    hangs_up_later,
    instead,
    passes,
    resets_after,
    stops_after,
    trickles,
)
from .policies.doubles import Clock

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n%b\r\n"
SSE = HEAD % (b"text/event-stream", b"")
PATIENT = RetrySettings(pause_s=0.001, budget=1.0, spare=1000)
ANSWER = "Hello from upstream."


@pytest.fixture
def clock() -> Clock:
    """For breakers and retry budgets; the gateway's waits take real time."""
    return Clock()


@pytest.fixture
def configured() -> Configured:
    times = TimeoutsSettings(connect_s=1, first_token_s=0.3, idle_s=0.3)
    return Configured({"retry": PATIENT, "timeouts": times})


@pytest.fixture
async def gateway(sqlite: Database, tmp_path: Path, configured: Configured, clock: Clock) -> AsyncIterator[Gateway]:
    surroundings = Surroundings(clock=clock)
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), configuration=configured, surroundings=surroundings)
    yield gateway
    await gateway.close()


@pytest.fixture
async def proxy(gateway: Gateway, principal: Principal, upstream: ScriptedUpstream) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(upstream.url) as proxy:
        await gateway.connect(principal, "lab", proxy.url)
        yield proxy


@pytest.fixture
async def client(gateway: Gateway, principal: Principal, proxy: FaultProxy) -> AsyncIterator[Client]:
    async with client_of(gateway, principal) as client:
        yield client


def raw(body: bytes, headers: bytes = b"", kind: bytes = b"application/json") -> bytes:
    return HEAD % (kind, headers) + body


BEFORE_THE_FIRST_TOKEN = {
    "hangs up": hangs_up,
    "resets at once": resets_after(0),
    "black hole": black_hole,
    "head, then nothing": stops_after(150),
    "200 with HTML": instead(raw(b"<html>Welcome</html>", kind=b"text/html")),
    "200 with nothing": instead(raw(b"")),
    "200 with half a document": instead(raw(b'{"choices": [')),
    "200 with an error object": instead(raw(b'{"error": {"message": "boom"}}')),
    "200 with an error event": instead(SSE + event({"error": {"message": "boom"}})),
    "truncated gzip": instead(raw(gzip.compress(b'{"choices": []}' * 9)[:30], b"content-encoding: gzip\r\n")),
    "junk for gzip": instead(raw(b"\x1f\x8bjunk", b"content-encoding: gzip\r\n")),
    "no HTTP": instead(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a stream of nothing": instead(SSE),
    "a length that is a lie": instead(raw(b"{}", b"content-length: 500\r\n")),
}


@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_TOKEN.values(), ids=BEFORE_THE_FIRST_TOKEN)
async def test_what_fails_before_the_first_token_is_asked_again(client: Client, proxy: FaultProxy, fault: Fault):
    proxy.does(fault, fault, passes)

    seen = await client.ask()

    assert (seen.status, seen.text, seen.is_complete) == (200, ANSWER, True)
    assert proxy.connections == 3


@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_TOKEN.values(), ids=BEFORE_THE_FIRST_TOKEN)
async def test_what_keeps_failing_is_given_up_after_three_retries(client: Client, proxy: FaultProxy, fault: Fault):
    proxy.does(fault)

    seen = await client.ask()

    assert seen.status in (503, 504)
    assert seen.error is not None
    assert "'lab'" in seen.error["message"]
    assert seen.headers["x-should-retry"] == "false"
    assert proxy.connections == 4


@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_server_errors_are_asked_again(
    client: Client, proxy: FaultProxy, upstream: ScriptedUpstream, status: int
):
    upstream.script(fails(status), fails(status, b"<html>"))

    assert (await client.ask(stream=False)).text == ANSWER
    assert proxy.connections - 1 == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_refusals_are_not(client: Client, upstream: ScriptedUpstream, status: int):
    upstream.script(fails(status, {"error": {"message": "sk-secret"}}))

    seen = await client.ask()

    assert seen.status >= 400
    assert b"sk-secret" not in seen.body
    assert len(upstream.chats) == 1


async def test_a_server_that_refuses_connections_is_given_up(client: Client, proxy: FaultProxy):
    await proxy.close()

    seen = await client.ask()

    assert seen.status == 503
    assert seen.error is not None
    assert "cannot be reached" in seen.error["message"]


async def test_a_whole_answer_is_waited_for_as_long_as_the_client_says(client: Client, proxy: FaultProxy):
    proxy.does(black_hole)

    seen = await client.ask(stream=False, x_request_timeout_ms="150")

    assert seen.status == 504
    assert proxy.connections == 1


async def test_a_kept_connection_that_died_in_silence_is_noticed(client: Client, proxy: FaultProxy):
    proxy.does(goes_away_later, passes)

    assert (await client.ask()).text == ANSWER
    assert (await client.ask()).text == ANSWER
    assert proxy.connections == 2


async def test_a_kept_connection_that_the_server_gave_up_costs_no_retry(
    client: Client, proxy: FaultProxy, configured: Configured, gateway: Gateway
):
    configured.settings["retry"] = RetrySettings(retries=0)
    gateway.refresh()
    proxy.does(hangs_up_later, passes)

    assert (await client.ask()).text == ANSWER
    assert (await client.ask()).text == ANSWER
    assert proxy.connections == 2


async def answer_of(upstream: ScriptedUpstream, *, stream: bool) -> bytes:
    """What the model server really sends, byte for byte."""
    port = int(upstream.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"stream": stream}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    answer = await reader.read()
    writer.close()
    return answer


SHORT = replace(
    streams(chunk({"content": "Hi."}), chunk({}, "stop"), event(b"[DONE]")),
    whole=whole({"role": "assistant", "content": "Hi."}, usage=None),
)


async def test_a_stream_that_is_reset_after_any_number_of_bytes(
    client: Client, proxy: FaultProxy, upstream: ScriptedUpstream
):
    upstream.script(SHORT)
    sent = await answer_of(upstream, stream=True)
    first_token = sent.index(b"\n\n") + 2
    finish = sent.index(b"stop")

    for count in range(len(sent)):
        upstream.script(SHORT, SHORT)
        proxy.does(resets_after(count), passes)
        seen = await client.ask()

        assert (seen.status, seen.text) == (200, "Hi."), count
        if count < first_token:  # asked again, and nobody noticed
            assert (seen.is_complete, proxy.connections) == (True, 2), count
        elif count < finish:  # what was said was said
            assert (seen.is_complete, proxy.connections) == (False, 1), count
            assert seen.error is not None, count
        else:  # all is said, but perhaps not that this is all
            assert proxy.connections == 1, count
            assert seen.is_complete == (seen.error is None), count


async def test_a_whole_answer_that_is_reset_after_any_number_of_bytes(
    client: Client, proxy: FaultProxy, upstream: ScriptedUpstream
):
    upstream.script(SHORT)
    sent = await answer_of(upstream, stream=False)

    for count in range(len(sent)):
        upstream.script(SHORT, SHORT)
        proxy.does(resets_after(count), passes)
        seen = await client.ask(stream=False)

        assert (seen.text, proxy.connections) == ("Hi.", 2), count


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)


BUSY = {
    "seconds": ({"retry_after": "60"}, 60),
    "parts of a second": ({"retry_after": "59.5"}, 59.5),
    "milliseconds": ({"retry_after_ms": "59000"}, 59),
    "milliseconds count more": ({"retry_after_ms": "59000", "retry_after": "5"}, 59),
    "a date": ({"retry_after": in_a_minute}, 60),
}


@pytest.mark.parametrize(("headers", "wait_s"), BUSY.values(), ids=BUSY)
async def test_a_long_wait_is_handed_to_the_client(
    client: Client, upstream: ScriptedUpstream, headers: dict[str, Any], wait_s: float
):
    upstream.script(fails(429, **{name: value() if callable(value) else value for name, value in headers.items()}))

    seen = await client.ask()

    assert seen.status == 429
    assert wait_s - 2 <= int(seen.headers["retry-after-ms"]) / 1000 <= wait_s
    assert len(upstream.chats) == 1


@pytest.mark.parametrize("headers", [{"retry_after_ms": "20"}, {"retry_after": "0.02"}, {"retry_after": "soon"}])
async def test_a_busy_server_is_asked_again_after_a_short_wait(
    client: Client, upstream: ScriptedUpstream, headers: dict[str, str]
):
    upstream.script(fails(429, **headers))

    assert (await client.ask()).text == ANSWER
    assert len(upstream.chats) == 2


MID_STREAM = {
    "cut": streams(chunk({"content": "So"}), complete=False),
    "no finish": streams(chunk({"content": "So"})),
    "error object": streams(chunk({"content": "So"}), 0.05, event({"error": {"message": "sk-secret", "code": "x"}})),
    "silence": streams(chunk({"content": "So"}), 5.0),
    "half an event": streams(chunk({"content": "So"}), b'data: {"choices": [', complete=False),
}


@pytest.mark.parametrize("fault", MID_STREAM.values(), ids=MID_STREAM)
async def test_nothing_is_asked_again_after_the_first_token(client: Client, upstream: ScriptedUpstream, fault: Any):
    upstream.script(fault)

    seen = await client.ask()

    assert (seen.status, seen.text, seen.is_complete) == (200, "So", False)
    assert seen.error is not None
    assert b"sk-secret" not in seen.body
    assert len(upstream.chats) == 1


GOOD = chunk({"content": "né 你好"}) + chunk({}, "stop") + event(b"[DONE]")
ODD = {
    "byte by byte": (streams(GOOD), trickles(1)),
    "split UTF-8": (streams(GOOD.replace(b"\\u00e9", "é".encode())), trickles(7)),
    "CRLF": (streams(GOOD.replace(b"\n", b"\r\n")), trickles(3)),
    "no [DONE]": (streams(GOOD.removesuffix(event(b"[DONE]"))), passes),
    "no last empty line": (streams(GOOD.removesuffix(b"\n\n")), passes),
    "comments": (streams(b": ping\n\n" + GOOD.replace(b"data: [", b": ping\n\ndata: [")), passes),
    "reset after [DONE]": (streams(GOOD, complete=False), passes),
}


@pytest.mark.parametrize(("reply", "fault"), ODD.values(), ids=ODD)
async def test_odd_streams_reach_the_client_whole(
    client: Client, proxy: FaultProxy, upstream: ScriptedUpstream, reply: Any, fault: Fault
):
    upstream.script(reply)
    proxy.does(fault)

    seen = await client.ask()

    assert (seen.text, seen.is_complete, seen.error) == ("né 你好", True, None)
    assert b"\r" not in seen.body
    assert proxy.connections == 1


async def test_a_line_of_a_megabyte_reaches_the_client(client: Client, upstream: ScriptedUpstream):
    upstream.script(streams(chunk({"content": "x" * (1 << 20)}), chunk({}, "stop"), event(b"[DONE]")))

    assert len((await client.ask()).text) == 1 << 20


async def test_a_slow_body_is_waited_for_while_something_comes(client: Client, upstream: ScriptedUpstream):
    upstream.script(says("one two three four five six", pause_s=0.1))  # in all, longer than any single wait

    seen = await client.ask()

    assert (seen.text, seen.is_complete) == ("one two three four five six", True)


class Servers:
    """Three model servers behind one model, each behind a proxy."""

    def __init__(self) -> None:
        self.upstreams: list[ScriptedUpstream] = []
        self.proxies: list[FaultProxy] = []

    @property
    def loads(self) -> list[int]:
        """Connections with a request that each of them got."""
        return [proxy.connections for proxy in self.proxies]


@pytest.fixture
async def servers(gateway: Gateway, principal: Principal, configured: Configured) -> AsyncIterator[Servers]:
    found = Servers()
    async with AsyncExitStack() as stack:
        for name in ("one", "two", "three"):
            upstream = await stack.enter_async_context(scripted_upstream())
            proxy = await stack.enter_async_context(fault_proxy(upstream.url))
            await gateway.connect(principal, name, proxy.url)
            proxy.does(passes)
            found.upstreams.append(upstream)
            found.proxies.append(proxy)
        configured.documents["three"] = document("one", "two", "three")
        gateway.refresh()
        yield found


@pytest.fixture
async def user(gateway: Gateway, principal: Principal, servers: Servers) -> AsyncIterator[Client]:
    async with client_of(gateway, principal) as client:
        yield client


@pytest.mark.parametrize("fault", [resets_after(0), instead(raw(b"<html>", kind=b"text/html"))], ids=["reset", "HTML"])
async def test_the_survivor_of_three_gets_no_more_than_the_clients_send(user: Client, servers: Servers, fault: Fault):
    servers.proxies[0].does(fault)
    servers.proxies[1].does(fault)

    seen = [await user.ask("three") for _ in range(150)]

    assert Counter(one.text for one in seen) == {ANSWER: 150}
    assert servers.loads[2] <= 150 * 1.2
    assert sum(servers.loads[:2]) <= 20


async def test_a_storm_is_not_made_worse_by_retries(
    user: Client, servers: Servers, configured: Configured, gateway: Gateway
):
    configured.settings["retry"] = RetrySettings(pause_s=0.001)
    gateway.refresh()
    for proxy in servers.proxies:
        proxy.does(resets_after(0))

    seen = [await user.ask("three") for _ in range(150)]

    assert {one.status for one in seen} <= {503, 504}  # on a busy machine a reset may come after the time is up
    assert sum(servers.loads) <= 150 * 1.2 + 12


async def test_a_server_that_is_well_again_gets_its_part_again(
    user: Client, servers: Servers, gateway: Gateway, clock: Clock
):
    breaker = gateway.chain("default")["breaker"]
    servers.proxies[0].does(resets_after(0))
    for _ in range(30):
        await user.ask("three")
    assert servers.loads[0] == 5  # failures in a row, and then no more

    clock.move(5)
    for _ in range(9):
        await user.ask("three")
    assert breaker.states() == {"one/told": "open"}  # the probe failed

    servers.proxies[0].does(passes)
    clock.move(9)
    for _ in range(9):
        await user.ask("three")
    assert servers.loads[0] == 0  # it stays open for twice as long

    clock.move(1)
    for _ in range(9):
        await user.ask("three")
    assert servers.loads[0] == 3
    assert breaker.states() == {"one/told": "closed"}


async def test_another_model_answers_while_one_is_away(
    user: Client, servers: Servers, configured: Configured, gateway: Gateway
):
    configured.documents["alone"] = document("one", fallbacks=("three",))
    configured.documents["three"] = document("two", "three")
    gateway.refresh()
    servers.proxies[0].does(resets_after(0))

    seen = await user.ask("alone")

    assert seen.text == ANSWER
    assert seen.headers["x-model-fallback"] == "three"
    assert servers.loads[0] == 4


async def test_another_model_takes_what_is_too_long(
    user: Client, servers: Servers, configured: Configured, gateway: Gateway
):
    configured.documents["alone"] = document("one", fallbacks=("three",))
    configured.documents["three"] = document("two", "three")
    gateway.refresh()
    servers.upstreams[0].script(fails(400, {"error": {"message": "no", "code": "context_length_exceeded"}}))

    seen = await user.ask("alone", stream=False)

    assert seen.text == ANSWER
    assert seen.headers["x-model-fallback"] == "three"
    assert servers.loads[0] == 1
