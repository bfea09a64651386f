"""A proxy on 127.0.0.1 that spoils connections on purpose, and a way to see what a client of the gateway gets."""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import uvicorn

from inhouse.core.asgi import Receive, Scope, Send
from inhouse.core.principal import Principal
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.openai import OpenAIApp
from inhouse.gateway.policy import Settings
from inhouse.gateway.schemas import RouteDocument

HI = [{"role": "user", "content": "hi"}]
_RST = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Line:
    """One connection from the gateway, and the way to the model server behind it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    port: int

    async def request(self) -> bytes:
        """The next request, as it came."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head + await self.reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)

    async def parts(self) -> AsyncGenerator[bytes]:
        """What the model server answers to the next request, as it comes."""
        request = await self.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            while part := await reader.read(1 << 16):
                yield part
        finally:
            writer.transport.abort()

    async def answer(self) -> bytes:
        """The whole of it."""
        async with aclosing(self.parts()) as parts:
            return b"".join([part async for part in parts])

    def reset(self) -> None:
        """Hang up as a machine does that has just lost all it knew."""
        own: socket.socket = self.writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        self.writer.transport.abort()


@dataclass
class Configured:
    """Settings and routes of the only workspace."""

    settings: dict[str, Settings] = field(default_factory=dict)
    documents: dict[str, RouteDocument] = field(default_factory=dict)

    def workspaces(self) -> tuple[str, ...]:
        return ()

    def policies(self, workspace_id: str) -> Mapping[str, Settings]:
        return self.settings

    def routes(self, workspace_id: str) -> Mapping[str, RouteDocument]:
        return self.documents


def document(
    *servers: str, fallbacks: tuple[str, ...] = (), arms: tuple[str, ...] = (), shadow: tuple[str, ...] = ()
) -> RouteDocument:
    """A model of these servers. With arms, one for each, it is an experiment."""
    named = zip(servers, arms or [""] * len(servers), strict=True)
    described = {
        "targets": [{"upstream": name, "model": "told", "arm": arm} for name, arm in named],
        "fallbacks": fallbacks,
        "shadow": [{"upstream": name, "model": "told", "share": 1.0} for name in shadow],
    }
    return RouteDocument.model_validate(described)


Fault = Callable[[Line], Awaitable[None]]


async def passes(line: Line) -> None:
    async with aclosing(line.parts()) as parts:
        async for part in parts:
            line.writer.write(part)
            await line.writer.drain()


async def black_hole(line: Line) -> None:
    """Take everything and say nothing."""
    while await line.reader.read(1 << 16):
        pass


async def hangs_up(line: Line) -> None:
    await line.request()


async def goes_away_later(line: Line) -> None:
    """Answer one request and keep the connection, as if for another; then say no more."""
    answer = await line.answer()
    line.writer.write(answer.replace(b"connection: close", b"connection: keep-alive"))
    await black_hole(line)


async def hangs_up_later(line: Line) -> None:
    """Answer one request, keep the connection, and hang up once the next request is there."""
    answer = await line.answer()
    line.writer.write(answer.replace(b"connection: close", b"connection: keep-alive"))
    await line.reader.read(1)
    line.reset()


def resets_after(count: int) -> Fault:
    """Pass so many bytes of the answer, then reset the connection."""

    async def fault(line: Line) -> None:
        answer = await line.answer()
        line.writer.write(answer[:count])
        await line.writer.drain()
        line.reset()

    return fault


def stops_after(count: int) -> Fault:
    """Pass so many bytes of the answer, and never the rest."""

    async def fault(line: Line) -> None:
        answer = await line.answer()
        line.writer.write(answer[:count])
        await black_hole(line)

    return fault


def trickles(size: int, pause_s: float = 0.0) -> Fault:
    """Pass the answer in small pieces."""

    async def fault(line: Line) -> None:
        answer = await line.answer()
        for at in range(0, len(answer), size):
            line.writer.write(answer[at : at + size])
            await line.writer.drain()
            await asyncio.sleep(pause_s)

    return fault


def instead(raw: bytes) -> Fault:
    """Say this to whatever is asked."""

    async def fault(line: Line) -> None:
        await line.request()
        line.writer.write(raw)

    return fault


class FaultProxy:
    """Stands before a model server. Each connection takes the next fault, and the last one stays; without one it
    passes everything.
    """

    def __init__(self, port: int) -> None:
        self.connections = 0
        self._port = port
        self._faults: deque[Fault] = deque()
        self._lines: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None, "The proxy is not running."
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def does(self, *faults: Fault) -> None:
        """From now on."""
        self._faults = deque(faults)
        self.connections = 0

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def close(self) -> None:
        """Refuse new connections and drop those there are."""
        assert self._server is not None, "The proxy is not running."
        self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        task.add_done_callback(self._lines.discard)
        self.connections += 1
        fault = passes
        if self._faults:
            fault = self._faults[0] if len(self._faults) == 1 else self._faults.popleft()
        try:
            await fault(Line(reader, writer, self._port))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side left, or the proxy closes
        finally:
            writer.close()


@asynccontextmanager
async def fault_proxy(url: str) -> AsyncIterator[FaultProxy]:
    """A proxy before the model server at this address."""
    port = httpx.URL(url).port
    assert port is not None
    proxy = await FaultProxy(port).start()
    try:
        yield proxy
    finally:
        await proxy.close()


@dataclass(slots=True)
class Seen:
    """What a client got."""

    status: int
    headers: httpx.Headers
    body: bytes
    events: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The words of the answer, as far as they came."""
        if not self.events:
            return json.loads(self.body)["choices"][0]["message"]["content"]
        deltas = [choice["delta"] for event in self.events for choice in event.get("choices", ())]
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error, in the place of the answer or at its end."""
        found = self.events or [json.loads(self.body)]
        return found[-1].get("error")

    @property
    def is_complete(self) -> bool:
        """Whether a streamed answer was brought to its end."""
        return self.body.endswith(b"data: [DONE]\n\n")


class Client:
    """Asks the gateway as any program would, without retries of its own."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, model: str = "told", *, stream: bool = True, **headers: str) -> Seen:
        body = {"model": model, "messages": HI, "stream": stream}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self._http.post("/chat/completions", json=body, headers=named)
        seen = Seen(answer.status_code, answer.headers, answer.content)
        if answer.headers["content-type"].startswith("text/event-stream"):
            blocks = [block.removeprefix(b"data: ") for block in answer.content.split(b"\n\n")[:-1]]
            seen.events = [json.loads(block) for block in blocks if block not in (b"[DONE]", b": ping")]
        return seen


@asynccontextmanager
async def client_of(gateway: Gateway, principal: Principal) -> AsyncIterator[Client]:
    """The gateway under a real server, and a client of it."""
    app = OpenAIApp(gateway)

    async def signed_in(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "principal": principal}, receive, send)

    config = uvicorn.Config(signed_in, port=0, log_level="warning", lifespan="off")  # type: ignore[arg-type]
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", trust_env=False, timeout=30) as http:
            yield Client(http)
    finally:
        for listening in server.servers:  # the server's own end would wait a tenth of a second each time
            listening.close()
            await listening.wait_closed()
