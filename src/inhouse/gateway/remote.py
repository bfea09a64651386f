"""Any OpenAI-compatible server as a backend: requests and answers pass as bytes, only what is needed is read."""

import asyncio
import math
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

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
from inhouse.core.fasthttp import (
    Answer,
    EndpointBrokeOff,
    EndpointGarbled,
    FastHttp,
    Origin,
    TooManyWaiting,
    Waits,
)
from inhouse.core.http import AddressBlocked, AnswerTooLarge, EndpointTimedOut, EndpointUnreachable
from inhouse.gateway import wire
from inhouse.gateway.call import Call, Endpoint, Reply, Usage
from inhouse.gateway.chunks import disassemble
from inhouse.gateway.multipart import with_model

_MAX_ANSWER_BYTES = 32 << 20
_MAX_EVENT_BYTES = 8 << 20
_MAX_REFUSAL_BYTES = 64 << 10
_MAX_MODEL_NAME = 200
_JSON = b"content-type: application/json\r\n"
_DONE = b"[DONE]\n\n"
_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')

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
_SHAPE = {
    Endpoint.CHAT: "choices",
    Endpoint.COMPLETIONS: "choices",
    Endpoint.EMBEDDINGS: "data",
    Endpoint.IMAGES: "data",
    Endpoint.RERANK: "results",
}


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


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model]


class Remote:
    """One model server. What it says of itself in errors is never passed on."""

    def __init__(self, http: FastHttp, name: str, url: str, *, key: str = "") -> None:
        self.name = name
        self._http = http
        self._origin: Origin = http.origin(url)
        self._key = b"authorization: Bearer %b\r\n" % key.encode("latin-1", "ignore") if key else b""
        self._json = _JSON + self._key

    async def models(self, waits: Waits) -> list[str]:
        """The names of the models that it offers, but for those that nobody could ask for."""
        try:
            answer = await self._http.send(self._origin, b"GET", b"/models", self._key, b"", waits=waits)
        except InhouseError as error:
            raise self._translated(error) from error
        try:
            if answer.status != 200:
                raise await self._refusal(answer)
            body = await answer.read(_MAX_ANSWER_BYTES)
            names = [model.id for model in msgspec.json.decode(body, type=_ModelList).data]
            return [name for name in names if name.isprintable() and 0 < len(name) <= _MAX_MODEL_NAME]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._garbled() from error
        except (EndpointBrokeOff, EndpointGarbled, EndpointTimedOut, EndpointUnreachable) as error:
            raise self._translated(error) from error
        finally:
            answer.abort()

    async def send(self, call: Call, model: str) -> Reply:
        body = _body(call, model)
        headers = self._headers(call)
        target = b"/" + call.endpoint.encode()
        try:
            answer = await self._http.send(self._origin, b"POST", target, headers, body, waits=call.waits)
            try:
                if answer.status == 200 and not call.stream and (whole := answer.whole(_MAX_ANSWER_BYTES)) is not None:
                    return self._told(call, whole, answer.header(b"content-type"))
                return await self._reply(call, answer)
            except BaseException:
                answer.abort()
                raise
        except InhouseError as error:
            raise self._translated(error) from error

    async def _reply(self, call: Call, answer: Answer) -> Reply:
        answer.deadline = call.deadline
        if answer.status != 200:
            raise await self._refusal(answer)
        content_type = answer.header(b"content-type")
        if call.stream and b"text/event-stream" in content_type:
            events = _Events(self, answer, call.deadline)
            await events.open(call.waits.head_s)
            return Reply(events=events, content_type=content_type)
        return self._told(call, await answer.read(_MAX_ANSWER_BYTES, call.deadline), content_type)

    def _told(self, call: Call, body: bytes, content_type: bytes) -> Reply:
        """What a whole answer says."""
        if call.endpoint not in _SHAPE:
            return Reply(body, content_type=content_type or b"application/octet-stream")
        usage = self._checked(call.endpoint, body)
        if not call.stream:
            call.checked = body
            return Reply(body, usage=usage)
        try:
            block = b"".join(disassemble(body))  # it ignores `stream`
        except (AttributeError, TypeError) as error:
            raise self._garbled() from error
        return Reply(events=Ready(block), content_type=b"text/event-stream")

    def _checked(self, endpoint: Endpoint, body: bytes) -> Usage | None:
        try:
            seen = wire.peek(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._garbled() from error
        if getattr(seen, _SHAPE[endpoint]) is None:
            raise self._failed() if seen.error is not None else self._garbled()
        return seen.usage.usage() if seen.usage else None

    def _headers(self, call: Call) -> bytes:
        lines = self._json if call.fields else b"content-type: %b\r\n%b" % (call.content_type, self._key)
        parent = call.notes.get("traceparent")
        return lines if parent is None else b"%btraceparent: %b\r\n" % (lines, parent)

    def _translated(self, error: InhouseError) -> InhouseError:
        """An error on the way as one that names the upstream and nothing else."""
        name = repr(self.name)
        match error:
            case EndpointTimedOut():
                return UpstreamTimedOut(f"{name} did not answer in time.", hint="Ask again later.")
            case EndpointBrokeOff():
                return UpstreamBrokeOff(f"{name} stopped in the middle of its answer.", hint="Ask again.")
            case EndpointGarbled() | AnswerTooLarge():
                return self._garbled()
            case EndpointUnreachable():
                return UpstreamDown(f"{name} cannot be reached.", hint="Is it running, and is its URL right?")
            case TooManyWaiting():
                return UpstreamBusy(f"{name} has too many requests waiting.", hint="Try again.", retry_after_s=1.0)
            case AddressBlocked():
                return Misconfigured(f"{name} has an address that is not allowed.", hint="Connect it anew.")
            case _:
                return error

    def _garbled(self) -> UpstreamGarbled:
        return UpstreamGarbled(
            f"{self.name!r} did not answer as an OpenAI-compatible server does.", hint="Its URL usually ends in /v1."
        )

    def _failed(self) -> UpstreamDown:
        return UpstreamDown(f"{self.name!r} failed while it answered.", hint="Ask again.")

    def _broke_off(self) -> UpstreamBrokeOff:
        return UpstreamBrokeOff(f"{self.name!r} stopped in the middle of its answer.", hint="Ask again.")

    def _timed_out(self) -> UpstreamTimedOut:
        return UpstreamTimedOut(f"{self.name!r} did not end its answer in time.", hint="Ask for less.")

    async def _refusal(self, answer: Answer) -> InhouseError:
        body = b""
        while len(body) < _MAX_REFUSAL_BYTES and (part := await answer.part()):
            body += part
        status, name, code = answer.status, repr(self.name), _telling_code(body)
        if status in (401, 403):
            return UpstreamKeyRefused(f"{name} does not accept our key.", hint="An administrator can connect it anew.")
        if status == 404:
            return UpstreamModelUnknown(f"{name} does not have this model or address.", hint="Check its URL and model.")
        if status == 413:
            return UpstreamRequestTooLarge(f"The request is too large for {name}.", hint="Send less text.")
        if status == 429:
            wait_s = _retry_after(answer)
            return UpstreamBusy(f"{name} is busy.", hint=f"Try again in {wait_s:g} s.", retry_after_s=wait_s)
        if status in (400, 422):
            reason = f": {code}" if code else ""
            return UpstreamRefused(
                f"{name} does not accept the request{reason}.", hint="Check its parameters.", upstream_code=code
            )
        if status >= 500 or status == 408:
            wait = {"retry_after_s": _retry_after(answer)} if answer.header(b"retry-after") else {}
            return UpstreamDown(f"{name} failed with status {status}.", hint="Ask again later.", **wait)
        return self._garbled()


class Ready:
    """Events that are all there."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = list(blocks)

    async def part(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""

    def abort(self) -> None:
        self._blocks.clear()


class _Events:
    """The events of a remote stream as they come, in blocks of whole ones, with LF line ends and [DONE] at the end."""

    def __init__(self, remote: Remote, answer: Answer, deadline: float) -> None:
        self._remote = remote
        self._answer = answer
        self._deadline = deadline
        self._clock = asyncio.get_running_loop().time
        self._rest = b""
        self._opening = b""
        self._last = b""
        self._is_done = False

    async def open(self, first_token_s: float) -> None:
        """Wait for the first token: until it is there, a failure can be answered by asking again."""
        latest = self._clock() + first_token_s
        alarm = asyncio.get_running_loop().call_at(latest, self._answer.abort)  # it may have sent a head and no more
        block = b""
        try:
            while not _says_something(block):
                block = await self._next()
                if not block:
                    raise self._remote._broke_off()
                self._opening += block
        except EndpointBrokeOff as error:
            raise self._remote._timed_out() if self._clock() >= latest else error from error
        finally:
            alarm.cancel()

    async def part(self) -> bytes:
        if self._opening:
            block, self._opening = self._opening, b""
            return block
        try:
            return await self._next()
        except InhouseError as error:
            self._answer.abort()
            raise self._remote._translated(error) from error
        except BaseException:
            self._answer.abort()
            raise

    def abort(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._answer.abort()

    async def _next(self) -> bytes:
        while not self._is_done:
            data = await self._answer.part()
            if not data:
                return self._end()
            if self._clock() > self._deadline:
                raise self._remote._timed_out()
            if self._rest:
                data = self._rest + data
            if b"\r" in data:  # inside JSON it would be escaped, so it can only be a line end
                data = _unix(data)
            cut = data.rfind(b"\n\n") + 2
            self._rest = data[cut:] if cut > 1 else data
            if len(self._rest) > _MAX_EVENT_BYTES:
                raise self._remote._garbled()
            if cut > 1:
                return self._checked(data[:cut])
        return b""

    def _checked(self, block: bytes) -> bytes:
        if b'"error"' in block:
            self._look_for_error(block)
        if block.endswith(_DONE):
            self._is_done = True
            self._answer.finish()
        self._last = block
        return block

    def _look_for_error(self, block: bytes) -> None:
        for data in wire.frames(block):
            try:
                seen = wire.peek(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if seen.error is not None and seen.choices is None:
                raise self._remote._failed()

    def _end(self) -> bytes:
        """Some servers forget the last empty line, others [DONE]; without a reason to finish it was cut off."""
        self._is_done = True
        block = self._rest.rstrip(b"\r\n") + b"\n\n" if self._rest.strip() else b""
        for said in (block, self._last):
            if b"[DONE]" in said:
                return block
            if _finishes(said):
                return block + wire.DONE
        raise self._remote._broke_off()


def _finishes(block: bytes) -> bool:
    for data in wire.frames(block):
        try:
            choices = msgspec.json.decode(data, type=_Chunk).choices
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        if any(choice.finish_reason for choice in choices) or (not choices and b'"usage"' in data):
            return True
    return False


def _says_something(block: bytes) -> bool:
    """Whether it holds more than comments and the name of who speaks."""
    if not block:
        return False
    for data in wire.frames(block):
        try:
            choices = msgspec.json.decode(data, type=_Chunk).choices
        except (msgspec.DecodeError, UnicodeDecodeError):
            return True
        for choice in choices:
            said = (value for name, value in choice.delta.items() if name != "role")
            if choice.finish_reason or choice.text or any(said):
                return True
    return False


class _Choice(msgspec.Struct):
    delta: dict[str, Any] = msgspec.field(default_factory=dict)
    text: str = ""
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)


def _unix(data: bytes) -> bytes:
    """With LF line ends; a carriage return at the very end may be half of one and stays."""
    tail = b"\r" if data.endswith(b"\r") else b""
    body = data[: len(data) - len(tail)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return body + tail


def _body(call: Call, model: str) -> bytes:
    if not call.fields:
        return with_model(call.body, call.content_type, model)
    fields = call.fields
    fields["model"] = wire.raw(model)
    if call.stream:
        fields["stream_options"] = _INCLUDE_USAGE
    return wire.encode(fields)


def _telling_code(body: bytes) -> str:
    try:
        code: Any = msgspec.json.decode(body)["error"]["code"]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError, RecursionError):
        return ""
    return code if isinstance(code, str) and code in _TELLING_CODES else ""


def _retry_after(answer: Answer) -> float:
    """Seconds, from `retry-after-ms`, or `retry-after` as seconds or as a date; 1 where it says nothing usable."""
    for name, unit in ((b"retry-after-ms", 1000), (b"retry-after", 1)):
        value = answer.header(name).decode("latin-1")
        try:
            wait_s = float(value) / unit
        except ValueError:
            wait_s = _until(value)
        if 0 <= wait_s < math.inf:
            return wait_s
    return 1.0


def _until(date: str) -> float:
    try:
        return max(parsedate_to_datetime(date).timestamp() - time(), 0.0)
    except (TypeError, ValueError, IndexError, OverflowError):
        return -1.0
