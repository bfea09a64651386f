"""Write behind the request: a bounded queue and one thread that writes in batches."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import OperationalError

from inhouse.core.errors import Unavailable

PAUSES_S = (0.1, 0.4, 1.5)
_AWAY = (OperationalError, Unavailable)
Item = TypeVar("Item")
_log = logging.getLogger(__name__)


class WriteBehind(Generic[Item]):
    """Takes items at once and hands them to `flush` in batches on its own thread.

    `put` never waits: when the queue is full the item is dropped and counted. A batch whose flush fails is
    retried once item by item, so that one bad row does not take its neighbours with it; what fails again is
    counted in `failed` and logged. While the database is away a batch waits a little and is tried again as a whole.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], None],
        *,
        name: str = "behind",
        max_queue: int = 10_000,
        max_batch: int = 200,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.dropped = 0
        self.failed = 0
        self._flush = flush
        self._max_batch = max_batch
        self._sleep = sleep
        self._queue: queue.Queue[Item | threading.Event | None] = queue.Queue(max_queue)
        self._thread = threading.Thread(target=self._run, name=f"inhouse-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: Item) -> bool:
        """Queue an item; False when it was dropped."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def drain(self) -> None:
        """Wait until everything put so far is written; what others put meanwhile is not waited for."""
        written = threading.Event()
        if self._thread.is_alive():
            self._queue.put(written)
        while self._thread.is_alive() and not written.wait(0.1):
            pass

    def close(self) -> None:
        """Write what is queued and stop."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        item = self._queue.get()
        while item is not None:
            batch: list[Item] = []
            while item is not None and not isinstance(item, threading.Event):
                batch.append(item)
                if len(batch) >= self._max_batch or self._queue.empty():
                    break
                item = self._queue.get()
            self._write(batch)
            if isinstance(item, threading.Event):
                item.set()
            if item is not None:
                item = self._queue.get()

    def _write(self, batch: list[Item]) -> None:
        if not batch:
            return
        try:
            self._flush_patiently(batch)
        except _AWAY:
            self._give_up(batch)
        except Exception:
            if len(batch) == 1:
                self._give_up(batch)
                return
            for item in batch:
                self._write([item])

    def _flush_patiently(self, batch: list[Item]) -> None:
        for pause_s in PAUSES_S:
            try:
                return self._flush(batch)
            except _AWAY:
                self._sleep(pause_s)
        return self._flush(batch)

    def _give_up(self, batch: list[Item]) -> None:
        self.failed += len(batch)
        _log.exception("%d writes behind the request failed and were given up.", len(batch))
