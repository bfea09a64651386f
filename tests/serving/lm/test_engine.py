import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import torch

from inhouse.core.errors import InhouseError
from inhouse.models.language.vocabulary import Vocabulary
from inhouse.serving.lm.answer import Choice
from inhouse.serving.lm.engine import Channel, Engine, EngineFailed, OutOfMemory, QueueFull, Ticket
from inhouse.serving.lm.network import Network, Part, load
from inhouse.serving.lm.piece import Piece
from inhouse.serving.lm.request import Sampling
from inhouse.serving.lm.scheduler import Job, Scheduler
from inhouse.serving.lm.sections import Plain


class Fragile(Network):
    """A network that fails once when it reads token 13, as it is told to."""

    def __init__(self, network: Network, failure: Exception) -> None:
        super().__init__(network.model, context_length=network.context_length)
        self.failure: Exception | None = failure

    def step(self, parts: Sequence[Part]) -> torch.Tensor:
        if self.failure is not None and any(13 in part.ids for part in parts):
            failure, self.failure = self.failure, None
            raise failure
        return super().step(parts)


class Desk:
    """An engine and the means to ask it."""

    def __init__(self, directory: Path, failure: Exception) -> None:
        self._vocabulary = Vocabulary(directory)
        self.scheduler = Scheduler(rows=4, tokens=2000, waiting=1)
        self.engine = Engine(Fragile(load(directory), failure), self.scheduler, ends=frozenset())

    def ask(self, ids: list[int], *, limit: int = 5, sampling: Sampling | None = None) -> Ticket:
        choice = Choice(self._vocabulary, Plain(), index=0, limit=limit, stops=())
        sampling = sampling or Sampling(temperature=0)
        ticket = Ticket(Job(len(ids), limit), ids, sampling, [choice], Channel())
        self.engine.submit(ticket)
        return ticket


@pytest.fixture
async def desk(tiny: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    desk = Desk(tiny, getattr(request, "param", RuntimeError("the network is broken")))
    yield desk
    await asyncio.to_thread(desk.engine.close)


async def outcome(ticket: Ticket) -> Piece | InhouseError:
    """The last piece, or what went wrong."""
    async with asyncio.timeout(10):
        while True:
            try:
                piece = await ticket.channel.get()
            except InhouseError as error:
                return error
            if piece.usage is not None:
                return piece


async def four(desk: Desk) -> list[Ticket]:
    """As many requests as have places, all under way, with much to write."""
    running = []
    for _ in range(4):
        running.append(desk.ask([1], limit=400))
        await running[-1].channel.get()
    return running


@pytest.mark.parametrize(
    ("desk", "kind"),
    [
        (RuntimeError("shapes do not fit"), EngineFailed),
        (MemoryError(), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), OutOfMemory),
    ],
    indirect=["desk"],
)
async def test_a_failed_step_fails_its_requests_and_nobody_after(desk: Desk, kind: type[InhouseError]) -> None:
    failed = await outcome(desk.ask([1, 13]))
    later = await outcome(desk.ask([1, 2]))

    assert isinstance(failed, kind)
    assert isinstance(later, Piece)
    assert (desk.scheduler.used_rows, desk.scheduler.used_tokens) == (0, 0)


async def test_one_request_with_bad_numbers_does_not_hurt_another(desk: Desk) -> None:
    bad = desk.ask([1, 2], sampling=Sampling(temperature=float("nan")))
    good = desk.ask([3, 4])

    assert isinstance(await outcome(bad), EngineFailed)
    assert isinstance(await outcome(good), Piece)


async def test_cancelling_what_waits_takes_it_out_of_the_queue(desk: Desk) -> None:
    await four(desk)
    waiting = desk.ask([2], limit=3)

    desk.engine.cancel(waiting)
    desk.engine.cancel(waiting)
    await asyncio.to_thread(desk.engine.run, lambda: None)

    assert (desk.engine.stats().running, desk.engine.stats().waiting) == (4, 0)


async def test_who_waits_gets_the_first_free_place(desk: Desk) -> None:
    running = await four(desk)
    waiting = desk.ask([2], limit=3)

    desk.engine.cancel(running[2])

    assert isinstance(await outcome(waiting), Piece)


async def test_a_full_queue_says_when_to_come_back(desk: Desk) -> None:
    await four(desk)
    desk.ask([2], limit=3)

    with pytest.raises(QueueFull) as refused:
        desk.ask([3])

    assert refused.value.details["retry_after_s"] >= 1


async def test_closing_twice_is_harmless(desk: Desk) -> None:
    desk.engine.close()
    desk.engine.close()

    assert not desk.engine.is_alive
