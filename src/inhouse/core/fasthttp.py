"""The door's fast transport: pooled HTTP/1.1 for the gateway, behind the same address guard as `http.py`.

`answer.py` is what callers read, `http11.py` the connection it comes over, `pool.py` decides who gets one.
"""

import asyncio
import functools
import re
import ssl
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from inhouse.core.answer import Answer, EndpointBrokeOff, EndpointGarbled
from inhouse.core.http import Allowed, BadUrl, check_url, endpoint, origin_of
from inhouse.core.http11 import ConnectionStale, Waits
from inhouse.core.pool import Limits, Pool, Target, TooManyWaiting

__all__ = ["Answer", "EndpointBrokeOff", "EndpointGarbled", "FastHttp", "Origin", "TooManyWaiting", "Waits"]

_TARGET = re.compile(rb"(?:/[!-~]*)?")
_HAVE_BODIES = (b"POST", b"PUT", b"PATCH")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go: checked once, kept for as long as one likes."""

    name: str
    path: bytes
    tail: bytes
    pool: Pool = field(repr=False)

    def head(self, method: bytes, target: bytes, headers: bytes, body: bytes) -> bytes:
        """The head of a request. Refuses what would smuggle another one in."""
        beginning = _beginning(self.name, self.path, self.tail, method, target, headers)
        if body or method in _HAVE_BODIES:
            return b"%bcontent-length: %d\r\n\r\n" % (beginning, len(body))
        return beginning + b"\r\n"


@functools.lru_cache(maxsize=256)
def _beginning(name: str, path: bytes, tail: bytes, method: bytes, target: bytes, headers: bytes) -> bytes:
    """All of a head but the length of the body: the same for most requests."""
    if not method.isalpha() or not _TARGET.fullmatch(target):
        raise BadUrl(f"That is no path to ask {name} for.", hint="It begins with / and holds no blanks.")
    if headers and (not headers.endswith(b"\r\n") or headers.startswith(b"\r\n") or b"\r\n\r\n" in headers):
        raise BadUrl(f"The headers for {name} are not lines.", hint="Each one ends with a line break.")
    return b"".join((method, b" ", path + target or b"/", tail, headers))


class FastHttp:
    """Guarded client. `allowed(host, port)` says whether a private address was registered by an operator."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        max_connections: int = 512,
        max_waiting: int = 4096,
        keepalive_s: float = 30.0,
        max_head_bytes: int = 64 << 10,
    ) -> None:
        self._allowed = allowed
        self._limits = Limits(max_connections, max_waiting, keepalive_s, max_head_bytes)
        self._tls: ssl.SSLContext | None = None
        self._pools: WeakValueDictionary[str, Pool] = WeakValueDictionary()

    def origin(self, url: str) -> Origin:
        """Parse and check a base URL, to whose path the requests add theirs."""
        parsed = check_url(url)
        name = origin_of(url)
        path, has_query, _ = parsed.raw_path.partition(b"?")
        if has_query or parsed.fragment:
            raise BadUrl(f"{name} is given with a query.", hint="Leave out what follows the path.")
        pool = self._pools.get(name)
        if pool is None:
            tls = self._context() if parsed.scheme == "https" else None
            target = Target(endpoint(url), parsed.raw_host.decode("ascii"), tls)
            pool = self._pools[name] = Pool(name, target, self._allowed, self._limits)
        tail = b" HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\n" % parsed.netloc
        return Origin(name, path.rstrip(b"/"), tail, pool)

    async def send(
        self, origin: Origin, method: bytes, target: bytes, headers: bytes, body: bytes, *, waits: Waits
    ) -> Answer:
        """Send a request and give the answer once its head is here. Redirects are answers like others.

        `headers` are ready-made lines, without those that the client sets: host, content-length, accept-encoding.
        """
        head = origin.head(method, target, headers, body)
        pool = origin.pool
        connection = pool.take() or await pool.open(waits.connect_s)
        asked = connection.ask(head, body, waits)
        try:
            return await asked
        except ConnectionStale:
            connection = await pool.replace(connection, waits.connect_s)
        except BaseException:
            connection.leave(asked)
            raise
        asked = connection.ask(head, body, waits)
        try:
            return await asked
        except BaseException:
            connection.leave(asked)
            raise

    async def close(self) -> None:
        """Close every connection; answers that are under way break off."""
        for pool in list(self._pools.values()):
            pool.close()
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls
