"""Continuous batching: one thread that reads and writes for everybody, a token at a time.

Requests join and leave between two steps. What a step does is the scheduler's business, how it is computed the
network's, what becomes of a token the answer's; this file only turns the crank.
"""

import asyncio
import contextlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch

from inhouse.core.errors import InhouseError, LimitExceeded, Unavailable
from inhouse.serving.lm.network import Part, Past
from inhouse.serving.lm.piece import Piece
from inhouse.serving.lm.sampling import Chosen, Dice
from inhouse.serving.lm.scheduler import Job, Portion, Scheduler

if TYPE_CHECKING:
    from torch import Tensor

    from inhouse.serving.lm.answer import Choice
    from inhouse.serving.lm.constrain import Constraint
    from inhouse.serving.lm.request import Sampling

_log = logging.getLogger(__name__)


class QueueFull(LimitExceeded):
    """Too many requests are waiting for this language model."""


class EngineStopped(Unavailable):
    """The language model was unloaded before it had finished."""


class EngineFailed(Unavailable):
    """The language model failed while it was writing."""


class OutOfMemory(Unavailable):
    """There was not enough memory for the next step."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How busy an engine is."""

    running: int
    waiting: int
    rows: int
    kv_tokens_used: int
    kv_tokens: int
    tokens_read: int
    tokens_written: int
    steps: int


class Channel:
    """Takes pieces from the engine's thread to whoever awaits them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Piece | InhouseError] = asyncio.Queue()

    async def get(self) -> Piece:
        """The next piece; raises what went wrong."""
        item = await self._queue.get()
        if isinstance(item, InhouseError):
            raise item
        return item

    def put(self, items: Sequence[Piece | InhouseError]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._take, items)

    def _take(self, items: Sequence[Piece | InhouseError]) -> None:
        for item in items:
            self._queue.put_nowait(item)


@dataclass(slots=True, eq=False)
class _Writer:
    """One choice at work."""

    choice: "Choice"
    dice: Dice
    constraint: "Constraint | None"
    row: Past | None = None
    next: int = 0
    """The token that it reads in the next step: the last one it wrote."""

    @property
    def is_done(self) -> bool:
        return self.choice.finish_reason is not None


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way through the engine."""

    job: Job
    ids: Sequence[int]
    sampling: "Sampling"
    choices: "Sequence[Choice]"
    channel: Channel
    adapter: str = ""
    top_logprobs: int | None = None
    ignore_eos: bool = False
    constraint: "Constraint | None" = None
    writers: list[_Writer] = field(default_factory=list)
    row: Past | None = None
    seated_at: float = 0.0
    is_over: bool = False

    def seat(self, row: Past) -> None:
        self.seated_at = time.monotonic()
        self.row = row
        seed = self.sampling.seed if self.sampling.seed is not None else secrets.randbits(62)
        for number, choice in enumerate(self.choices):
            dice = Dice(self.sampling, (seed + number) % (1 << 63), self.top_logprobs)
            constraint = self.constraint.copy() if self.constraint and len(self.choices) > 1 else self.constraint
            self.writers.append(_Writer(choice, dice, constraint))

    def start_writing(self) -> None:
        """All choices go on from the same prompt."""
        row, self.row = self.row, None
        assert row is not None
        for number, writer in enumerate(self.writers):
            writer.row = row.fork() if number else row

    @property
    def usage(self) -> tuple[int, int]:
        return len(self.ids), sum(choice.written for choice in self.choices)


class Forward(Protocol):
    """What computes the steps: the transformers library's networks, or others that keep the past their own way."""

    @property
    def context_length(self) -> int: ...
    @property
    def scores(self) -> int:
        """How many tokens it gives scores to."""
        ...

    @property
    def device(self) -> torch.device: ...

    def row(self, capacity: int, adapter: str = "") -> Past:
        """Memory for a choice of at most so many tokens."""
        ...

    def step(self, parts: Sequence[Part]) -> "Tensor": ...


class Engine:
    """Runs one network on a thread of its own, until `close`."""

    def __init__(
        self,
        network: Forward,
        scheduler: Scheduler,
        *,
        ends: frozenset[int],
        threads: int = 0,
        name: str = "",
    ) -> None:
        self._network = network
        self._scheduler = scheduler
        self._ends = ends
        self._threads = threads
        self._tickets: dict[Job, Ticket] = {}
        self._inbox: list[Callable[[], None]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._steps = self._read = self._written = 0
        self._seconds_per_job = 1.0
        self._thread = threading.Thread(target=self._run, name=f"inhouse-lm-{name}", daemon=True)
        self._thread.start()

    def submit(self, ticket: Ticket) -> None:
        """Queue a request; its pieces come through its channel. Any thread."""
        with self._changed:
            if self._closing:
                raise EngineStopped("The language model is being unloaded.", hint="Try again.")
            if self._scheduler.is_full:
                wait_s = self._expected_wait_s()
                raise QueueFull(
                    f"{self._scheduler.queued} requests are waiting for this language model already.",
                    hint=f"Try again in {wait_s} s.",
                    retry_after_s=wait_s,
                    code="rate_limit_exceeded",
                )
            self._tickets[ticket.job] = ticket
            self._scheduler.add(ticket.job)
            self._changed.notify()

    def cancel(self, ticket: Ticket) -> None:
        """Give a request up before the next step. Harmless when it is over. Any thread."""
        if not ticket.is_over:
            self._tell(lambda: self._drop(ticket))

    def run(self, work: Callable[[], None], *, timeout_s: float = 60.0) -> None:
        """Do something between two steps, on the engine's thread, and wait for it."""
        done: Future[None] = Future()

        def attempt() -> None:
            try:
                work()
                done.set_result(None)
            except Exception as error:  # belongs to the caller
                done.set_exception(error)

        with self._changed:
            if self._closing:
                raise EngineStopped("The language model is being unloaded.", hint="Try again.")
            self._inbox.append(attempt)
            self._changed.notify()
        done.result(timeout_s)

    def stats(self) -> Stats:
        scheduler = self._scheduler
        return Stats(
            running=scheduler.running,
            waiting=scheduler.queued,
            rows=scheduler.used_rows,
            kv_tokens_used=scheduler.used_tokens,
            kv_tokens=scheduler.tokens,
            tokens_read=self._read,
            tokens_written=self._written,
            steps=self._steps,
        )

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop at the end of the present step; requests under way fail. Blocks until the thread is gone."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _tell(self, work: Callable[[], None]) -> None:
        with self._changed:
            if not self._closing:
                self._inbox.append(work)
                self._changed.notify()

    def _run(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        try:
            self._serve()
        finally:
            with self._changed:
                self._closing = True
            self._fail(list(self._tickets.values()), EngineStopped("The language model was unloaded."))

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not (self._inbox or self._closing or len(self._scheduler)):
                    self._changed.wait()
                inbox, self._inbox = self._inbox, []
                is_closing = self._closing
            for work in inbox:
                work()
            if is_closing:
                return
            self._turn()

    def _turn(self) -> None:
        """One step, whatever happens in it."""
        try:
            self._step()
        except (torch.OutOfMemoryError, MemoryError) as error:
            _log.warning("The language model ran out of memory: %s", error)
            self._fail(
                self._seated(), OutOfMemory("The model ran out of memory.", hint="Allow fewer tokens at a time.")
            )
        except Exception as error:
            if "not enough memory" in str(error):  # what torch says on CPUs
                self._fail(self._seated(), OutOfMemory("The model ran out of memory."))
                return
            _log.exception("A step of the language model failed")
            self._fail(self._seated(), EngineFailed(f"The model failed: {type(error).__name__}.", hint="Try again."))

    def _step(self) -> None:
        with self._changed:
            new = self._scheduler.seat()
        for job in new:
            ticket = self._tickets[job]
            ticket.seat(self._network.row(job.tokens, ticket.adapter))
        writers = [
            (self._tickets[job], writer)
            for job in self._scheduler.writing()
            for writer in self._tickets[job].writers
            if not writer.is_done
        ]
        portions = self._scheduler.portions()
        parts = [Part(writer.row, (writer.next,)) for _, writer in writers if writer.row is not None]
        parts += [self._part(portion) for portion in portions]
        if not parts:
            return
        scores = self._network.step(parts)
        self._steps += 1
        lines = [*range(len(writers))]
        for portion in portions:
            self._advance(portion)
            if portion.is_last:
                ticket = self._tickets[portion.job]
                ticket.start_writing()
                lines += [max(lines, default=-1) + 1] * len(ticket.writers)
                writers += [(ticket, writer) for writer in ticket.writers]
        self._write(writers, lines, scores)

    def _part(self, portion: Portion) -> Part:
        ticket = self._tickets[portion.job]
        assert ticket.row is not None
        ids = ticket.ids[portion.start : portion.start + portion.count]
        return Part(ticket.row, ids, wanted=portion.is_last)

    def _advance(self, portion: Portion) -> None:
        portion.job.read += portion.count
        self._read += portion.count

    def _write(self, writers: Sequence[tuple[Ticket, _Writer]], lines: Sequence[int], scores: "Tensor") -> None:
        best = scores.argmax(-1).tolist()
        said: dict[Ticket, list[Piece | InhouseError]] = {}
        for (ticket, writer), line in zip(writers, lines, strict=True):
            if ticket.is_over:
                continue
            try:
                piece = self._token(ticket, writer, scores[line], best[line])
            except Exception as error:  # one request's grammar or numbers must not hurt the others
                self._fail([ticket], _as_failure(error))
                continue
            self._written += 1
            if piece is not None:
                said.setdefault(ticket, []).append(piece)
        for ticket, pieces in said.items():
            if not ticket.is_over:
                ticket.channel.put(pieces)
                ticket.is_over = not ticket.job.open

    def _token(self, ticket: Ticket, writer: _Writer, scores: "Tensor", best: int) -> Piece | None:
        constraint = None if writer.choice.is_thinking else writer.constraint
        if writer.dice.is_plain and constraint is None:
            chosen = Chosen(best)
        else:
            allowed = torch.from_numpy(constraint.allowed()) if constraint is not None else None
            chosen = writer.dice.choose(scores, allowed)
        ends = chosen.id in self._ends and not ticket.ignore_eos
        if constraint is not None and not ends:
            constraint.accept(chosen.id)
        writer.next = chosen.id
        piece = writer.choice.accept(chosen, ends=ends, with_logprobs=ticket.top_logprobs is not None)
        if constraint is not None and constraint.is_done and not writer.is_done:
            piece = _joined(piece, writer.choice.close())
        return self._settled(ticket, writer, piece) if writer.is_done else piece

    def _settled(self, ticket: Ticket, writer: _Writer, piece: Piece | None) -> Piece | None:
        """A choice is finished: its place is free; the last one tells what the request took."""
        writer.row = None
        with self._changed:
            self._scheduler.finish(ticket.job)
        if ticket.job.open or piece is None:
            return piece
        del self._tickets[ticket.job]
        self._seconds_per_job += 0.2 * (time.monotonic() - ticket.seated_at - self._seconds_per_job)
        return replace(piece, usage=ticket.usage)

    def _drop(self, ticket: Ticket) -> None:
        ticket.is_over = True
        if self._tickets.pop(ticket.job, None) is not None:
            with self._changed:
                self._scheduler.drop(ticket.job)
        ticket.writers.clear()
        ticket.row = None

    def _fail(self, tickets: Sequence[Ticket], error: InhouseError) -> None:
        for ticket in tickets:
            self._drop(ticket)
            ticket.channel.put([error])

    def _seated(self) -> list[Ticket]:
        return [ticket for ticket in self._tickets.values() if ticket.seated_at]

    def _expected_wait_s(self) -> int:
        return max(1, math.ceil(self._scheduler.queued * self._seconds_per_job / self._scheduler.rows))


def _as_failure(error: Exception) -> InhouseError:
    if isinstance(error, InhouseError):
        return error
    _log.error("A token of the language model could not be chosen", exc_info=error)
    return EngineFailed(f"The model failed: {type(error).__name__}.", hint="Try again.")


def _joined(piece: Piece | None, last: Piece) -> Piece:
    if piece is None:
        return last
    return replace(
        last, text=piece.text + last.text, reasoning=piece.reasoning + last.reasoning, logprobs=piece.logprobs
    )
