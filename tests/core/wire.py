"""The other side of a connection, byte by byte: a test takes each connection in turn and says what it answers."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from inhouse.core.fasthttp import Answer, FastHttp, Origin, Waits

PATIENCE_S = 5.0
PATIENT = Waits(PATIENCE_S, PATIENCE_S, PATIENCE_S)
KEY = b"authorization: Bearer sk-secret\r\n"


class Peer:
    """One connection, as the server has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """The head and the body of the next request."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            return head, await self._reader.readexactly(int(length[1]) if length else 0)

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            await self._writer.drain()

    async def answer(self, body: bytes = b"ok", extra: bytes = b"") -> bytes:
        """Take a request and answer it properly; what was asked is returned."""
        head, _ = await self.request()
        await self.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), extra, body))
        return head

    def hang_up(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Drop the connection as a dying machine does."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def is_left(self) -> bool:
        """Whether the client closes the connection; waits for it."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read() == b""
            except ConnectionError:
                return True


class Wire:
    """The server. `accept()` gives the connections in the order in which they came."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.accepted = 0

    async def accept(self) -> Peer:
        async with asyncio.timeout(PATIENCE_S):
            return await self._peers.get()

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        self._peers.put_nowait(Peer(reader, writer))

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    wire = Wire()
    server = await asyncio.start_server(wire.greet, "127.0.0.1", 0, ssl=tls)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.hang_up()
        await server.wait_closed()
        await asyncio.sleep(0)


class Caller:
    """The client together with the origin that it calls."""

    def __init__(self, http: FastHttp, origin: Origin) -> None:
        self.http = http
        self.origin = origin

    async def send(
        self, method: bytes = b"POST", target: bytes = b"/chat", body: bytes = b"{}", *, waits: Waits = PATIENT
    ) -> Answer:
        return await self.http.send(self.origin, method, target, KEY, body, waits=waits)

    def start(self, waits: Waits = PATIENT, method: bytes = b"POST") -> "asyncio.Task[tuple[int, bytes]]":
        """Send, and read all of it, while the test plays the other side."""

        async def run() -> tuple[int, bytes]:
            answer = await self.send(method, waits=waits)
            return answer.status, await answer.read(1 << 20)

        return asyncio.create_task(run())


@asynccontextmanager
async def calling(wire: Wire, **limits: Any) -> AsyncIterator[Caller]:
    http = FastHttp(lambda host, port: (host, port) == ("127.0.0.1", wire.port), **limits)
    try:
        yield Caller(http, http.origin(f"http://127.0.0.1:{wire.port}/v1"))
    finally:
        await http.close()
