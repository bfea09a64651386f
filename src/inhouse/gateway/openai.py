"""The OpenAI surface under `/v1`: raw ASGI, for the path that must be fast."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from inhouse.core.asgi import (
    WHOLE,
    BodyTooLarge,
    ClientLeft,
    Header,
    Receive,
    Scope,
    Send,
    WhileConnected,
    WholeRequest,
    read_body,
    send_json,
)
from inhouse.core.errors import InhouseError, Invalid, NotFound, Unauthenticated
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.gateway import metrics, wire
from inhouse.gateway.call import Call, Endpoint, Events
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.multipart import model_of
from inhouse.gateway.route import Route

_log = logging.getLogger(__name__)
_PERMISSION = "chat:run"
_PREFIX = "/v1/"
_MODELS = "/v1/models"
_ENDPOINTS = {f"{_PREFIX}{endpoint.value}": endpoint for endpoint in Endpoint}
_MODERATIONS = Endpoint.MODERATIONS
_UPLOADS = (Endpoint.TRANSCRIPTIONS, Endpoint.TRANSLATIONS)
_SSE: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
]
_PING = b": ping\n\n"
PING_S = 15.0
"""After so many seconds of silence a stream gets a comment, so that nobody on the way takes it for dead."""


class InvalidApiKey(Unauthenticated):
    """The request carries no valid key."""


class UnknownUrl(NotFound):
    """The OpenAI API has no such address here."""


class WrongContentType(Invalid):
    """The body is of another type than the address takes."""


class RequestFailed(InhouseError):
    """Something unexpected went wrong."""


class OpenAIApp:
    """Serves models to any OpenAI client. The server puts the `Principal` into `scope["principal"]`.

    Text may have up to `max_body_bytes`, files and requests with images in them up to `max_upload_bytes`.
    """

    routes: tuple[tuple[str, str, str | None], ...] = (
        ("GET", _MODELS, _PERMISSION),
        ("GET", f"{_MODELS}/{{id}}", _PERMISSION),
        *(("POST", path, _PERMISSION) for path in _ENDPOINTS),
    )

    def __init__(
        self,
        gateway: Gateway,
        *,
        max_body_bytes: int = 4 << 20,
        max_upload_bytes: int = 32 << 20,
        ping_s: float = PING_S,
    ) -> None:
        self._gateway = gateway
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = max_upload_bytes
        self._ping_s = ping_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send, scope.get("request_id") or new_id("req"), scope.get(WHOLE))
        try:
            endpoint = _ENDPOINTS.get(scope["path"])
            if endpoint is None or scope["method"] != "POST":
                await self._list(scope, answer)
                return
            who = _caller(scope)
            body = await read_body(receive, self._max_upload_bytes) if answer.asked is None else answer.asked.body()
            call = answer.call = self._call(who, endpoint, scope, body)
            call.request_id = answer.request_id
            with WhileConnected(scope, receive):
                if call.stream:
                    await self._stream(call, answer)
                else:
                    reply = await self._gateway.answer(call)
                    if not answer.at_once(reply.body, reply.content_type):
                        await answer.whole(reply.body, reply.content_type)
        except ClientLeft:
            pass
        except InhouseError as error:
            if answer.call is None:
                metrics.refused(wire.status_of(error))
            await answer.fail(error)
        except Exception:  # the edge of the request
            _log.exception("A request to a model failed.", extra={"request_id": answer.request_id})
            await answer.fail(RequestFailed("The request failed.", hint="The server's log says why."))

    async def _stream(self, call: Call, answer: "_Answer") -> None:
        with _Pings(answer, self._ping_s):
            reply = await self._gateway.answer(call)
            assert reply.events is not None
            await answer.stream(reply.events)

    def _call(self, who: Principal, endpoint: Endpoint, scope: Scope, body: bytes) -> Call:
        if len(body) > self._max_body_bytes and endpoint not in _UPLOADS and b";base64," not in body:
            raise BodyTooLarge(
                f"The request is larger than {self._max_body_bytes / 1_000_000:g} MB.", hint="Send less text."
            )
        return self._read(who, endpoint, body, _Headers(scope["headers"]))

    def _read(self, who: Principal, endpoint: Endpoint, body: bytes, headers: "_Headers") -> Call:
        if endpoint in _UPLOADS:
            model = model_of(body, headers.content_type)
            call = Call(who, endpoint, model, self._gateway.route(who, model), body, content_type=headers.content_type)
        else:
            if headers.content_type and not headers.content_type.lower().startswith(b"application/json"):
                kind = headers.content_type[:80].decode("latin-1")
                raise WrongContentType(f"The body is {kind!r}.", hint="Send content-type: application/json.")
            known, fields = wire.read(endpoint, body)
            if endpoint is _MODERATIONS:
                route = self._gateway.moderation(who)
                return Call(who, endpoint, route.name, route, body, fields, priority=who.priority)
            call = Call(who, endpoint, known.model, self._gateway.route(who, known.model), body, fields)
            if endpoint.generates:
                call.stream = known.stream is True
                call.include_usage = bool(known.stream_options and known.stream_options.include_usage)
                call.max_tokens = max(known.max_completion_tokens or 0, known.max_tokens or 0)
                call.choices = (known.n or 1) * _prompts(known)
                call.session = known.user or ""
        call.session = headers.session or call.session
        call.priority = who.priority
        call.timeout_s = headers.timeout_s
        if headers.traceparent:
            call.notes["traceparent"] = headers.traceparent
        if headers.cache_control:
            call.notes["cache_control"] = headers.cache_control
        return call

    async def _list(self, scope: Scope, answer: "_Answer") -> None:
        method, path = scope["method"], scope["path"]
        if method == "GET" and path == _MODELS:
            listed = [_listed(route) for route in self._gateway.usable(_caller(scope))]
            await answer.json({"object": "list", "data": listed})
        elif method == "GET" and path.startswith(f"{_MODELS}/"):
            route = self._gateway.usable_route(_caller(scope), path.removeprefix(f"{_MODELS}/"))
            await answer.json(_listed(route))
        else:
            raise UnknownUrl(
                f"Unknown request URL: {method} {path}.", hint=f"Known: {', '.join(_ENDPOINTS)}, {_MODELS}."
            )


class _Headers:
    """The request's headers that mean something here."""

    __slots__ = ("cache_control", "content_type", "session", "timeout_s", "traceparent")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.content_type = self.cache_control = self.traceparent = b""
        self.session = ""
        self.timeout_s = 0.0
        for name, value in headers:
            if name == b"content-type":
                self.content_type = value
            elif name == b"cache-control":
                self.cache_control = value
            elif name == b"traceparent" and len(value) <= 128 and value.isascii():
                self.traceparent = value
            elif name == b"x-session-id":
                self.session = value[:200].decode("latin-1")
            elif name == b"x-request-timeout-ms" and value.isdigit() and len(value) <= 9:
                self.timeout_s = int(value) / 1000


class _Answer:
    """The response to one request; knows whether a stream has begun, after which errors travel inside it."""

    def __init__(self, send: Send, request_id: str, asked: WholeRequest | None) -> None:
        self.asked = asked
        self.request_id = request_id
        self.call: Call | None = None
        self.silent_since = 0.0
        self._send = send
        self._streaming = False

    async def json(self, body: Mapping[str, Any]) -> None:
        await self.whole(wire.encode(body), b"application/json")

    def at_once(self, body: bytes, content_type: bytes) -> bool:
        """Answer in one go; False where the server cannot, or the client is slow."""
        if self.asked is None:
            return False
        lines = b"" if self.call is None else self.call.lines
        return self.asked.answer(200, [(b"content-type", content_type), *self._pairs()], body, lines)

    async def whole(self, body: bytes, content_type: bytes) -> None:
        head = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *self._head()]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, events: Events) -> None:
        now = asyncio.get_running_loop().time
        send = self._send
        try:
            while block := await events.part():
                if not self._streaming:
                    await self._begin()
                await send({"type": "http.response.body", "body": block, "more_body": True})
                self.silent_since = now()
        finally:
            events.abort()
        if not self._streaming:
            await self._begin()
        await send({"type": "http.response.body", "body": b""})

    async def ping(self) -> None:
        if not self._streaming:
            await self._begin()
        await self._send({"type": "http.response.body", "body": _PING, "more_body": True})

    async def fail(self, error: InhouseError) -> None:
        status, body = wire.error_body(error)
        if self._streaming:  # no [DONE] after an error: clients take it for success
            await self._send({"type": "http.response.body", "body": wire.frame(wire.encode(body))})
            return
        head = [*self._head(), *wire.error_headers(error, status)]
        await send_json(self._send, status, wire.encode(body), head)

    async def _begin(self) -> None:
        self._streaming = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_SSE, *self._head()]})

    def _head(self) -> list[Header]:
        head = self._pairs()
        if self.call is not None and self.call.lines:
            head += [
                (name, value) for name, _, value in (line.partition(b": ") for line in self.call.lines.splitlines())
            ]
        return head

    def _pairs(self) -> list[Header]:
        head: list[Header] = [(b"x-request-id", self.request_id.encode())]
        if self.call is not None:
            head += self.call.headers
            if self.call.target is not None:
                head.append((b"x-inhouse-target", self.call.target.id.encode("ascii", "replace")))
        return head


class _Pings:
    """Keeps a silent stream alive, from before its first event to its end."""

    def __init__(self, answer: _Answer, every_s: float) -> None:
        self._answer = answer
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._pinging: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._answer.silent_since = self._loop.time()
        self._timer = self._loop.call_later(self._every_s, self._look)

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        silent_s = now - self._answer.silent_since
        if silent_s >= self._every_s:
            silent_s = 0.0
            self._answer.silent_since = now
            if self._pinging is None or self._pinging.done():  # else the client does not even read the last one
                self._pinging = self._loop.create_task(self._answer.ping())
        self._timer = self._loop.call_later(self._every_s - silent_s, self._look)


def openai_error(error: InhouseError) -> tuple[int, dict[str, Any]]:
    """Status and body of an error as OpenAI clients read it."""
    return wire.error_body(error)


def _caller(scope: Scope) -> Principal:
    principal: Principal | None = scope.get("principal")
    if principal is None:
        raise InvalidApiKey("There is no valid API key.", hint="Send `Authorization: Bearer ih_…`.")
    if _PERMISSION not in principal.scopes:  # most have just this one
        principal.require(_PERMISSION)
    return principal


def _listed(route: Route) -> dict[str, Any]:
    return {"id": route.name, "object": "model", "created": int(route.created_at), "owned_by": route.owner}


def _prompts(known: Any) -> int:
    """How many prompts are answered: `/v1/completions` takes a list of them."""
    prompt = getattr(known, "prompt", None)
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
