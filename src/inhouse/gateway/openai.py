"""The OpenAI surface, `/v1/models` and `/v1/chat/completions`: raw ASGI, for the path that must be fast."""

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from inhouse.core.asgi import ClientLeft, Header, Receive, Scope, Send, read_body, send_json, while_connected
from inhouse.core.errors import InhouseError, Invalid, NotFound, Unauthenticated
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.gateway import metrics
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.models import ChatDelta, ListedModel, Message

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_MODELS = "/v1/models"
_CHAT = "/v1/chat/completions"
_SSE = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


class InvalidApiKey(Unauthenticated):
    """The request carries no valid key."""


class UnknownUrl(NotFound):
    """The OpenAI API has no such address here."""


class InvalidRequest(Invalid):
    """The body is not a chat completion request that can be answered."""


class ChatFailed(InhouseError):
    """Something unexpected went wrong."""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


_Stop = Annotated[str, msgspec.Meta(max_length=1000)]
_TokenLimit = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]


class Body(msgspec.Struct):
    """The parameters that we understand; a model server may understand more."""

    model: str
    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: _TokenLimit | None = None
    max_completion_tokens: _TokenLimit | None = None
    stop: _Stop | Annotated[list[_Stop], msgspec.Meta(max_length=4)] | None = None
    user: str | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat completion request, read from its body."""

    model: str
    messages: list[Message]
    stream: bool
    include_usage: bool
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    user: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


class OpenAIApp:
    """Serves chat models to any OpenAI client. The server puts the `Principal` into `scope["principal"]`."""

    routes: tuple[tuple[str, str, str | None], ...] = (
        ("GET", _MODELS, "chat:run"),
        ("GET", f"{_MODELS}/{{id}}", "chat:run"),
        ("POST", _CHAT, "chat:run"),
    )

    def __init__(self, gateway: Gateway, *, max_body_bytes: int = 4 << 20) -> None:
        self._gateway = gateway
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send, scope.get("request_id") or new_id("req"))
        try:
            await self._route(scope, receive, answer)
        except ClientLeft:
            answer.status = "left"
        except InhouseError as error:
            await answer.fail(error)
        except Exception:  # the edge of the request
            _log.exception("A chat completion failed.", extra={"request_id": answer.request_id})
            await answer.fail(ChatFailed("The request failed.", hint="The server's log says why."))
        if scope["path"] == _CHAT:
            metrics.REQUESTS.labels(answer.model, answer.status).inc()

    async def _route(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        method, path = scope["method"], scope["path"]
        if (method, path) == ("POST", _CHAT):
            await self._chat(_caller(scope), receive, answer)
        elif (method, path) == ("GET", _MODELS):
            listed = self._gateway.models(_caller(scope))
            await answer.json({"object": "list", "data": [_listed(model) for model in listed]})
        elif method == "GET" and path.startswith(f"{_MODELS}/"):
            name = path.removeprefix(f"{_MODELS}/")
            await answer.json(_listed(self._gateway.model(_caller(scope), name)))
        else:
            raise UnknownUrl(f"Unknown request URL: {method} {path}.", hint=f"Known: {_CHAT}, {_MODELS}.")

    async def _chat(self, who: Principal, receive: Receive, answer: "_Answer") -> None:
        chat = parse(await read_body(receive, self._max_body_bytes))
        answer.model = self._gateway.model(who, chat.model).id
        started = time.perf_counter()
        with metrics.IN_FLIGHT.track_inprogress():
            async with while_connected(receive), aclosing(self._gateway.stream(who, chat)) as deltas:
                first = await anext(deltas)  # before the status line, so that a failure has its own
                metrics.FIRST_TOKEN_SECONDS.labels(answer.model).observe(time.perf_counter() - started)
                respond = _stream if chat.stream else _whole
                usage = await respond(chat, _then(first, deltas), answer)
        metrics.TOKENS.labels(answer.model, "in").inc(usage["prompt_tokens"])
        metrics.TOKENS.labels(answer.model, "out").inc(usage["completion_tokens"])


class _Answer:
    """The response to one request; knows whether a stream has begun, after which errors travel inside it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.model = ""
        self.status = "200"
        self._send = send
        self._head: list[Header] = [(b"x-request-id", request_id.encode())]
        self._streaming = False

    async def json(self, body: Mapping[str, Any]) -> None:
        await send_json(self._send, 200, _encode(body), self._head)

    async def event(self, data: bytes) -> None:
        if not self._streaming:
            self._streaming = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*_SSE, *self._head]})
        await self._send({"type": "http.response.body", "body": b"data: %b\n\n" % data, "more_body": True})

    async def end(self) -> None:
        await self.event(b"[DONE]")
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: InhouseError) -> None:
        status, body = openai_error(error)
        self.status = str(status)
        if self._streaming:  # no [DONE] after an error: clients take it for success
            await self.event(_encode(body))
            await self._send({"type": "http.response.body", "body": b""})
            return
        head = [*self._head, (b"x-should-retry", b"true" if status == 429 else b"false")]
        if wait_s := error.details.get("retry_after_s"):
            head.append((b"retry-after-ms", str(round(wait_s * 1000)).encode()))
        await send_json(self._send, status, _encode(body), head)


def openai_error(error: InhouseError) -> tuple[int, dict[str, Any]]:
    """Status and body of an error as OpenAI clients read it."""
    status = 400 if isinstance(error, Invalid) else error.status
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    code = "rate_limit_exceeded" if status == 429 else error.details.get("upstream_code") or error.code
    message = f"{error.message} {error.hint}".strip()
    return status, {"error": {"message": message, "type": kind, "param": error.details.get("param"), "code": code}}


def parse(body: bytes) -> Chat:
    """Read a request; parameters that we don't know are kept for the model server."""
    try:
        fields = msgspec.json.decode(body)
        known = msgspec.convert(fields, Body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise InvalidRequest(f"{reason}{f' in {path[:-1]!r}' if path else ''}.", param=path[:-1] or None) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.", hint="Send a JSON object.") from error
    return Chat(
        model=known.model,
        messages=list(known.messages),
        stream=bool(known.stream),
        include_usage=bool(known.stream_options and known.stream_options.include_usage),
        temperature=known.temperature,
        max_tokens=known.max_completion_tokens or known.max_tokens,
        stop=[known.stop] if isinstance(known.stop, str) else known.stop,
        user=known.user or "",
        extra={name: value for name, value in fields.items() if name not in Body.__struct_fields__},
    )


async def _whole(chat: Chat, deltas: AsyncGenerator[ChatDelta], answer: _Answer) -> Mapping[str, int]:
    texts: list[str] = []
    extra: dict[str, Any] = {}
    finish_reason, usage, model = "stop", {}, chat.model
    async for delta in deltas:
        texts.append(delta.text)
        _fold(extra, delta.extra)
        finish_reason = delta.finish_reason or finish_reason
        usage = delta.usage or usage
        model = delta.model or model
    content = "".join(texts)
    message = {"role": "assistant", "content": content or (None if "tool_calls" in extra else ""), "refusal": None}
    choice = {"index": 0, "message": message | extra, "logprobs": None, "finish_reason": finish_reason}
    await answer.json({**_head(chat.model, "chat.completion") | {"model": model}, "choices": [choice], "usage": usage})
    return usage


async def _stream(chat: Chat, deltas: AsyncGenerator[ChatDelta], answer: _Answer) -> Mapping[str, int]:
    usage: Mapping[str, int] = {}
    head = _head(chat.model, "chat.completion.chunk")
    no_usage = {"usage": None} if chat.include_usage else {}

    async def send(delta: Mapping[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await answer.event(_encode({**head, "choices": [choice], **no_usage}))

    finish_reason = "stop"
    opened = False
    async for delta in deltas:
        usage = delta.usage or usage
        finish_reason = delta.finish_reason or finish_reason
        if not opened:
            opened = True
            head["model"] = delta.model or chat.model
            await send({"role": "assistant", "content": ""})
        if delta.text or delta.extra:
            await send({**({"content": delta.text} if delta.text else {}), **delta.extra})
    await send({}, finish_reason)
    if chat.include_usage:
        await answer.event(_encode({**head, "choices": [], "usage": usage}))
    await answer.end()
    return usage


async def _then(first: ChatDelta, rest: AsyncGenerator[ChatDelta]) -> AsyncGenerator[ChatDelta]:
    yield first
    async for delta in rest:
        yield delta


def _fold(into: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Add the other fields of a delta to those of the whole message: texts grow, tool calls grow by index."""
    for name, value in fields.items():
        if name == "tool_calls" and isinstance(value, list):
            calls = into.setdefault(name, [])
            for call in value:
                _fold_call(calls, dict(call))
        elif isinstance(value, str):
            into[name] = into.get(name, "") + value
        else:
            into[name] = value


def _fold_call(calls: list[dict[str, Any]], call: dict[str, Any]) -> None:
    index = call.pop("index", len(calls))
    if index >= len(calls):
        calls.append(call)
        return
    piece = call.get("function") or {}
    function = calls[index].setdefault("function", {})
    function["arguments"] = function.get("arguments", "") + (piece.get("arguments") or "")


def _caller(scope: Scope) -> Principal:
    principal: Principal | None = scope.get("principal")
    if principal is None:
        raise InvalidApiKey("There is no valid API key.", hint="Send `Authorization: Bearer ih_…`.")
    principal.require("chat:run")
    return principal


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": model}


def _listed(model: ListedModel) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": int(model.created_at), "owned_by": model.owner}
