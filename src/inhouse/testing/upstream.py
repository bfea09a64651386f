"""A scripted OpenAI-compatible server on 127.0.0.1: says what it is told, also wrongly, and remembers what it heard."""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that the server received."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: each part is one write; a number is a pause in seconds.

    Without `complete` the connection is cut after the last part, as if the server had died.
    """

    parts: Sequence[bytes | float] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    whole: bytes = b""
    """What to say instead to who does not want a stream."""


def event(data: object) -> bytes:
    return b"data: %b\n\n" % (data if isinstance(data, bytes) else json.dumps(data).encode())


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
    """One event of a streamed answer."""
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "told",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }
    )


def says(text: str, *, usage: Mapping[str, int] | None = _USAGE, pause_s: float = 0.0) -> Reply:
    """A well-formed streamed answer, one word an event."""
    words = [chunk({"content": word}) for word in re.findall(r"\S+\s*", text)]
    last = [event({"object": "chat.completion.chunk", "choices": [], "usage": usage})] if usage else []
    parts = [chunk({"role": "assistant", "content": ""}), *words, chunk({}, "stop"), *last, event(b"[DONE]")]
    paced = [piece for part in parts for piece in (part, pause_s)]
    message = {"role": "assistant", "content": text, "refusal": None}
    return replace(streams(*(paced if pause_s else parts)), whole=whole(message, usage=usage))


def whole(
    message: Mapping[str, Any], finish_reason: str = "stop", *, usage: Mapping[str, int] | None = _USAGE
) -> bytes:
    """An answer that is not streamed."""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "told"}
    return json.dumps({**head, "choices": [choice], **({"usage": usage} if usage else {})}).encode()


def streams(*parts: bytes | float, complete: bool = True) -> Reply:
    """Any bytes, as an event stream."""
    return Reply(parts, content_type="text/event-stream", complete=complete)


def fails(status: int, body: object = None, **headers: str) -> Reply:
    """An error answer; underscores in header names stand for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply([content], status, headers={name.replace("_", "-"): value for name, value in headers.items()})


class ScriptedUpstream:
    """The server. Chat requests take the scripted replies in turn; without any it says hello."""

    def __init__(self, models: Sequence[str] = ("told",)) -> None:
        self.models = list(models)
        self.heard: list[Heard] = []
        self.hung_up = asyncio.Event()
        """Set once a client closed the connection before its answer was complete."""
        self._script: deque[Reply] = deque()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None, "The server is not running."
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    @property
    def chats(self) -> list[Heard]:
        return [heard for heard in self.heard if heard.path.endswith("/chat/completions")]

    def script(self, *replies: Reply) -> None:
        self._script.extend(replies)

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def close(self) -> None:
        assert self._server is not None, "The server is not running."
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            heard = await _read(reader)
            self.heard.append(heard)
            await self._answer(self._reply(heard), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()

    def _reply(self, heard: Heard) -> Reply:
        if heard.path.endswith("/v1/models"):
            listed = [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in self.models]
            return Reply([json.dumps({"object": "list", "data": listed}).encode()])
        if not heard.path.endswith("/completions"):
            return fails(404, {"error": {"message": "no such path", "type": "x", "param": None, "code": None}})
        reply = self._script.popleft() if self._script else says("Hello from upstream.")
        return Reply([reply.whole]) if reply.whole and not heard.json.get("stream") else reply

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = {"content-type": reply.content_type, "transfer-encoding": "chunked", "connection": "close"}
        lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{n}: {v}" for n, v in {**head, **reply.headers}.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        for part in reply.parts:
            if isinstance(part, bytes):
                writer.write(b"%x\r\n%b\r\n" % (len(part), part) if part else b"")
                await writer.drain()
            elif await _hangs_up(reader, within_s=part):
                self.hung_up.set()
                return
        if reply.complete:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


@asynccontextmanager
async def scripted_upstream(*replies: Reply, models: Sequence[str] = ("told",)) -> AsyncIterator[ScriptedUpstream]:
    """Run a scripted server for a while."""
    server = await ScriptedUpstream(models).start()
    server.script(*replies)
    try:
        yield server
    finally:
        await server.close()


async def _read(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(method, path, headers, body)


async def _hangs_up(reader: asyncio.StreamReader, *, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return not await reader.read(1)
    except TimeoutError:
        return False
