"""The OpenAI wire format: reading requests, and the frames of streamed answers."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from inhouse.core.errors import InhouseError, Invalid
from inhouse.core.ids import new_id
from inhouse.gateway.call import Endpoint, Usage

DONE = b"data: [DONE]\n\n"
encode = msgspec.json.Encoder().encode
Raw = msgspec.Raw
_Fields = dict[str, Raw]


def raw(value: object) -> Raw:
    """A value as a member of a body."""
    return Raw(encode(value))


class InvalidRequest(Invalid):
    """The body is not a request that can be answered."""


_Stop = Annotated[str, msgspec.Meta(max_length=1000)]
_TokenLimit = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)] | None
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Message(msgspec.Struct):
    role: Annotated[str, msgspec.Meta(max_length=40)]
    content: str | list[Raw] | None = None


class _JsonSchema(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    schema: Raw = Raw(b"null")  # `Raw | None` takes nothing but null


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _Generation(msgspec.Struct):
    """What the ways to ask a language model have in common. Members that we don't know are let through."""

    model: _Name
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _TokenLimit | None = None
    max_completion_tokens: _TokenLimit | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    presence_penalty: _Penalty = None
    frequency_penalty: _Penalty = None
    seed: int | None = None
    stop: _Stop | Annotated[list[_Stop], msgspec.Meta(max_length=4)] | None = None
    user: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class ChatBody(_Generation):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=list)
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    response_format: _ResponseFormat | None = None
    tools: Annotated[list[Raw], msgspec.Meta(max_length=1024)] | None = None


class CompletionBody(_Generation):
    prompt: str | list[str | int | list[int]] = ""
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    echo: bool | None = None


class EmbeddingBody(msgspec.Struct):
    model: _Name
    input: str | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1)]
    encoding_format: Annotated[str, msgspec.Meta(pattern="^(float|base64)$")] | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] | None = None
    user: str | None = None


class RerankBody(msgspec.Struct):
    model: _Name
    query: str
    documents: Annotated[list[str | dict[str, Any]], msgspec.Meta(min_length=1, max_length=10_000)]
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: bool | None = None


class ImageBody(msgspec.Struct):
    """Images and speech: only the model matters here."""

    model: _Name


class ModerationBody(msgspec.Struct):
    input: str | Annotated[list[str | dict[str, Any]], msgspec.Meta(max_length=1000)]
    model: str | None = None


BODIES: Mapping[Endpoint, type[Any]] = {
    Endpoint.CHAT: ChatBody,
    Endpoint.COMPLETIONS: CompletionBody,
    Endpoint.EMBEDDINGS: EmbeddingBody,
    Endpoint.RERANK: RerankBody,
    Endpoint.MODERATIONS: ModerationBody,
    Endpoint.IMAGES: ImageBody,
    Endpoint.SPEECH: ImageBody,
}
_fields = msgspec.json.Decoder(_Fields)
_decoders = {endpoint: msgspec.json.Decoder(kind) for endpoint, kind in BODIES.items()}
_MISSING = re.compile(r"missing required field `(\w+)`")
_REQUIRED = {Endpoint.CHAT: "messages", Endpoint.COMPLETIONS: "prompt"}

# A request can neither redirect nor re-key the call to the model server.
OVERRIDES = frozenset(
    {"api_base", "api_key", "api_version", "base_url", "custom_llm_provider", "extra_body", "extra_headers", "headers"}
)


def read(endpoint: Endpoint, body: bytes) -> tuple[Any, _Fields]:
    """The known members of a request, checked, and all of its members as raw JSON."""
    try:
        known = _decoders[endpoint].decode(body)
        fields = _fields.decode(body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        missing = _MISSING.search(reason)
        param = ".".join(part for part in (path[:-1].lstrip("."), missing[1] if missing else "") if part) or None
        raise InvalidRequest(f"{reason}{f' in {param!r}' if param else ''}.", param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.", hint="Send a JSON object.") from error
    required = _REQUIRED.get(endpoint)
    if required and required not in fields:
        raise InvalidRequest(f"The request has no {required!r}.", param=required)
    if not OVERRIDES.isdisjoint(fields):
        for name in OVERRIDES & fields.keys():
            del fields[name]
    return known, fields


class _UsagePeek(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0

    def usage(self) -> Usage:
        prompt = self.prompt_tokens or 0
        return Usage(prompt, self.completion_tokens or max((self.total_tokens or 0) - prompt, 0))


class Peek(msgspec.Struct):
    """What the gateway wants to know of an answer or an event of one."""

    usage: _UsagePeek | None = None
    error: Any = None
    choices: list[Raw] | None = None
    data: list[Raw] | None = None
    results: list[Raw] | None = None


_peek = msgspec.json.Decoder(Peek)
PeekT = TypeVar("PeekT")


def peek(data: bytes) -> Peek:
    """Look into an answer; raises `msgspec.DecodeError` or `UnicodeDecodeError` when it is none."""
    return _peek.decode(data)


def frame(data: bytes) -> bytes:
    return b"data: %b\n\n" % data


def frames(block: bytes) -> Iterator[bytes]:
    """The data of each event in a block of whole events; comments are left out."""
    start = 0
    while (end := block.find(b"\n\n", start)) >= 0:
        event = block[start:end]
        start = end + 2
        if b"\n" not in event:
            if event.startswith(b"data:"):
                yield event[5:].removeprefix(b" ")
            continue
        lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        if lines:
            yield b"\n".join(lines)


def head(model: str, kind: str) -> dict[str, Any]:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {"id": new_id(prefix), "object": kind, "created": int(time.time()), "model": model}


def status_of(error: InhouseError) -> int:
    """The status that an OpenAI client sees."""
    return 400 if isinstance(error, Invalid) and error.status == 422 else error.status


def error_body(error: InhouseError) -> tuple[int, dict[str, Any]]:
    """Status and body of an error as OpenAI clients read it."""
    details = error.details
    status = status_of(error)
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    code = details.get("code") or details.get("upstream_code") or error.code
    if status == 429 and "code" not in details:
        code = "rate_limit_exceeded"
    message = f"{error.message} {error.hint}".strip()
    return status, {"error": {"message": message, "type": kind, "param": details.get("param"), "code": code}}


def error_headers(error: InhouseError, status: int) -> list[tuple[bytes, bytes]]:
    """Whether and when an OpenAI client shall try again: never what has been retried here."""
    retry = status == 429 and error.retryable and error.details.get("code") != "insufficient_quota"
    found = [(b"x-should-retry", b"true" if retry else b"false")]
    if wait_s := error.details.get("retry_after_s"):
        found.append((b"retry-after-ms", b"%d" % round(wait_s * 1000)))
        found.append((b"retry-after", b"%d" % max(1, round(wait_s))))
    return found
