"""The connections of the fast client to one origin: who may have one, who waits, and where new ones may go."""

import asyncio
import ssl
from collections import OrderedDict
from dataclasses import dataclass

from inhouse.core.errors import LimitExceeded
from inhouse.core.http import Allowed, EndpointTimedOut, EndpointUnreachable, vetted_addresses
from inhouse.core.http11 import Connection


class TooManyWaiting(LimitExceeded):
    """All connections to the other side are taken, and so are the places in line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one origin may have, and how long a connection is kept for the next request."""

    max_connections: int
    max_waiting: int
    keepalive_s: float
    max_head_bytes: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where an origin is: `registered` is what the operator's list is asked for, `host` is what is looked up."""

    registered: tuple[str, int]
    host: str
    tls: ssl.SSLContext | None


class Pool:
    """Connections to one origin. The one used last is taken first, so few stay warm and the others run out.

    Each connection holds one of `max_connections` slots from before it is made until it is lost.
    """

    def __init__(self, name: str, target: Target, allowed: Allowed, limits: Limits) -> None:
        self.name = name
        self.max_head_bytes = limits.max_head_bytes
        self.keepalive_s = limits.keepalive_s
        self._target = target
        self._allowed = allowed
        self._limits = limits
        self._slots = 0
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        self._waiting: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        self._is_closed = False

    def take(self) -> Connection | None:
        """A connection that is free right now."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_kept() and (connection.is_vetted or self._allowed(*self._target.registered)):
                return connection
            connection.abort()
        return None

    async def open(self, connect_s: float) -> Connection:
        """A new connection, or one that somebody else is done with where all slots are taken."""
        try:
            async with asyncio.timeout(connect_s):
                return await self._wait_or_connect()
        except TimeoutError as error:
            raise EndpointTimedOut(f"{self.name} did not let us in in time.", phase="connect") from error

    async def replace(self, stale: Connection, connect_s: float) -> Connection:
        """A new connection in the slot of one that died unseen."""
        if stale not in self._connections:
            return await self.open(connect_s)
        self._connections.discard(stale)
        try:
            async with asyncio.timeout(connect_s):
                return await self._connect()
        except TimeoutError as error:
            raise EndpointTimedOut(f"{self.name} did not let us in in time.", phase="connect") from error

    def release(self, connection: Connection) -> None:
        turn = self._next_turn()
        if turn is None:
            self._idle[connection] = None
        else:
            turn.set_result(connection)

    def drop(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        if connection in self._connections:
            self._connections.discard(connection)
            self._free_slot()

    def close(self) -> None:
        self._is_closed = True
        while (turn := self._next_turn()) is not None:
            turn.set_exception(self._unreachable("We are shutting down."))
        for connection in list(self._connections):
            connection.fail(self._unreachable("We are shutting down."))

    async def _wait_or_connect(self) -> Connection:
        if self._slots < self._limits.max_connections:
            self._slots += 1
            return await self._connect()
        if len(self._waiting) >= self._limits.max_waiting:
            raise TooManyWaiting(
                f"{self._limits.max_waiting} requests wait for {self.name} already.", hint="Try again in a moment."
            )
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            connection = await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            raise
        return await self._connect() if connection is None else connection

    def _pass_on(self, connection: Connection | None) -> None:
        """Give on what came for somebody who has left meanwhile."""
        if connection is None:
            self._free_slot()
        elif connection in self._connections:
            self.release(connection)

    def _next_turn(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                return turn
        return None

    def _free_slot(self) -> None:
        turn = self._next_turn()
        if turn is None:
            self._slots -= 1
        else:
            turn.set_result(None)

    async def _connect(self) -> Connection:
        """Make a connection in a slot that the caller took; without success the slot is free again."""
        try:
            connection = await self._dial()
            if self._is_closed or connection.is_lost:
                connection.abort()
                raise self._unreachable("It closed the connection at once.")
        except BaseException:
            self._free_slot()
            raise
        self._connections.add(connection)
        return connection

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        target = self._target
        is_registered = self._allowed(*target.registered)
        port = target.registered[1]
        failure: Exception | None = None
        try:
            for address in await vetted_addresses(target.host, port, is_registered=is_registered):
                try:
                    _, connection = await loop.create_connection(
                        lambda: Connection(self, loop, is_vetted=not is_registered),
                        address,
                        port,
                        ssl=target.tls,
                        server_hostname=target.host if target.tls else None,
                    )
                    return connection
                except OSError as error:
                    failure = error
        except (OSError, UnicodeError) as error:  # of the look-up
            failure = error
        if isinstance(failure, ssl.SSLCertVerificationError):
            raise self._unreachable("Its certificate is not trusted here.") from failure
        raise self._unreachable("Is it running, and is the URL right?") from failure

    def _unreachable(self, hint: str) -> EndpointUnreachable:
        return EndpointUnreachable(f"{self.name} cannot be reached.", hint=hint)
