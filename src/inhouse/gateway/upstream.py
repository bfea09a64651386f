"""Any OpenAI-compatible server as a source of chat models."""

import asyncio
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from inhouse.core.errors import (
    InhouseError,
    Invalid,
    LimitExceeded,
    Misconfigured,
    NotFound,
    TimedOut,
    TooLarge,
    Unavailable,
)
from inhouse.core.http import EndpointTimedOut, EndpointUnreachable, Http, Timeouts
from inhouse.gateway.models import ChatDelta, ChatRequest, usage
from inhouse.gateway.sse import SseDecoder

_RETRIES = 3
_LONGEST_PAUSE_S = 5.0
_MAX_ANSWER_BYTES = 32 << 20
_MAX_REFUSAL_BYTES = 64 << 10

# Codes that tell clients something and cannot carry a secret. Upstream messages are never passed on: some echo keys.
_TELLING_CODES = frozenset(
    {
        "content_filter",
        "context_length_exceeded",
        "invalid_type",
        "invalid_value",
        "missing_required_parameter",
        "string_above_max_length",
        "unsupported_parameter",
        "unsupported_value",
    }
)
# Parameters that we set ourselves, and those with which a request could redirect or re-key an upstream call.
_OURS = frozenset({"model", "messages", "stream", "stream_options", "n"}) | frozenset(
    {"api_base", "api_key", "api_version", "base_url", "custom_llm_provider", "extra_body", "extra_headers", "headers"}
)
_DONE = b"[DONE]"
_NOTHING = ChatDelta()


class UpstreamDown(Unavailable):
    """The model server fails or cannot be reached."""


class UpstreamGarbled(Unavailable):
    """The model server answers with something else than the OpenAI API says."""


class UpstreamBrokeOff(Unavailable):
    """The model server stopped in the middle of its answer."""


class UpstreamTimedOut(TimedOut):
    """The model server took too long."""


class UpstreamBusy(LimitExceeded):
    """The model server asks to come back later."""


class UpstreamKeyRefused(Misconfigured):
    """The model server does not accept our key."""


class UpstreamModelUnknown(NotFound):
    """The model server does not have what we asked for."""


class UpstreamRefused(Invalid):
    """The model server does not accept the request."""


class UpstreamRequestTooLarge(TooLarge):
    """The request is too large for the model server."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a connection, for the first token, and for the whole answer."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    total_s: float = 600.0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model]


class Upstream:
    """One model server. Failures are retried with pauses, up to the first token; their text is never passed on."""

    def __init__(
        self,
        http: Http,
        name: str,
        url: str,
        *,
        key: str = "",
        patience: Patience = Patience(),  # frozen
        pause_s: float = 0.25,
    ) -> None:
        self._http = http
        self._name = name
        self._url = url
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        self._patience = patience
        self._pause_s = pause_s

    async def models(self) -> list[str]:
        """The names of the models that it offers."""
        timeouts = Timeouts(self._patience.connect_s, self._patience.first_token_s)
        async with self._until(_clock() + self._patience.first_token_s):
            answer = await self._http.request("GET", f"{self._url}/models", headers=self._headers, timeouts=timeouts)
        if answer.status_code != 200:
            raise self._refusal(answer.status_code, answer.content, answer.headers)
        try:
            return [model.id for model in msgspec.json.decode(answer.content, type=_ModelList).data]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._garbled() from error

    async def stream(self, model: str, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        body = msgspec.json.encode(_payload(model, request))
        deadline = _clock() + self._patience.total_s
        for attempt in range(_RETRIES + 1):
            started = False
            try:
                async with aclosing(self._attempt(body, deadline)) as deltas:
                    async for delta in deltas:
                        started = True
                        yield replace(delta, model=model)
                return
            except (Unavailable, LimitExceeded) as error:
                pause_s = self._pause(attempt, error)
                if started or attempt == _RETRIES or not error.retryable or pause_s > _LONGEST_PAUSE_S:
                    raise
            await asyncio.sleep(pause_s)

    async def _attempt(self, body: bytes, deadline: float) -> AsyncGenerator[ChatDelta]:
        limit = min(_clock() + self._patience.first_token_s, deadline)
        timeouts = Timeouts(self._patience.connect_s, self._patience.total_s)
        async with AsyncExitStack() as stack:
            async with self._until(limit):
                asked = self._http.stream(
                    "POST", f"{self._url}/chat/completions", headers=self._headers, content=body, timeouts=timeouts
                )
                response = await stack.enter_async_context(asked)
                parts = cast("AsyncGenerator[bytes]", self._http.body(response))
                await stack.enter_async_context(aclosing(parts))
                if response.status_code != 200:
                    raise self._refusal(response.status_code, await _beginning(parts), response.headers)
            decoder = SseDecoder() if _is_sse(response.headers) else _WholeBody()
            received, finished, ended = 0, False, False
            while not ended:
                async with self._until(limit):
                    part = await anext(parts, None)
                received += len(part or b"")
                if received > _MAX_ANSWER_BYTES:
                    raise self._garbled()
                ended = part is None
                for data in decoder.close() if part is None else decoder.feed(part):
                    if data == _DONE:
                        ended = True
                        break
                    delta = self._delta(data)
                    finished = finished or delta.finish_reason is not None
                    if delta != _NOTHING:
                        limit = deadline  # the first token is here: from now on only the whole answer is timed
                        yield delta
            if not finished:
                raise UpstreamBrokeOff(f"{self._name!r} stopped in the middle of its answer.", hint="Ask again.")

    def _delta(self, data: bytes) -> ChatDelta:
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._garbled() from error
        if chunk.error is not None:
            raise UpstreamDown(f"{self._name!r} failed while it answered.", hint="Ask again.")
        choice = next((choice for choice in chunk.choices or [] if choice.index == 0), _Choice())
        fields = dict(choice.delta or choice.message or {})
        fields.pop("role", None)
        text = fields.pop("content", None) or ""
        if not isinstance(text, str):
            raise self._garbled()
        return ChatDelta(
            text=text,
            finish_reason=choice.finish_reason,
            usage=usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens) if chunk.usage else None,
            extra={name: value for name, value in fields.items() if value is not None},
        )

    @asynccontextmanager
    async def _until(self, limit: float) -> AsyncIterator[None]:
        """Turn whatever goes wrong on the way into an error that names the upstream and nothing else."""
        try:
            async with asyncio.timeout_at(limit):
                yield
        except TimeoutError as error:
            raise UpstreamTimedOut(f"{self._name!r} did not answer in time.", hint="Ask again later.") from error
        except (EndpointUnreachable, EndpointTimedOut) as error:
            raise UpstreamDown(
                f"{self._name!r} cannot be reached.", hint="Is the model server running, and is its URL right?"
            ) from error

    def _pause(self, attempt: int, error: InhouseError) -> float:
        wait_s = error.details.get("retry_after_s")
        return float(wait_s) if wait_s else random.uniform(0, self._pause_s * 2**attempt)

    def _garbled(self) -> UpstreamGarbled:
        return UpstreamGarbled(
            f"{self._name!r} did not answer as an OpenAI-compatible server does.",
            hint="Its URL usually ends in /v1.",
        )

    def _refusal(self, status: int, body: bytes, headers: Mapping[str, str]) -> InhouseError:
        name = repr(self._name)
        code = _telling_code(body)
        if status in (401, 403):
            return UpstreamKeyRefused(f"{name} does not accept our key.", hint="An administrator can connect it anew.")
        if status == 404:
            return UpstreamModelUnknown(f"{name} does not have this model or address.", hint="Check its URL and model.")
        if status == 413:
            return UpstreamRequestTooLarge(f"The request is too large for {name}.", hint="Send less text.")
        if status == 429:
            wait_s = _retry_after(headers)
            return UpstreamBusy(f"{name} is busy.", hint=f"Try again in {wait_s:g} s.", retry_after_s=wait_s)
        if status in (400, 422):
            reason = f": {code}" if code else ""
            return UpstreamRefused(
                f"{name} does not accept the request{reason}.", hint="Check its parameters.", upstream_code=code
            )
        if status >= 500 or status == 408:
            return UpstreamDown(f"{name} failed with status {status}.", hint="Ask again later.")
        return self._garbled()


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """One model of one model server."""

    upstream: Upstream
    name: str

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        return self.upstream.stream(self.name, request)


class _WholeBody:
    """Stands in for the event decoder where an upstream ignores `stream` and sends one JSON document."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, part: bytes) -> list[bytes]:
        self._parts.append(part)
        return []

    def close(self) -> list[bytes]:
        return [b"".join(self._parts)]


def _payload(model: str, request: ChatRequest) -> dict[str, Any]:
    known = {
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "stop": request.stop,
        "user": request.user or None,
    }
    return {
        **{name: value for name, value in request.extra.items() if name not in _OURS},
        **{name: value for name, value in known.items() if value is not None},
        "model": model,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _is_sse(headers: Mapping[str, str]) -> bool:
    return "text/event-stream" in headers.get("content-type", "")


async def _beginning(parts: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > _MAX_REFUSAL_BYTES:
            break
    return bytes(body)


def _telling_code(body: bytes) -> str:
    try:
        code = msgspec.json.decode(body)["error"]["code"]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError, RecursionError):
        return ""
    return code if isinstance(code, str) and code in _TELLING_CODES else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            wait_s = float(headers[name]) / unit
        except (KeyError, ValueError):  # absent, or a date: the default will do
            continue
        if 0 <= wait_s < math.inf:
            return wait_s
    return 1.0


def _clock() -> float:
    return asyncio.get_running_loop().time()
