"""Connections that keep us waiting, and answers that must not wait."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from inhouse.core.asgi import Receive, Scope, Send
from inhouse.server import door, protocol
from inhouse.server.app import listen
from inhouse.server.door import Door

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
    app = Door({"": echo, "/count": count}, Nobody(), hosts=frozenset({"localhost"}), limits={"": 1 << 20})
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol.HttpConnection, ws="none", lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    yield reader, writer
    writer.close()
    await writer.wait_closed()
    server.should_exit = True
    await serving
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
