"""Write behind the request: a bounded queue and one thread that writes in batches."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
_log = logging.getLogger(__name__)


class WriteBehind(Generic[Item]):
    """Takes items at once and hands them to `flush` in batches on its own thread.

    `put` never waits: when the queue is full the item is dropped and counted. A batch whose flush fails is
    retried once item by item, so that one bad row does not take its neighbours with it; what fails again is
    counted in `failed` and logged.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], None],
        *,
        name: str = "behind",
        max_queue: int = 10_000,
        max_batch: int = 200,
    ) -> None:
        self.dropped = 0
        self.failed = 0
        self._flush = flush
        self._max_batch = max_batch
        self._queue: queue.Queue[Item | None] = queue.Queue(max_queue)
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
        """Wait until everything put so far is written."""
        if self._thread.is_alive():
            self._queue.join()

    def close(self) -> None:
        """Write what is queued and stop."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch: list[Item] = []
            taken = 0
            item = self._queue.get()
            while True:
                taken += 1
                if item is None:
                    stopping = True
                    break
                batch.append(item)
                if len(batch) >= self._max_batch:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            self._write(batch)
            for _ in range(taken):
                self._queue.task_done()

    def _write(self, batch: list[Item]) -> None:
        if not batch:
            return
        try:
            self._flush(batch)
        except Exception:
            if len(batch) == 1:
                self.failed += 1
                _log.exception("A write behind the request failed and was given up.")
                return
            for item in batch:
                self._write([item])
