import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.serving.batcher import Batcher, NotUnicode, Queue, QueueFull, TooManyTexts, WrongCount, text_length
from inhouse.serving.runtime import Output


@dataclass(eq=False)
class Entry:
    length: int
    is_wanted: bool = True


entries = st.lists(st.builds(Entry, st.integers(1, 300), st.booleans()), max_size=60)


def drained(queue: Queue[Entry]) -> list[list[Entry]]:
    return list(iter(queue.take, []))


@given(entries)
def test_every_wanted_entry_runs_exactly_once_and_no_other(waiting: list[Entry]):
    queue: Queue[Entry] = Queue(max_tokens=256, max_entries=100)
    queue.put(waiting)

    ran = [id(entry) for batch in drained(queue) for entry in batch]

    assert sorted(ran) == sorted(id(entry) for entry in waiting if entry.is_wanted)


@given(entries)
def test_the_oldest_entry_is_in_the_next_batch(waiting: list[Entry]):
    queue: Queue[Entry] = Queue(max_tokens=256, max_entries=100)
    queue.put(waiting)
    wanted = [entry for entry in waiting if entry.is_wanted]

    assert [batch[0] for batch in drained(queue)][:1] == wanted[:1]


@given(entries)
def test_a_padded_batch_stays_within_the_token_budget_unless_it_is_one_entry(waiting: list[Entry]):
    queue: Queue[Entry] = Queue(max_tokens=256, max_entries=100)
    queue.put(waiting)

    for batch in drained(queue):
        assert len(batch) == 1 or max(entry.length for entry in batch) * len(batch) <= 256


def test_neighbours_in_length_fill_the_batch():
    short, long, near, nearer = Entry(10), Entry(90), Entry(12), Entry(11)
    queue: Queue[Entry] = Queue(max_tokens=36, max_entries=10)
    queue.put([short, long, near, nearer])

    assert drained(queue) == [[short, nearer, near], [long]]


def test_a_full_queue_takes_all_entries_or_none():
    queue: Queue[Entry] = Queue(max_tokens=256, max_entries=3)
    queue.put([Entry(1), Entry(1)])

    assert not queue.put([Entry(1), Entry(1)])
    assert len(queue) == 2


def test_entries_that_nobody_wants_make_room():
    queue: Queue[Entry] = Queue(max_tokens=256, max_entries=2)
    queue.put([Entry(1, is_wanted=False), Entry(1, is_wanted=False)])

    assert queue.put([Entry(1), Entry(1)])


class Gate:
    """A model that answers each text with its length, once it is opened; remembers its batches."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[Output]:
        self.batches.append(list(texts))
        self.entered.set()
        assert self.opened.wait(5)
        return [{"length": float(len(text))} for text in texts]

    async def is_entered(self) -> None:
        await asyncio.to_thread(self.entered.wait, 5)


@asynccontextmanager
async def batching(run: Callable[[Sequence[str]], list[Output]], *, max_queue: int = 100) -> AsyncIterator[Batcher]:
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(
            run,
            executor=executor,
            turns=asyncio.Semaphore(1),
            length=partial(text_length, max_length=64),
            max_queue=max_queue,
        )
        yield batcher
        await batcher.drain()


async def test_what_arrives_during_a_batch_runs_together_in_the_next():
    gate = Gate()
    async with batching(gate) as batcher:
        first = asyncio.create_task(batcher.submit(["first"]))
        await gate.is_entered()
        others = [asyncio.create_task(batcher.submit([f"text {number}"])) for number in range(3)]
        await asyncio.sleep(0)
        gate.opened.set()
        answers = await asyncio.gather(first, *others)

    assert gate.batches == [["first"], ["text 0", "text 1", "text 2"]]
    assert answers == [[{"length": 5.0}], *[[{"length": 6.0}]] * 3]


async def test_a_text_whose_caller_left_is_never_run():
    gate = Gate()
    async with batching(gate) as batcher:
        first = asyncio.create_task(batcher.submit(["first"]))
        await gate.is_entered()
        leaving = asyncio.create_task(batcher.submit(["left"]))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        gate.opened.set()
        await first

    assert gate.batches == [["first"]]


async def test_a_full_queue_says_when_to_come_back():
    gate = Gate()
    async with batching(gate, max_queue=1) as batcher:
        running = asyncio.create_task(batcher.submit(["running"]))
        await gate.is_entered()
        waiting = asyncio.create_task(batcher.submit(["waiting"]))
        await asyncio.sleep(0)

        with pytest.raises(QueueFull) as refused:
            await batcher.submit(["one too many"])

        gate.opened.set()
        await asyncio.gather(running, waiting)
    assert refused.value.details["retry_after_s"] >= 1


async def test_a_failing_batch_fails_its_callers_and_no_later_ones():
    def run(texts: Sequence[str]) -> list[Output]:
        if "bad" in texts:
            raise RuntimeError("boom")
        return [{} for _ in texts]

    async with batching(run) as batcher:
        with pytest.raises(RuntimeError, match="boom"):
            await batcher.submit(["bad"])

        assert await batcher.submit(["good"]) == [{}]


@pytest.mark.parametrize("answers", [[], [{}], [{}, {}, {}]])
async def test_a_model_that_returns_another_number_of_rows_fails_its_callers(answers: list[Output]):
    async with batching(lambda _: answers) as batcher, asyncio.timeout(5):
        with pytest.raises(WrongCount, match=f"{len(answers)} of 2 texts"):
            await batcher.submit(["one", "two"])


async def test_more_texts_than_can_ever_wait_are_refused_at_once():
    async with batching(Gate(), max_queue=10) as batcher:
        with pytest.raises(TooManyTexts, match="100000 texts"):
            await batcher.submit(["x"] * 100_000)


async def test_half_a_surrogate_pair_fails_alone():
    async with batching(Gate()) as batcher:
        with pytest.raises(NotUnicode, match="Character 2"):
            await batcher.submit(["ab\ud800"])
