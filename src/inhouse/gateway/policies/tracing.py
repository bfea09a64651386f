"""One OpenTelemetry span for every sampled request, sent to a collector behind the request."""

import asyncio
import logging
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import Field

from inhouse import __version__
from inhouse.core.behind import WriteBehind
from inhouse.core.errors import InhouseError
from inhouse.core.fasthttp import FastHttp, Waits
from inhouse.core.http import endpoint
from inhouse.gateway import metrics
from inhouse.gateway.call import Call, Endpoint, Outcome
from inhouse.gateway.policy import Policy, Settings, Surroundings, policy

_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NOTE = "tracing"
_INCOMING = "traceparent"
_OPERATIONS = {Endpoint.CHAT: "chat", Endpoint.COMPLETIONS: "text_completion", Endpoint.EMBEDDINGS: "embeddings"}
_CLIENT, _ERROR = 3, 2
_BATCH = 512
_QUEUE = 4096
_GATHER_S = 1.0
_WAITS = Waits(connect_s=3.0, head_s=10.0, idle_s=10.0)
_MAX_ANSWER_BYTES = 1 << 20
_log = logging.getLogger(__name__)


class TracingSettings(Settings):
    """Where spans go, and how many."""

    endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#@]+)?$",
        max_length=500,
        description="OTLP/HTTP address of a collector, such as http://127.0.0.1:4318; empty: no spans.",
    )
    sample: float = Field(
        default=1.0, ge=0, le=1, description="Share of requests with a span, of those whose caller does not say."
    )
    service_name: str = Field(default="inhouse", min_length=1, max_length=100, description="What the spans call us.")


@dataclass(frozen=True, slots=True)
class _Begun:
    trace: str
    span: str
    parent: str
    at_ns: int


@policy("tracing", order=6, settings=TracingSettings)
class Tracing(Policy[TracingSettings]):
    """Gives sampled requests a span under the caller's, which the model server's own spans then hang below.

    Attributes follow the conventions for generative AI. Texts are never among them.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        uniform: Callable[[], float] = random.random,
        bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        super().__init__(surroundings)
        self._uniform = uniform
        self._bits = bits
        self._closing = threading.Event()
        self._behind: WriteBehind[Mapping[str, Any]] | None = None
        self._is_failing = False

    @property
    def is_active(self) -> bool:
        return bool(self.settings.endpoint)

    def configure(self, settings: TracingSettings) -> None:
        super().configure(settings)
        if settings.endpoint and self._behind is None:
            self._behind = WriteBehind(self._send, name="tracing", max_queue=_QUEUE, max_batch=_BATCH)
            self._behind.start()

    def admit(self, call: Call) -> None:
        incoming = call.notes.get(_INCOMING)
        found = _PARENT.fullmatch(incoming) if incoming else None
        if found is None:
            if self._uniform() >= self.settings.sample:
                return
            trace, parent = f"{self._bits(128):032x}", ""
        elif int(found[3], 16) & 1:
            trace, parent = found[1].decode(), found[2].decode()
        else:
            return
        span = f"{self._bits(64):016x}"
        call.notes[_NOTE] = _Begun(trace, span, parent, int(self.surroundings.now() * 1e9))
        call.notes[_INCOMING] = f"00-{trace}-{span}-01".encode()

    def settle(self, call: Call, outcome: Outcome) -> None:
        begun: _Begun | None = call.notes.pop(_NOTE, None)
        if begun is not None and self._behind is not None and not self._behind.put(_span(call, outcome, begun)):
            metrics.dropped("tracing")

    def close(self) -> None:
        self._closing.set()
        if self._behind is not None:
            self._behind.close()

    def _send(self, spans: Sequence[Mapping[str, Any]]) -> None:
        """Hand a batch to the collector. Spans that it does not take are dropped: they are worth no memory."""
        if len(spans) < _BATCH:
            self._closing.wait(_GATHER_S)  # meanwhile the next batch grows: one request a second is enough
        try:
            asyncio.run(_post(self.settings.endpoint, _document(self.settings.service_name, spans)))
        except (InhouseError, TimeoutError) as error:
            metrics.dropped("tracing", len(spans))
            if not self._is_failing:
                _log.warning("The collector at %s takes no spans: %s", self.settings.endpoint, error)
            self._is_failing = True
        else:
            self._is_failing = False


async def _post(url: str, body: bytes) -> None:
    # The operator named this address, so it may be a private one.
    http = FastHttp(lambda host, port: (host, port) == endpoint(url))
    try:
        headers = b"content-type: application/json\r\n"
        answer = await http.send(http.origin(url), b"POST", b"/v1/traces", headers, body, waits=_WAITS)
        await answer.read(_MAX_ANSWER_BYTES)
        if answer.status >= 300:
            raise CollectorRefused(f"It answers with status {answer.status}.")
    finally:
        await http.close()


class CollectorRefused(InhouseError):
    """The collector does not accept spans."""


def _document(service: str, spans: Sequence[Mapping[str, Any]]) -> bytes:
    scope = {"name": "inhouse.gateway", "version": __version__}
    resource = {"attributes": _attributes({"service.name": service, "service.version": __version__})}
    return msgspec.json.encode(
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}
    )


def _span(call: Call, outcome: Outcome, begun: _Begun) -> Mapping[str, Any]:
    operation = _OPERATIONS.get(call.endpoint, call.endpoint.value)
    return {
        "traceId": begun.trace,
        "spanId": begun.span,
        "parentSpanId": begun.parent,
        "name": f"{operation} {call.model}",
        "kind": _CLIENT,
        "startTimeUnixNano": str(begun.at_ns),
        "endTimeUnixNano": str(begun.at_ns + int(outcome.duration_s * 1e9)),
        "attributes": _attributes(_facts(call, outcome, operation)),
        "status": {} if outcome.ok else {"code": _ERROR, "message": outcome.error.message if outcome.error else ""},
    }


def _facts(call: Call, outcome: Outcome, operation: str) -> dict[str, str | int | float | bool | None]:
    """What is known of a request; what is empty is left out."""
    target, usage, error = call.target, call.usage, outcome.error
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": call.model,
        "gen_ai.provider.name": target.backend.name if target else None,
        "gen_ai.response.model": target.model if target else None,
        "gen_ai.request.max_tokens": call.max_tokens or None,
        "gen_ai.request.choice.count": call.choices if call.choices != 1 else None,
        "gen_ai.request.stream": True if call.stream else None,
        "gen_ai.response.time_to_first_chunk": call.first_token_s or None,
        "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
        "gen_ai.conversation.id": call.session or None,
        "http.response.status_code": outcome.status,
        "error.type": str(error.details.get("code") or error.code) if error else None,
        "inhouse.request_id": call.request_id or None,
        "inhouse.workspace": call.principal.workspace_id,
        "inhouse.key_id": call.principal.key_id or None,
        "inhouse.arm": call.arm or None,
        "inhouse.attempts": call.attempts,
        "inhouse.queue_s": call.queued_s or None,
        "inhouse.cache": call.cache or None,
        "inhouse.cost": call.cost,
    }


def _attributes(facts: Mapping[str, str | int | float | bool | None]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(fact)} for key, fact in facts.items() if fact is not None]


def _value(fact: str | int | float | bool) -> dict[str, Any]:
    if isinstance(fact, bool):
        return {"boolValue": fact}
    if isinstance(fact, int):
        return {"intValue": str(fact)}
    return {"doubleValue": fact} if isinstance(fact, float) else {"stringValue": fact}
