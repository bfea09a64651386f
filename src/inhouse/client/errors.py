"""Errors of a client: the server's own, rebuilt, and what can go wrong on the way."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from inhouse.core.errors import (
    Conflict,
    Denied,
    InhouseError,
    Invalid,
    LimitExceeded,
    Misconfigured,
    NotFound,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

_KINDS: dict[str, type[InhouseError]] = {
    "not_found": NotFound,
    "invalid": Invalid,
    "conflict": Conflict,
    "denied": Denied,
    "limit_exceeded": LimitExceeded,
    "unavailable": Unavailable,
    "timed_out": TimedOut,
    "misconfigured": Misconfigured,
}
_SPECIAL: dict[int, type[InhouseError]] = {kind.status: kind for kind in (Unauthenticated, TooLarge)}


class ServerUnreachable(Unavailable):
    """No server answers at the address."""

    retryable = False


class ConnectionBroke(Unavailable):
    """The connection to the server broke before its answer was complete."""


class ServerTimedOut(TimedOut):
    """The server took too long to answer."""


class NotInhouse(Unavailable):
    """Something else answers at the address."""

    retryable = False


class BadAddress(Invalid):
    """The address is no http(s) URL."""


class FileUnreadable(Invalid):
    """A file to upload cannot be read."""


def rebuilt(content: object, status: int = 0) -> InhouseError:
    """An error as the server raised it: the same kind, code, message, hint and details."""
    body = content.get("error") if isinstance(content, Mapping) else None
    wire: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    kind = _SPECIAL.get(status) or _KINDS.get(wire.get("kind", ""), InhouseError)
    code = wire.get("code", "") or kind.__name__
    cls = _error_class(kind, str(code), status or kind.status, bool(wire.get("retryable", kind.retryable)))
    details = {**(wire.get("details") or {}), "trace_id": wire.get("trace_id", "")}
    return cls(wire.get("message") or f"The server answered {status}.", hint=wire.get("hint", ""), **details)


@cache
def _error_class(kind: type[InhouseError], code: str, status: int, retryable: bool) -> type[InhouseError]:
    name = "".join(word.capitalize() for word in code.split("_")) if code.islower() else code
    return type(name, (kind,), {"status": status, "retryable": retryable})
