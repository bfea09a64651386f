"""Models of this process as backends: what they say, rendered as OpenAI's wire format."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from inhouse.core.errors import Invalid, TimedOut
from inhouse.core.ids import new_id
from inhouse.gateway import wire
from inhouse.gateway.call import Backend, Call, Endpoint, Reply, Usage

if TYPE_CHECKING:
    import numpy as np


class WrongKind(Invalid):
    """The model does something else than what is asked of it."""


class Piece(Protocol):
    """What a language model says next. `usage` comes with the last piece: tokens read and written."""

    @property
    def index(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...
    @property
    def logprobs(self) -> Sequence[Mapping[str, Any]] | None: ...
    @property
    def tool_calls(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def usage(self) -> tuple[int, int] | None: ...


class LanguageModel(Protocol):
    """Writes text; closing the generator ends its work at once."""

    def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece]: ...


class Encoder(Protocol):
    """Turns texts into vectors."""

    async def embed(
        self, texts: Sequence[str] | Sequence[Sequence[int]], *, dimensions: int | None = None
    ) -> "tuple[np.ndarray, int]": ...


class Reranker(Protocol):
    """Says how well documents answer a query."""

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]: ...


class TooSlow(TimedOut):
    """A model of this process takes too long."""


Open = Callable[[str, str], Awaitable[Any]]
"""Gives the model of a workspace by its name, loaded."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A model that runs in a server of its own on this machine."""

    backend: Backend
    model: str


class Local:
    """The models of this process, behind one name."""

    def __init__(self, name: str, workspace_id: str, open_model: Open) -> None:
        self.name = name
        self._workspace_id = workspace_id
        self._open = open_model

    async def send(self, call: Call, model: str) -> Reply:
        try:
            async with asyncio.timeout_at(call.deadline):
                return await self._reply(call, model)
        except TimeoutError as error:
            raise _too_slow(model) from error

    async def _reply(self, call: Call, model: str) -> Reply:
        opened = await self._open(self._workspace_id, model)
        if isinstance(opened, Beside):
            return await opened.backend.send(call, opened.model)
        request = {name: msgspec.json.decode(raw) for name, raw in call.fields.items()}
        if call.endpoint is Endpoint.EMBEDDINGS:
            return await _embed(_able(opened, "embed", model), request, model)
        if call.endpoint is Endpoint.RERANK:
            return await _rank(_able(opened, "rank", model), request, model)
        if not call.endpoint.generates:
            raise WrongKind(f"The model {model!r} cannot answer /v1/{call.endpoint}.", param="model")
        render = (_Chat if call.endpoint is Endpoint.CHAT else _Completion)(model, call.stream and call.include_usage)
        pieces = _able(opened, "generate", model).generate(_normal(request))
        if not call.stream:
            return await _whole(pieces, render)
        events = _Pieces(pieces, render, model, call.deadline)
        await events.open()
        return Reply(events=events, content_type=b"text/event-stream")


def _too_slow(model: str) -> TooSlow:
    return TooSlow(f"The model {model!r} did not answer in time.", hint="Ask for less.")


def _able(opened: Any, method: str, model: str) -> Any:
    if hasattr(opened, method):
        return opened
    what = {"embed": "makes no embeddings", "rank": "ranks no documents", "generate": "writes no text"}[method]
    raise WrongKind(f"The model {model!r} {what}.", hint="Ask another one: GET /v1/models.", param="model")


def _normal(request: dict[str, Any]) -> dict[str, Any]:
    """The request with one spelling for what the API lets clients spell in two ways."""
    limit = request.pop("max_completion_tokens", None) or request.get("max_tokens")
    stop = request.get("stop")
    return {**request, "max_tokens": limit, "stop": [stop] if isinstance(stop, str) else stop or []}


class _Render(Protocol):
    """Puts pieces into the shape of one endpoint."""

    def opening(self, index: int) -> dict[str, Any] | None: ...
    def event(self, piece: Piece) -> dict[str, Any] | None: ...
    def last(self, usage: Usage) -> dict[str, Any]: ...
    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]: ...


class _Chat:
    def __init__(self, model: str, counts: bool) -> None:
        self._head = wire.head(model, "chat.completion.chunk") | ({"usage": None} if counts else {})

    def opening(self, index: int) -> dict[str, Any]:
        return self._chunk(index, {"role": "assistant", "content": ""}, None, None)

    def event(self, piece: Piece) -> dict[str, Any] | None:
        delta: dict[str, Any] = {}
        if piece.text:
            delta["content"] = piece.text
        if piece.reasoning:
            delta["reasoning_content"] = piece.reasoning
        if piece.tool_calls:
            delta["tool_calls"] = list(piece.tool_calls)
        if not delta and piece.finish_reason is None and not piece.logprobs:
            return None
        return self._chunk(piece.index, delta, piece.logprobs, piece.finish_reason)

    def last(self, usage: Usage) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": usage.wire()}

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        indexes = sorted({piece.index for piece in pieces}) or [0]
        choices = [self._choice(index, [piece for piece in pieces if piece.index == index]) for index in indexes]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage.wire()}

    def _chunk(self, index: int, delta: dict[str, Any], logprobs: Any, reason: str | None) -> dict[str, Any]:
        found = {"content": list(logprobs), "refusal": None} if logprobs else None
        choice = {"index": index, "delta": delta, "logprobs": found, "finish_reason": reason}
        return {**self._head, "choices": [choice]}

    def _choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        reasoning = "".join(piece.reasoning for piece in pieces)
        calls = _joined_calls(call for piece in pieces for call in piece.tool_calls)
        logprobs = [item for piece in pieces for item in piece.logprobs or ()]
        message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
        if reasoning:
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = calls
        return {
            "index": index,
            "message": message,
            "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
            "finish_reason": next((piece.finish_reason for piece in pieces if piece.finish_reason), "stop"),
        }


class _Completion:
    def __init__(self, model: str, counts: bool) -> None:
        self._head = wire.head(model, "text_completion") | ({"usage": None} if counts else {})
        self._offsets: dict[int, int] = {}

    def opening(self, index: int) -> None:
        return None

    def event(self, piece: Piece) -> dict[str, Any] | None:
        if not piece.text and piece.finish_reason is None:
            return None
        return {**self._head, "choices": [self._choice(piece.index, [piece], piece.finish_reason)]}

    def last(self, usage: Usage) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": usage.wire()}

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        choices = [
            self._choice(index, mine, next((piece.finish_reason for piece in mine if piece.finish_reason), "stop"))
            for index in sorted({piece.index for piece in pieces}) or [0]
            for mine in [[piece for piece in pieces if piece.index == index]]
        ]
        return {**self._head, "choices": choices, "usage": usage.wire()}

    def _choice(self, index: int, pieces: Sequence[Piece], reason: str | None) -> dict[str, Any]:
        text = "".join(piece.reasoning + piece.text for piece in pieces)
        items = [item for piece in pieces for item in piece.logprobs or ()]
        return {"index": index, "text": text, "logprobs": self._legacy(index, items), "finish_reason": reason}

    def _legacy(self, index: int, items: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        if not items:
            return None
        offsets: list[int] = []
        for item in items:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(item["token"])
        tops = [{top["token"]: top["logprob"] for top in item.get("top_logprobs") or ()} for item in items]
        return {
            "tokens": [item["token"] for item in items],
            "token_logprobs": [item["logprob"] for item in items],
            "top_logprobs": tops if any(tops) else None,
            "text_offset": offsets,
        }


def _joined_calls(deltas: Any) -> list[dict[str, Any]]:
    """Tool calls out of their pieces: arguments grow, by index."""
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        call = calls.setdefault(delta.get("index", len(calls)), {"function": {"name": "", "arguments": ""}})
        call.update({name: delta[name] for name in ("id", "type") if delta.get(name)})
        function = delta.get("function") or {}
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""
    return [{"id": f"call_{new_id('t')}", "type": "function", **calls[index]} for index in sorted(calls)]


async def _whole(pieces: AsyncGenerator[Piece], render: _Render) -> Reply:
    said: list[Piece] = []
    try:
        async for piece in pieces:
            said.append(piece)
    finally:
        await pieces.aclose()
    usage = _usage(said)
    return Reply(wire.encode(render.whole(said, usage)), usage=usage)


class _Pieces:
    """A local model's stream as events; it is asked for the next piece when the reader wants it."""

    def __init__(self, pieces: AsyncGenerator[Piece], render: _Render, model: str, deadline: float) -> None:
        self._pieces = pieces
        self._render = render
        self._model = model
        self._deadline = deadline
        self._clock = asyncio.get_running_loop().time
        self._opened: set[int] = set()
        self._usage = Usage()
        self._ready = b""
        self._is_over = False

    async def open(self) -> None:
        self._ready = await self._next()

    async def part(self) -> bytes:
        ready, self._ready = self._ready, b""
        return ready or await self._next()

    def abort(self) -> None:
        """End the work. Where the generator is running, its own task is being cancelled and closes it."""
        if not self._is_over:
            self._is_over = True
            closing = asyncio.get_running_loop().create_task(_closed(self._pieces))
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)

    async def _next(self) -> bytes:
        while not self._is_over:
            try:
                piece = await anext(self._pieces, None)
                if self._clock() > self._deadline:
                    raise _too_slow(self._model)
            except BaseException:
                self._is_over = True
                await self._pieces.aclose()
                raise
            if piece is None:
                self._is_over = True
                return wire.frame(wire.encode(self._render.last(self._usage))) + wire.DONE
            if piece.usage is not None:
                self._usage = Usage(*piece.usage)
            if block := self._block(piece):
                return block
        return b""

    def _block(self, piece: Piece) -> bytes:
        chunks = [self._render.event(piece)]
        if chunks[0] is not None and piece.index not in self._opened:
            self._opened.add(piece.index)
            chunks.insert(0, self._render.opening(piece.index))
        return b"".join(wire.frame(wire.encode(chunk)) for chunk in chunks if chunk is not None)


_closing: set[asyncio.Task[None]] = set()


async def _closed(pieces: AsyncGenerator[Piece]) -> None:
    with suppress(RuntimeError):  # it is running: see `abort`
        await pieces.aclose()


def _usage(pieces: Sequence[Piece]) -> Usage:
    return next((Usage(*piece.usage) for piece in reversed(pieces) if piece.usage is not None), Usage())


async def _embed(encoder: Encoder, request: Mapping[str, Any], model: str) -> Reply:
    given = request["input"]
    texts = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    vectors, tokens = await encoder.embed(texts, dimensions=request.get("dimensions"))
    as_text = request.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if as_text else row.tolist(),
        }
        for index, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Reply(wire.encode({"object": "list", "data": data, "model": model, "usage": usage}), usage=Usage(tokens))


async def _rank(reranker: Reranker, request: Mapping[str, Any], model: str) -> Reply:
    documents = [one if isinstance(one, str) else str(one.get("text", "")) for one in request["documents"]]
    scores, tokens = await reranker.rank(request["query"], documents)
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[: request.get("top_n") or len(scores)]
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in order]
    if request.get("return_documents"):
        for result in results:
            result["document"] = {"text": documents[result["index"]]}
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"id": new_id("rerank"), "model": model, "results": results, "usage": usage, "created": int(time.time())}
    return Reply(wire.encode(body), usage=Usage(tokens))
