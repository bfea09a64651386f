"""The door that every request passes: host, size, who is asking, and where it goes."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram
from starlette.responses import Response

from inhouse.access.api import COOKIE
from inhouse.core.asgi import BodyTooLarge, Message, Receive, Scope, Send
from inhouse.core.errors import Denied, InhouseError, Invalid, TimedOut, Unauthenticated
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.server.errors import render, unexpected

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Render = Callable[[InhouseError, str], Response]

ANONYMOUS_LIMIT = 64 << 10
"""The largest body of who has not signed in, in bytes: enough to do so."""
GRACE_S = 30.0
MIN_BYTES_PER_S = 4096

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PORT = re.compile(r":\d+$")
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; font-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
        b"form-action 'self'",
    ),
)

REQUESTS = Counter("inhouse_http_requests_total", "Requests by area and status.", ["area", "status"])
SECONDS = Histogram("inhouse_http_request_seconds", "Seconds to the end of the answer.", ["area"])
IN_FLIGHT = Gauge("inhouse_http_in_flight", "Requests being answered.")
_log = logging.getLogger(__name__)


class WrongHost(Invalid):
    """The Host header names a host that this server is not."""

    status = 421


class CrossSite(Denied):
    """Another site tried to use the visitor's session."""


class NotSignedIn(Unauthenticated):
    """A large body without credentials: it is not worth reading."""


class TooSlow(TimedOut):
    """The body comes so slowly that it may never end."""

    status = 408


class Authenticator(Protocol):
    def by_key(self, text: str) -> Principal | None: ...
    def by_session(self, token: str) -> Principal | None: ...


class Door:
    """Checks a request and hands it to the app that serves its path, with `scope["principal"]` set (or None).

    `areas` maps path prefixes to apps; the longest prefix wins, "" is the rest. `limits` maps path prefixes to the
    largest body in bytes, `renderers` areas to how they word errors. Routes decide for themselves what they permit.
    """

    def __init__(
        self,
        areas: Mapping[str, App],
        identity: Authenticator,
        *,
        hosts: frozenset[str],
        limits: Mapping[str, int],
        renderers: Mapping[str, Render] | None = None,
    ) -> None:
        self._renderers = renderers or {}
        self._areas = sorted(areas.items(), key=lambda item: -len(item[0]))
        self._identity = identity
        self._hosts = hosts
        self._limits = sorted(limits.items(), key=lambda item: -len(item[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        area, app = next((prefix, app) for prefix, app in self._areas if _under(path, prefix))
        request_id = scope["request_id"] = new_id("req")
        answer = _Answer(send, request_id)
        started = time.perf_counter()
        IN_FLIGHT.inc()
        try:
            limit = next(size for prefix, size in self._limits if path.startswith(prefix))
            self._check(scope, limit)
            await app(scope, _limited(receive, limit, scope["principal"]), answer)
        except Exception as error:  # the edge of a request
            if answer.is_whole:  # FastAPI raises an error again after it has told and logged it
                return
            if answer.status:
                raise
            if not isinstance(error, InhouseError):
                _log.exception("A request failed unexpectedly.", extra={"request_id": request_id})
                error = unexpected(request_id)
            response = self._renderers.get(area, render)(error, request_id)
            await response(scope, receive, answer)
        finally:
            IN_FLIGHT.dec()
            REQUESTS.labels(area or "console", str(answer.status)).inc()
            SECONDS.labels(area or "console").observe(time.perf_counter() - started)

    def _check(self, scope: Scope, limit: int) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = b", ".join(value for name, value in scope["headers"] if name == b"host").decode("latin-1")
        if _PORT.sub("", host).strip("[]").lower() not in self._hosts:
            raise WrongHost(
                f"This server does not answer to the host name {host!r}.", hint="Add it to INHOUSE_ALLOWED_HOSTS."
            )
        length = headers.get(b"content-length", b"0")
        scope["principal"] = self._who(scope, headers, host)
        if length.isdigit():
            _check_size(int(length), limit, scope["principal"])

    def _who(self, scope: Scope, headers: Mapping[bytes, bytes], host: str) -> Principal | None:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        if authorization:
            scheme, _, key = authorization.partition(" ")
            return self._identity.by_key(key.strip()) if scheme.lower() == "bearer" else None
        token = _cookie(headers.get(b"cookie", b"").decode("latin-1"))
        if not token:
            return None
        principal = self._identity.by_session(token)
        if principal is not None and scope["method"] not in _SAFE:
            _same_site(headers, host)
        return principal


class _Answer:
    """Adds the headers that every answer carries, and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self.status = 0
        self.is_whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name for name, _ in message.get("headers", ())}
            extra = [pair for pair in _HEADERS if pair[0] not in given]
            if b"x-request-id" not in given:
                extra.append((b"x-request-id", self._request_id))
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await self._send(message)
        self.is_whole = message["type"] == "http.response.body" and not message.get("more_body")


def _limited(receive: Receive, limit: int, principal: Principal | None) -> Receive:
    """Count a body that comes without a length, too, and do not wait for ever for the rest of one."""
    received = 0
    is_whole = False
    started = asyncio.get_running_loop().time()

    async def counted() -> Message:
        nonlocal received, is_whole
        if is_whole:
            return await receive()
        try:
            async with asyncio.timeout_at(started + GRACE_S + received / MIN_BYTES_PER_S):
                message = await receive()
        except TimeoutError as error:
            raise TooSlow("The request comes too slowly.", hint="Try again on a better connection.") from error
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            _check_size(received, limit, principal)
        is_whole = not message.get("more_body")
        return message

    return counted


def _check_size(size: int, limit: int, principal: Principal | None) -> None:
    if size > limit:
        raise BodyTooLarge(f"The request is larger than {limit / 1_000_000:g} MB.", hint="Send it in smaller parts.")
    if principal is None and size > ANONYMOUS_LIMIT:
        raise NotSignedIn("You are not signed in.", hint="Send `Authorization: Bearer ih_…` with so large a request.")


def _same_site(headers: Mapping[bytes, bytes], host: str) -> None:
    """Refuse an unsafe request that another site's page makes with the visitor's cookie."""
    fetch_site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
    origin = headers.get(b"origin", b"").decode("latin-1")
    if fetch_site in ("", "same-origin", "none") and (not origin or origin.partition("://")[2] == host):
        return
    raise CrossSite("This request comes from another site.", hint="Use an API key for programs.")


def _cookie(header: str) -> str:
    if COOKIE not in header:
        return ""
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if not prefix or prefix.endswith("/") else f"{prefix}/")
