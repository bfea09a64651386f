"""Tells every server of an installation that something in memory is out of date."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from inhouse.core.ids import new_id

if TYPE_CHECKING:
    from redis.asyncio import Redis

_CHANNEL = "inhouse:changed"
_log = logging.getLogger(__name__)


class Bus:
    """Topics (`deployments`, `workflows`, …) that listeners refresh on.

    Without a Redis URL it reaches this process only, which is all that one server needs. With one, a notice
    also reaches the other servers; when Redis is away each server keeps serving what it knows and refreshes
    everything once Redis is back.
    """

    def __init__(self, url: str = "", *, retry_s: float = 2.0) -> None:
        self._url = url
        self._retry_s = retry_s
        self._me = new_id("server")
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, topic: str, refresh: Callable[[], None]) -> None:
        self._listeners.setdefault(topic, []).append(refresh)

    def publish(self, topic: str) -> None:
        """Refresh this process now and tell the others. Safe from any thread."""
        self._refresh(topic)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._outgoing.put_nowait, topic)

    async def start(self) -> None:
        if self._url:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._loop = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        from redis import asyncio as redis  # a third of a second to import, for the few who use it
        from redis.exceptions import RedisError

        while True:
            try:
                async with (
                    redis.from_url(self._url, socket_connect_timeout=5) as connection,
                    connection.pubsub() as inbox,
                ):
                    await inbox.subscribe(_CHANNEL)
                    for topic in self._listeners:  # what was missed while away
                        await asyncio.to_thread(self._refresh, topic)
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._receive(inbox))
                        group.create_task(self._send(connection))
            except* (RedisError, OSError) as errors:
                _log.warning("Redis is away, retrying: %s", errors.exceptions[0])
            await asyncio.sleep(self._retry_s)

    async def _receive(self, inbox: Any) -> None:
        async for message in inbox.listen():
            if message["type"] != "message":
                continue
            sender, _, topic = message["data"].decode().partition(" ")
            if sender != self._me:
                await asyncio.to_thread(self._refresh, topic)

    async def _send(self, connection: "Redis") -> None:
        while True:
            topic = await self._outgoing.get()
            sent = False
            try:
                await connection.publish(_CHANNEL, f"{self._me} {topic}")
                sent = True
            finally:
                if not sent:  # for the next connection
                    self._outgoing.put_nowait(topic)

    def _refresh(self, topic: str) -> None:
        for refresh in self._listeners.get(topic, ()):
            refresh()
