"""Connections that keep us waiting, and answers that must not wait."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn

from inhouse.core.asgi import Receive, Scope, Send
from inhouse.server import door, protocol
from inhouse.server.app import listen
from inhouse.server.door import Door

HOSTS = frozenset({"localhost"})
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Nobody:
    def by_key(self, text: str) -> None: ...
    def by_session(self, token: str) -> None: ...


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body, one part at a time."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    is_whole = False
    while not is_whole:
        message = await receive()
        is_whole = not message.get("more_body")
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": not is_whole})


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body, once it is there."""
    size, is_whole = 0, False
    while not is_whole:
        message = await receive()
        size, is_whole = size + len(message.get("body", b"")), not message.get("more_body")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


@pytest.fixture
async def connection(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Streams]:
    """A connection to a server with little patience."""
    monkeypatch.setattr(protocol, "MAX_HEAD_S", 0.2)
    monkeypatch.setattr(door, "GRACE_S", 0.2)
    async with serving(Door({"": echo, "/count": count}, Nobody(), hosts=HOSTS, limits={"": 1 << 20})) as streams:
        yield streams


@pytest.fixture
async def open_connection(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Streams]:
    """The same without a door, which lets nobody in with a large body."""
    monkeypatch.setattr(protocol, "MAX_HEAD_S", 0.2)
    monkeypatch.setattr(protocol, "STUCK_S", 0.2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (count if scope["path"] == "/count" else echo)(scope, receive, send)

    async with serving(app) as streams:
        yield streams


@asynccontextmanager
async def serving(app: object) -> AsyncIterator[Streams]:
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, http=protocol.HttpConnection, ws="none", lifespan="off", log_config=None)
    )
    running = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    yield reader, writer
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    server.should_exit = True
    await running
    listener.close()


async def test_a_connection_that_says_nothing_is_closed(connection: Streams) -> None:
    reader, _ = connection

    assert await asyncio.wait_for(reader.read(), 2) == b""


async def test_a_head_that_does_not_end_is_not_waited_for(connection: Streams) -> None:
    reader, writer = connection
    writer.write(b"GET / HTTP/1.1\r\nHost: local")

    assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_a_body_that_does_not_end_is_not_waited_for(connection: Streams) -> None:
    reader, writer = connection
    writer.write(b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc")

    answer = await asyncio.wait_for(reader.read(), 2)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"too_slow"' in answer


async def test_a_second_head_never_cuts_into_the_first_answer(connection: Streams) -> None:
    reader, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: local")

    answer = await asyncio.wait_for(reader.read(), 2)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"abc" in answer


async def test_a_patient_client_is_served_again_and_again(connection: Streams) -> None:
    reader, writer = connection
    for _ in range(3):
        writer.write(b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert await asyncio.wait_for(reader.readexactly(11), 2) == b"1\r\n3\r\n0\r\n\r\n"
        await asyncio.sleep(0.1)


def test_an_answer_in_two_pieces_is_sent_in_one_go() -> None:
    """asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer took 45 ms."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


BIG = b"x" * 100_000


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_answer_without_a_length_can_be_told_from_its_beginning(connection: Streams, version: str) -> None:
    reader, writer = connection
    writer.write(
        b"POST / HTTP/%b\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc" % version.encode()
    )

    head, _, body = (await asyncio.wait_for(reader.read(), 2)).partition(b"\r\n\r\n")

    assert (b"transfer-encoding: chunked" in head) == (version == "1.1")
    assert body == (b"3\r\nabc\r\n0\r\n\r\n" if version == "1.1" else b"abc")


async def test_a_large_body_is_no_part_of_the_next_head(open_connection: Streams) -> None:
    reader, writer = open_connection
    first = b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(BIG), BIG)
    writer.write(first + b"POST /count HTTP/1.1\r\nHost: loc")
    await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 2)

    writer.write(b"alhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab")

    assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 200 ")


async def test_what_follows_a_last_request_does_not_harm_its_answer(connection: Streams) -> None:
    reader, writer = connection
    writer.write(b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabcrubbish")

    answer = await asyncio.wait_for(reader.read(), 2)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"1\r\n3\r\n0\r\n\r\n")


async def test_a_head_request_gets_no_body(connection: Streams) -> None:
    reader, writer = connection
    writer.write(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert (await asyncio.wait_for(reader.read(), 2)).endswith(b"\r\n\r\n")


async def test_requests_are_answered_in_their_order_however_they_are_cut(connection: Streams) -> None:
    reader, writer = connection
    one = b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
    requests = b"".join(one % (size, b"x" * size) for size in (1, 2, 3, 4, 5))

    for start in range(0, len(requests), 7):
        writer.write(requests[start : start + 7])
        await writer.drain()
    answers = [await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 2) for _ in range(5)]

    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [
        b"1\r\n%d\r\n0\r\n\r\n" % n for n in range(1, 6)
    ]


async def test_a_client_that_asks_and_never_reads_is_cut_off(open_connection: Streams) -> None:
    _, writer = open_connection
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    one = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000

    async def ask_for_ever() -> None:
        while True:
            writer.write(one)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(ask_for_ever(), 20)
