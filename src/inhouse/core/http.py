"""The one door out: every outbound HTTP request passes this guard.

Each host name is resolved once, every address it resolves to is vetted, and the connection goes to a vetted
address, so that neither redirects nor changing DNS answers lead inside. Endpoints that an operator registered
are allowed by exact host and port.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpcore
import httpx

from inhouse.core.errors import Denied, Invalid, TimedOut, TooLarge, Unavailable

Allowed = Callable[[str, int], bool]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MAX_REDIRECTS = 5


class AddressBlocked(Denied):
    """The address is private, local or otherwise not for outbound requests."""


class BadUrl(Invalid):
    """Not an http(s) URL that can be requested."""


class EndpointUnreachable(Unavailable):
    """The other side refused, reset or could not be found."""


class EndpointTimedOut(TimedOut):
    """The other side took too long."""


class AnswerTooLarge(TooLarge):
    """The other side sent more than we accept."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to connect, and to wait for the next bytes."""

    connect_s: float = 10.0
    read_s: float = 60.0


class Http:
    """Guarded client. `allowed(host, port)` says whether a private address was registered by an operator."""

    def __init__(self, allowed: Allowed = lambda host, port: False, *, max_bytes: int = 32 << 20) -> None:
        self._allowed = allowed
        self._max_bytes = max_bytes
        self._client: httpx.AsyncClient | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeouts: Timeouts = Timeouts(),  # frozen
        follow_redirects: bool = False,
    ) -> httpx.Response:
        """Send a request and read the whole answer, up to the size limit."""
        async with self.stream(
            method, url, headers=headers, content=content, timeouts=timeouts, follow_redirects=follow_redirects
        ) as response:
            body = bytearray()
            async for part in self.body(response):
                body += part
                if len(body) > self._max_bytes:
                    raise AnswerTooLarge(f"{origin_of(url)} sent more than {self._max_bytes} bytes.")
            answer = httpx.Response(response.status_code, headers=_plain(response.headers), content=bytes(body))
            answer.request = response.request
            return answer

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeouts: Timeouts = Timeouts(),
        follow_redirects: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and give the answer while its body is still to come: read it through `body()`."""
        check_url(url)
        client = self._open()
        request = client.build_request(
            method,
            url,
            headers=dict(headers or {}),
            content=content,
            timeout=httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s),
        )
        with _translated(url):
            response = await client.send(request, stream=True, follow_redirects=follow_redirects)
        try:
            yield response
        finally:
            await response.aclose()

    async def body(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """The parts of a streamed answer, with transport errors as ours."""
        with _translated(str(response.request.url)):
            async for part in response.aiter_bytes():
                yield part

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            transport = httpx.AsyncHTTPTransport(trust_env=False)
            transport._pool = httpcore.AsyncConnectionPool(  # httpx has no public way to pass a network backend
                ssl_context=httpx.create_ssl_context(trust_env=False),
                max_connections=200,
                max_keepalive_connections=50,
                keepalive_expiry=30.0,
                network_backend=_Guard(self._allowed),
            )
            self._client = httpx.AsyncClient(transport=transport, trust_env=False, max_redirects=_MAX_REDIRECTS)
        return self._client


class _Guard(httpcore.AsyncNetworkBackend):
    def __init__(self, allowed: Allowed) -> None:
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._allowed = allowed

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host!r} has no address")
        for address in await self._addresses(host, port, timeout):
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        try:
            async with asyncio.timeout(timeout):
                return await vetted_addresses(host, port, is_registered=self._allowed(host, port))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"looking up {host!r} took too long") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host!r} cannot be found") from error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressBlocked("Unix sockets are not for outbound requests.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def check_url(url: str) -> httpx.URL:
    """Return the parsed URL; refuse everything but plain http and https without credentials in it."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise BadUrl(f"{url!r} is not a URL.", hint="It looks like https://host:port/path.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or "\\" in url or (parsed.port or 1) > 65535:
        raise BadUrl(f"{url!r} cannot be requested.", hint="Only http:// and https:// URLs with a host.")
    if parsed.userinfo:
        raise BadUrl("The URL carries a user name or password.", hint="Pass credentials as a key instead.")
    return parsed


def endpoint(url: str) -> tuple[str, int]:
    """The exact host and port of a URL, as the guard compares them."""
    parsed = check_url(url)
    return parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80)


def vet(address: str) -> None:
    """Raise `AddressBlocked` unless the address is a public unicast one, also behind v4-in-v6 forms."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if embedded is None and ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = embedded or ip
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        raise AddressBlocked(
            f"{address} is not a public address.",
            hint="An administrator can register this host and port as an endpoint first.",
        )


async def vetted_addresses(host: str, port: int, *, is_registered: bool) -> list[str]:
    """Look a host up once. Unless an operator registered it, one address inside is enough to block the name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not is_registered:
        for address in addresses:
            vet(address)
    return addresses


class _translated:
    """Turns transport errors into ours. The message names the origin only: paths may hold secrets."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, httpx.TimeoutException):
            raise EndpointTimedOut(f"{origin_of(self._url)} did not answer in time.") from error
        if isinstance(error, httpx.TooManyRedirects):
            raise EndpointUnreachable(f"{origin_of(self._url)} redirects too often.") from error
        if isinstance(error, httpx.HTTPError):
            raise EndpointUnreachable(
                f"{origin_of(self._url)} cannot be reached.", hint="Is it running, and is the URL right?"
            ) from error


def origin_of(url: str) -> str:
    """What errors say of a URL: paths and queries may hold secrets."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """Headers of an answer whose body has been decoded."""
    return {name: value for name, value in headers.items() if name not in ("content-encoding", "content-length")}
