"""Groups the texts that wait into batches for one model."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from inhouse.core.errors import Invalid, LimitExceeded, Misconfigured


class QueueFull(LimitExceeded):
    """More texts wait for this model than it accepts."""


class TooManyTexts(Invalid):
    """One request carries more texts than can ever wait."""


class NotUnicode(Invalid):
    """The text holds half a surrogate pair, which is no character."""


class WrongCount(Misconfigured):
    """A runtime returned more or fewer answers than it was given texts."""


Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Waiting(Protocol):
    """Anything with a length that somebody may stop waiting for."""

    @property
    def length(self) -> int: ...

    @property
    def is_wanted(self) -> bool: ...


Entry = TypeVar("Entry", bound=Waiting)


class Queue(Generic[Entry]):
    """Decides what runs next. Knows lengths only: no tensor, no clock, no thread.

    The oldest entry opens each batch, so nothing starves; neighbours in length fill it, so little is padding.
    A batch costs its longest entry times its size and stays within `max_tokens`, unless a single entry is longer.
    """

    def __init__(self, *, max_tokens: int, max_entries: int) -> None:
        self._max_tokens = max_tokens
        self._max_entries = max_entries
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entries: Sequence[Entry]) -> bool:
        """Add all entries; False, adding none, where they don't fit."""
        if len(self._entries) + len(entries) > self._max_entries:
            self._drop_unwanted()
        if len(self._entries) + len(entries) > self._max_entries:
            return False
        self._entries.extend(entries)
        return True

    def take(self) -> list[Entry]:
        """Remove and return the next batch; empty when nobody waits."""
        self._drop_unwanted()
        if not self._entries:
            return []
        oldest = self._entries[0]
        batch, longest = [oldest], oldest.length
        for entry in sorted(self._entries[1:], key=lambda entry: abs(entry.length - oldest.length)):
            width = max(longest, entry.length)
            if width * (len(batch) + 1) <= self._max_tokens:
                batch.append(entry)
                longest = width
        taken = {id(entry) for entry in batch}
        self._entries = [entry for entry in self._entries if id(entry) not in taken]
        return batch

    def _drop_unwanted(self) -> None:
        self._entries = [entry for entry in self._entries if entry.is_wanted]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry(Generic[Item, Answer]):
    item: Item
    length: int
    answer: "asyncio.Future[Answer]"

    @property
    def is_wanted(self) -> bool:
        return not self.answer.done()


class Batcher(Generic[Item, Answer]):
    """Runs one model on batches of what waits, as soon as it gets a turn: nothing waits for company.

    `turns` is shared by all models and admits as many batches as there are threads, first come, first served;
    one model keeps at most `parallel` batches going. A caller that is cancelled is dropped before its turn.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        executor: Executor,
        turns: asyncio.Semaphore,
        length: Callable[[Item], int],
        parallel: int = 1,
        max_tokens: int = 4096,
        max_queue: int = 1024,
    ) -> None:
        self._run = run
        self._executor = executor
        self._turns = turns
        self._length = length
        self._parallel = parallel
        self._max_queue = max_queue
        self._queue: Queue[_Entry[Item, Answer]] = Queue(max_tokens=max_tokens, max_entries=max_queue)
        self._workers: set[asyncio.Task[None]] = set()
        self._seconds_each = 0.0

    @property
    def is_idle(self) -> bool:
        return not self._workers

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """Wait for the answers to all items, in their order."""
        if len(items) > self._max_queue:
            raise TooManyTexts(f"{len(items)} texts in one request.", hint=f"Send at most {self._max_queue} at a time.")
        loop = asyncio.get_running_loop()
        entries = [_Entry(item, self._length(item), loop.create_future()) for item in items]
        if not self._queue.put(entries):
            wait_s = max(1, math.ceil(len(self._queue) * self._seconds_each))
            raise QueueFull(
                f"{len(self._queue)} texts are waiting for this model already.",
                hint=f"Try again in {wait_s} s.",
                retry_after_s=wait_s,
            )
        if len(self._workers) < self._parallel:
            worker = loop.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await asyncio.gather(*(entry.answer for entry in entries))

    async def drain(self) -> None:
        """Wait until nothing is queued or running."""
        while self._workers:
            await asyncio.wait(self._workers)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._queue):
            async with self._turns:
                batch = self._queue.take()
                if not batch:
                    continue
                started = time.monotonic()
                try:
                    answers = await loop.run_in_executor(self._executor, self._run, [entry.item for entry in batch])
                    _check_count(batch, answers)
                except Exception as error:  # belongs to whoever waits for this batch; the next batch may be fine
                    _fail(batch, error)
                    continue
            self._learn((time.monotonic() - started) / len(batch))
            for entry, answer in zip(batch, answers, strict=True):
                if entry.is_wanted:
                    entry.answer.set_result(answer)

    def _learn(self, seconds_each: float) -> None:
        self._seconds_each += 0.2 * (seconds_each - self._seconds_each)


def text_length(text: str, max_length: int) -> int:
    """About as many tokens as the text has: three bytes are one Chinese character, or most of an English token."""
    try:
        return min(max_length, len(text.encode()) // 3 + 2)
    except UnicodeEncodeError as error:
        raise NotUnicode(
            f"Character {error.start} of the text is half a surrogate pair.", hint="Send the text as valid Unicode."
        ) from error


def _check_count(batch: Sequence[object], answers: Sequence[object]) -> None:
    if len(answers) != len(batch):
        raise WrongCount(f"The model answered {len(answers)} of {len(batch)} texts.", hint="Deploy another version.")


def _fail(batch: Sequence[_Entry[Item, Answer]], error: Exception) -> None:
    for entry in batch:
        if entry.is_wanted:
            entry.answer.set_exception(error)
