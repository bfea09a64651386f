"""One request to a model as one line of JSON, chained to the line before it."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from inhouse.core.logs import redact as redact_keys
from inhouse.gateway import chunks, wire
from inhouse.gateway.call import Call, Outcome
from inhouse.gateway.pii import redact

_DIGEST_LETTERS = 40
_CHAINED = b',"chain":"'
_CHAIN = re.compile(rb',"chain":"([0-9a-f]*)"}\n?\Z')
_JSON = b"application/json"
_EVENT = b"data: "
_DONE = b"\n\n" + wire.DONE
_encode = msgspec.json.Encoder().encode
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NOTHING = msgspec.Raw(b"null")


class Row(msgspec.Struct, omit_defaults=True):
    """What is kept of a request. Members that say nothing are left out."""

    time: float
    """When it ended, in Unix seconds."""
    request_id: str
    status: int = 200
    key: str = ""
    user: str = ""
    team: str = ""
    endpoint: str = ""
    model: str = ""
    target: str = ""
    arm: str = ""
    error: str = ""
    """The code of the error that ended it."""
    attempts: int = 0
    cache: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    """Whether the tokens are an estimate."""
    cost: float | None = None
    queued_s: float = 0.0
    first_token_s: float = 0.0
    total_s: float = 0.0
    stream: bool = False
    flags: Sequence[str] = ()
    """Rules of the guard that matched."""
    request: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING
    """The answer: a JSON document, or a list of the events of a stream, or text where it is neither."""
    cut: bool = False
    """Whether a body was too long to keep all of it."""


class Bodies(msgspec.Struct, frozen=True):
    """How bodies are kept."""

    max_bytes: int
    is_masked: bool


def row_of(time: float, call: Call, outcome: Outcome) -> Row:
    """The facts of a call, without its bodies. Never its key, and never a header."""
    who, usage, error = call.principal, call.usage, outcome.error
    row = Row(
        round(time, 3),
        call.request_id,
        outcome.status,
        who.key_id,
        who.person,
        who.team,
        call.endpoint,
        call.route.name,
        call.target.id if call.target is not None else "",
        call.arm,
        "" if error is None else str(error.details.get("code") or error.code),
        call.attempts,
        call.cache,
    )
    if usage is not None:
        row.prompt_tokens, row.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        row.estimated = usage.estimated
    row.cost = call.cost
    if call.queued_s:
        row.queued_s = round(call.queued_s, 6)
    if call.first_token_s:
        row.first_token_s = round(call.first_token_s, 6)
    row.total_s = round(outcome.duration_s, 6)
    row.stream = call.stream
    row.flags = call.notes.get("guard", ())
    return row


def add_bodies(row: Row, call: Call, bodies: Bodies) -> None:
    if call.content_type.startswith(_JSON):
        row.request = _kept(row, call.body, bodies, is_checked=True)
    else:
        row.request = _text(b"(%d bytes)" % len(call.body))
    if call.captured:
        answer = call.captured[0] if len(call.captured) == 1 else b"".join(call.captured)
        if bodies.is_masked and answer.startswith(b"data:"):
            answer = chunks.assemble((answer,)) or answer  # what is told piece by piece can only be seen as a whole
        row.response = _kept(row, answer, bodies, is_checked=answer is call.checked)


def _kept(row: Row, data: bytes, bodies: Bodies, *, is_checked: bool) -> msgspec.Raw:
    """JSON goes into the line as it is; what is not JSON, or not all of it, as text."""
    if bodies.is_masked:
        data, is_checked = redact(data), False
    if len(data) > bodies.max_bytes:
        row.cut = True
        return _text(data[: bodies.max_bytes])
    if not is_checked:
        document = _listed(data) if data.startswith(_EVENT) else data
        try:
            msgspec.json.decode(document, type=msgspec.Raw)
        except _NOT_JSON:
            return _text(data)
        data = document
    return msgspec.Raw(data.replace(b"\n", b" ") if b"\n" in data else data)


def _listed(stream: bytes) -> bytes:
    """The events of a whole stream as a list: that is far cheaper to write than one long text."""
    return b"[%b]" % stream.removesuffix(_DONE)[len(_EVENT) :].replace(b"\n\n" + _EVENT, b",")


def _text(data: bytes) -> msgspec.Raw:
    return msgspec.Raw(_encode(data.decode(errors="ignore")))


def line(row: Row) -> bytes:
    return _encode(row) + b"\n"


def chained(found: bytes, previous: str) -> tuple[bytes, str]:
    """A line with its place in the chain: a digest over it and everything before it."""
    data = found[:-2]
    chain = _digest(data, previous)
    return b'%b%b%b"}\n' % (data, _CHAINED, chain.encode()), chain


def _digest(data: bytes, previous: str) -> str:
    return hashlib.sha256(b"%b%b" % (previous.encode(), data)).hexdigest()[:_DIGEST_LETTERS]


def first_line(segment: str, previous: str) -> bytes:
    """What a file begins with: the place in the chain from which it goes on."""
    return b'{"segment":%b%b%b"}\n' % (_encode(segment), _CHAINED, previous.encode())


def chain_of(found: bytes) -> str:
    """What a line says its place in the chain is; empty for none."""
    mark = _CHAIN.search(found)
    return mark[1].decode() if mark else ""


def is_next(found: bytes, previous: str) -> bool:
    """Whether a line is unchanged, and the one that followed."""
    data = found.rpartition(_CHAINED)[0]
    return _digest(data, previous) == chain_of(found)


def shown(kept: msgspec.Raw) -> Any:
    """A kept body for reading: of a stream, the answer that it says. None where there is none."""
    body = msgspec.json.decode(kept)
    if isinstance(body, str):
        return redact_keys(body)
    if isinstance(body, list):
        whole = chunks.assemble([*(wire.frame(_encode(event)) for event in body), wire.DONE])
        return body if whole is None else msgspec.json.decode(whole)
    return body
