"""What is sent in one round of the event loop leaves together, at the end of it.

Each write wakes whoever reads on the other side. While many requests are under way, a few writes at a time keep him
awake; spread over the round, nearly every one of them would have to wake him anew, which costs more than the write.
"""

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary


class Sender(Protocol):
    def flush(self) -> None:
        """Write what waits; nothing, where it has been written meanwhile."""
        ...


class Outbox:
    """The connections of one loop that have something to write."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """Have `sender` flush soon. Once is enough until then."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(sender)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sender in waiting:
            sender.flush()


_outboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox_of(loop: asyncio.AbstractEventLoop) -> Outbox:
    """The one outbox of a loop, which all its connections share."""
    found = _outboxes.get(loop)
    if found is None:
        found = _outboxes[loop] = Outbox(loop)
    return found
