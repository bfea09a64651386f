"""One request on its way through the gateway, and what comes back."""

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from inhouse.core.errors import InhouseError
from inhouse.core.fasthttp import Waits
from inhouse.core.principal import Principal
from inhouse.gateway.tokens import estimate_bytes

if TYPE_CHECKING:
    from inhouse.gateway.prices import Used
    from inhouse.gateway.route import Route, Target


_WAITS = Waits()


class Endpoint(StrEnum):
    """What is asked for; the value is the path behind `/v1/`."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    MODERATIONS = "moderations"
    IMAGES = "images/generations"
    SPEECH = "audio/speech"
    TRANSCRIPTIONS = "audio/transcriptions"
    TRANSLATIONS = "audio/translations"

    __hash__ = str.__hash__  # that of enumerations is slow, and every request looks things up by it

    @property
    def generates(self) -> bool:
        """Whether a language model writes the answer."""
        return self in _GENERATING


_GENERATING = (Endpoint.CHAT, Endpoint.COMPLETIONS)


class Usage(msgspec.Struct):
    """Tokens read and written. `estimated` where the model did not count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def wire(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }


class Events(Protocol):
    """A streamed answer. Each part is one or more whole server-sent events, ended by an empty line (LF LF).

    Nothing more comes after `b""`. An error in the middle is raised by `part`.
    """

    async def part(self) -> bytes: ...

    def abort(self) -> None:
        """Give the answer up at once. Harmless after its end."""
        ...


class Reply(msgspec.Struct, eq=False):
    """A successful answer: either the whole `body`, or `events` that are still to come."""

    body: bytes = b""
    events: Events | None = None
    content_type: bytes = b"application/json"
    usage: Usage | None = None


class Call(msgspec.Struct, eq=False):
    """A request for one answer of one model. A struct of msgspec, as others are here: they are made in no time.

    `fields` are the top-level members of the JSON body as raw JSON. A policy that changes the request replaces
    members there and sets `changed`; `body` is then written anew. Requests that are no JSON (audio) have no fields.
    """

    principal: Principal
    endpoint: Endpoint
    model: str
    route: "Route"
    body: bytes
    fields: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    changed: bool = False
    content_type: bytes = b"application/json"
    request_id: str = ""
    stream: bool = False
    include_usage: bool = False
    """Whether the client wants the usage of a streamed answer as its last event."""
    max_tokens: int = 0
    """The most tokens that the client lets the answer have; 0 where it did not say."""
    choices: int = 1
    session: str = ""
    """Requests of one session go to the same arm and, where the route is sticky, to the same target."""
    priority: int = 0
    """Higher goes first where requests queue. Taken from the key, never from the request."""
    timeout_s: float = 0.0
    """What the client is ready to wait in all; 0 where it did not say."""
    is_hurried: bool = False
    """Whether the client waits for less time than a model may take: then it is no model's fault to be late."""
    started: float = msgspec.field(default_factory=time.perf_counter)

    # What happened on the way.
    deadline: float = 0.0
    """On the clock of the event loop; set when the first target is asked."""
    waits: Waits = _WAITS
    """How long to wait for what; set by the policy `timeouts`."""
    target: "Target | None" = None
    has_begun: bool = False
    """Whether a target has begun to stream its answer."""
    arm: str = ""
    attempts: int = 0
    queued_s: float = 0.0
    first_token_s: float = 0.0
    upstream_s: float = 0.0
    """Seconds from the start to the last request sent to the target that answered."""
    cache: str = ""
    """`hit`, `semantic` or `shared` (with an identical request under way) where no model was asked."""
    usage: Usage | None = None
    cost: float | None = None
    """In the currency of the price list; None without a price."""
    headers: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)
    """Headers for the answer."""
    lines: bytes = b""
    """Further ones as ready-made lines, each ended by CR LF: for what would cost too much in pairs."""
    notes: dict[str, Any] = msgspec.field(default_factory=dict)
    """What a policy wants to find again when the call ends, under the policy's own name."""
    captured: list[bytes] | None = None
    """Set to a list by whoever wants to see the answer; its parts are appended, up to a bound."""
    checked: bytes = b""
    """An answer that is known to be JSON. Who replaces it replaces the object: this one stays what was looked at."""
    used: "Used | None" = None
    """What is counted for it; set by the first policy that asks the price list."""
    _estimate: int = -1

    @property
    def prompt_estimate(self) -> int:
        """About how many tokens the request has: what limits and budgets count before the model has counted."""
        if self._estimate < 0:
            body = b"".join(map(bytes, self.fields.values())) if self.changed else self.body
            self._estimate = estimate_bytes(body)
        return self._estimate

    def json(self, name: str) -> Any:
        """A member of the body, decoded; None when absent."""
        raw = self.fields.get(name)
        return None if raw is None else msgspec.json.decode(raw)

    def put(self, name: str, value: Any) -> None:
        """Replace a member of the body."""
        self.fields[name] = msgspec.Raw(msgspec.json.encode(value))
        self.changed = True
        self._estimate = -1


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended. `status` is what the client saw: 499 when it left."""

    status: int
    error: InhouseError | None = None
    duration_s: float = 0.0
    parts: int = 0
    """Streamed events that went out."""

    @property
    def ok(self) -> bool:
        return self.status < 400


class Backend(Protocol):
    """Something that answers calls: a remote server, or a model in this process."""

    @property
    def name(self) -> str: ...

    async def send(self, call: Call, model: str) -> Reply:
        """Answer with the backend's own `model`. Returns when the answer, or its first streamed event, is there.

        Raises an `InhouseError`; one that is `retryable` may be tried again, here or elsewhere. Cancelling gives the
        work up at once, and nothing takes longer than `call.deadline`.
        """
        ...
