"""The door that every request passes: host, size, who is asking, and where it goes."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from inhouse.access import keys
from inhouse.access.api import COOKIE
from inhouse.core.asgi import (
    CONNECTION,
    WHOLE,
    BodyTooLarge,
    Connection,
    Header,
    Message,
    Receive,
    Scope,
    Send,
)
from inhouse.core.errors import Denied, InhouseError, Invalid, TimedOut, Unauthenticated
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.core.spread import Spread
from inhouse.server.errors import render, unexpected

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Render = Callable[[InhouseError, str], Response]

ANONYMOUS_LIMIT = 64 << 10
"""The largest body of who has not signed in, in bytes: enough to do so."""
GRACE_S = 30.0
MIN_BYTES_PER_S = 4096

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PORT = re.compile(r":\d+$")
_FOR_ALL = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_LINES_FOR_ALL = b"".join(b"%b: %b\r\n" % pair for pair in _FOR_ALL)
_FOR_BROWSERS = (
    *_FOR_ALL,
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
_HOSTS_REMEMBERED = 1000
_PATHS_REMEMBERED = 100

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
    def by_digest(self, digest: bytes) -> Principal | None: ...
    def by_session(self, token: str) -> Principal | None: ...


class Traffic(Collector):
    """What passes the door, as plain numbers, and as Prometheus series for who looks."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.areas: list[Area] = []

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("inhouse_http_in_flight", "Requests being answered.", value=self.in_flight)
        labels = ("area", "status")
        requests = CounterMetricFamily("inhouse_http_requests", "Requests by area and status.", labels=labels)
        seconds = HistogramMetricFamily("inhouse_http_request_seconds", "Seconds to the end.", labels=("area",))
        for area in self.areas:
            for status, count in list(area.requests.items()):
                requests.add_metric((area.label, str(status)), count)
            seconds.add_metric((area.label,), area.seconds.wire(), area.seconds.total)
        yield requests
        yield seconds


TRAFFIC = Traffic()
REGISTRY.register(TRAFFIC)


class Area:
    """The paths under one prefix: their app, its limits, and what is counted there.

    Data planes answer programs: their answers go without the headers that only tell browsers what not to do.
    """

    def __init__(
        self, prefix: str, app: App, *, limits: Mapping[str, int], render: Render, is_data_plane: bool = False
    ) -> None:
        self.app = app
        self.render = render
        self.headers = _FOR_ALL if is_data_plane else _FOR_BROWSERS
        self._limits = [
            (path, limits[path])
            for path in sorted(limits, key=len, reverse=True)
            if path.startswith(prefix) or not path
        ]
        self.is_data_plane = is_data_plane
        self.label = prefix or "console"
        self.requests: dict[int, int] = {}
        self.seconds = Spread()

    def limit(self, path: str) -> int:
        """The largest body for a path, in bytes."""
        for prefix, size in self._limits:
            if path.startswith(prefix):
                return size
        return 0

    def count(self, status: int, seconds: float) -> None:
        self.requests[status] = self.requests.get(status, 0) + 1
        self.seconds.add(seconds)


class Door:
    """Checks a request and hands it to the app that serves its path, with `scope["principal"]` set (or None).

    `areas` maps the first segments of paths to apps; "" is the rest. `limits` maps path prefixes to the largest body
    in bytes, `renderers` areas to how they word errors. Routes decide for themselves what they permit.
    """

    def __init__(
        self,
        areas: Mapping[str, App],
        identity: Authenticator,
        *,
        hosts: frozenset[str],
        limits: Mapping[str, int],
        renderers: Mapping[str, Render] | None = None,
        data_planes: frozenset[str] = frozenset(),
    ) -> None:
        words = renderers or {}
        self._areas = {
            prefix: Area(
                prefix, app, limits=limits, render=words.get(prefix, render), is_data_plane=prefix in data_planes
            )
            for prefix, app in areas.items()
        }
        self._rest = self._areas[""]
        TRAFFIC.areas = list(self._areas.values())
        self._identity = identity
        self._hosts = hosts
        self._known_hosts: set[bytes] = set()
        self._places: dict[str, tuple[Area, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        place = self._places.get(path)
        if place is None:
            place = self._find(path)
        area, limit = place
        request_id = scope["request_id"] = new_id("req")
        answer = (_PlainAnswer if area.is_data_plane else _Answer)(send, request_id, area.headers)
        started = time.perf_counter()
        TRAFFIC.in_flight += 1
        try:
            connection: Connection | None = scope.get(CONNECTION)
            is_bounded = self._check(scope, limit, connection)
            if not is_bounded or connection is None or not connection.is_read:
                receive = _limited(receive, limit, scope["principal"])
            elif isinstance(answer, _PlainAnswer):
                answer.connection = connection
                scope[WHOLE] = answer
            await area.app(scope, receive, answer)
        except Exception as error:  # the edge of a request
            if answer.is_whole:  # FastAPI raises an error again after it has told and logged it
                return
            if answer.status:
                raise
            if not isinstance(error, InhouseError):
                _log.exception("A request failed unexpectedly.", extra={"request_id": request_id})
                error = unexpected(request_id)
            await area.render(error, request_id)(scope, receive, answer)
        finally:
            scope.pop(WHOLE, None)  # it leads back to the scope: the collector would have to find that out
            TRAFFIC.in_flight -= 1
            area.count(answer.status, time.perf_counter() - started)

    def _find(self, path: str) -> tuple[Area, int]:
        """The area of a path, and the largest body there."""
        area = self._areas.get("/" + path.split("/", 2)[1] if path.startswith("/") else path, self._rest)
        place = area, area.limit(path)
        if area.is_data_plane and len(self._places) < _PATHS_REMEMBERED:
            self._places[path] = place
        return place

    def _check(self, scope: Scope, limit: int, connection: Connection | None) -> bool:
        """Whether the body's size is known and within the limit. Finds out who is asking."""
        host = length = authorization = cookie = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = host + b", " + value if host else value
            elif name == b"content-length":
                length = value
            elif name == b"authorization":
                authorization = value
            elif name == b"cookie":
                cookie = value
        if host not in self._known_hosts:
            self._check_host(host)
        scope["principal"] = None
        if authorization:
            if connection is None:
                digest = _digest(authorization)
            elif connection.known[0] == authorization:
                digest = connection.known[1]
            else:
                digest = _digest(authorization)
                connection.known = (authorization, digest)
            scope["principal"] = self._identity.by_digest(digest)
        elif cookie:
            scope["principal"] = self._visitor(scope, _cookie(cookie.decode("latin-1")), host.decode("latin-1"))
        if not length.isdigit():
            return False
        _check_size(int(length), limit, scope["principal"])
        return True

    def _check_host(self, raw: bytes) -> None:
        host = raw.decode("latin-1")
        if _PORT.sub("", host).strip("[]").lower() not in self._hosts:
            raise WrongHost(
                f"This server does not answer to the host name {host!r}.", hint="Add it to INHOUSE_ALLOWED_HOSTS."
            )
        if len(self._known_hosts) < _HOSTS_REMEMBERED:
            self._known_hosts.add(raw)

    def _visitor(self, scope: Scope, token: str, host: str) -> Principal | None:
        principal = self._identity.by_session(token) if token else None
        if principal is not None and scope["method"] not in _SAFE:
            _same_site(dict(scope["headers"]), host)
        return principal


class _Answer:
    """Adds the headers that every answer carries, and remembers the status."""

    __slots__ = ("_request_id", "_send", "headers", "is_whole", "status")

    def __init__(self, send: Send, request_id: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._send = send
        self._request_id = request_id
        self.headers = headers
        self.status = 0
        self.is_whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name for name, _ in message.get("headers", ())}
            extra = [pair for pair in self.headers if pair[0] not in given]
            if b"x-request-id" not in given:
                extra.append((b"x-request-id", self._request_id.encode()))
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await self._send(message)
        self.is_whole = message["type"] == "http.response.body" and not message.get("more_body")


class _PlainAnswer(_Answer):
    """The same for data planes, which set none of these headers but the id of the request, which they set always.

    To a request that is here to its end, it is the way to answer it in one go.
    """

    __slots__ = ("connection",)

    connection: Connection

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] += self.headers
        await self._send(message)
        self.is_whole = message["type"] == "http.response.body" and not message.get("more_body")

    def body(self) -> bytes:
        return self.connection.take_body()

    def answer(self, status: int, headers: list[Header], body: bytes, lines: bytes = b"") -> bool:
        """False where it has to be sent in the ordinary way."""
        if not self.connection.answer(status, headers, body, lines + _LINES_FOR_ALL):
            return False
        self.status = status
        self.is_whole = True
        return True


def _digest(authorization: bytes) -> bytes:
    """Of the key that was sent; empty, which is nobody's, where it cannot be one."""
    scheme, _, key = authorization.decode("latin-1").partition(" ")
    key = key.strip()
    return keys.digest(key) if scheme.lower() == "bearer" and keys.is_possible(key) else b""


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
