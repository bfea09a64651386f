"""Labelling queues: what people judge next, where they disagree, and what the dataset learns from it."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Protocol

from sqlalchemy import Connection

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Denied, Invalid, NotFound
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal
from inhouse.data import split
from inhouse.data.datasets import DatasetNotFound, Datasets, NothingNew
from inhouse.data.examples import Example, Form, normalise
from inhouse.data.labelling import agreement, store
from inhouse.data.labelling.answers import LABELLED, check_task, guess, teach
from inhouse.data.labelling.store import DONE, OPEN, REVIEW, TAKEN, Given, Queue, Task
from inhouse.data.store import DatasetVersion

CLAIM_S = 600.0
"""A row that somebody opened is theirs for this long, so that two people don't judge it at once."""
MAX_TASKS = 100_000
GUESSED_AT_ONCE = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9._\-]{0,99}")


class QueueNotFound(NotFound):
    """No labelling queue of this workspace has that name."""


class QueueExists(Conflict):
    """The name is taken."""


class BadQueue(Invalid):
    """The queue cannot be made like this."""


class QueueClosed(Conflict):
    """The queue takes no more answers."""


class TaskNotFound(NotFound):
    """The queue has no such task."""


class TaskTaken(Conflict):
    """The answer is in the dataset already."""


class TaskSettled(Conflict):
    """A reviewer has decided the row against an annotator."""


class NotYours(Denied):
    """Somebody else is judging this row right now."""


class NothingToTake(Invalid):
    """No row is done."""


class Guesser(Protocol):
    """Served models, as far as labelling asks them."""

    async def guess(
        self, principal: Principal, model: str, examples: Sequence[Example]
    ) -> tuple[str, list[Mapping[str, Any]]]:
        """Return the model version that answered and its output for each row, as /predict would give it."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How a queue is doing. Agreement is None where nobody judged the same row as another."""

    open: int
    review: int
    done: int
    taken: int
    guessed: int
    annotators: dict[str, int]
    """How many rows each annotator judged."""
    agreement: float | None
    """Of all pairs of answers to the same row, the share that are equal."""
    alpha: float | None
    """Krippendorff's alpha: agreement beyond chance."""
    span_f1: float | None
    """For spans: how far two annotators marked the same ones."""
    model_agreement: float | None
    """The share of settled rows where the model's guess was right."""
    median_seconds: float | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a queue's settled rows. `version` is None where the dataset had them all already."""

    version: DatasetVersion | None
    taken: int
    nothing_to_learn: int
    """Ties, and rows without any label."""
    held_out: int
    """Rows whose text is in the dataset's frozen dev or test rows: they would make the test meaningless."""


class Queues:
    """All labelling queues of an installation."""

    def __init__(self, db: Database, datasets: Datasets, guesser: Guesser) -> None:
        self._db = db
        self._datasets = datasets
        self._guesser = guesser

    def create(
        self,
        principal: Principal,
        name: str,
        *,
        dataset: str,
        form: Form = Form.TEXT,
        labels: Sequence[str] = (),
        multiple: bool = False,
        guidelines: str = "",
        model: str = "",
        annotators: int = 1,
    ) -> Queue:
        """Open a queue. Without labels, those of the dataset are offered; a dataset that is missing is made later."""
        if not _NAME.fullmatch(name) or not _NAME.fullmatch(dataset):
            wrong = name if not _NAME.fullmatch(name) else dataset
            raise BadQueue(
                f"{wrong!r} cannot be a name.", hint="Lower-case letters, digits, '.', '_' and '-', up to 100."
            )
        if form not in LABELLED:
            raise BadQueue(f"Rows of the form {form!r} cannot be labelled.", hint=f"These can: {', '.join(LABELLED)}.")
        queue = Queue(
            id=new_id("queue"),
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            created_at=now(),
            name=name,
            dataset=dataset,
            form=form,
            labels=list(dict.fromkeys(labels)) or self._labels(principal, dataset, form),
            multiple=multiple,
            guidelines=guidelines,
            model=model,
            annotators=annotators,
        )
        with self._db.write() as conn:
            if store.find_queue(conn, principal, name):
                raise QueueExists(f"There already is a labelling queue named {name!r}.")
            store.insert_queue(conn, queue)
        return queue

    def every(self, principal: Principal) -> list[tuple[Queue, dict[str, int]]]:
        """Every queue with the number of its tasks by status, newest first."""
        with self._db.read() as conn:
            return [(queue, store.counts(conn, queue)) for queue in store.list_queues(conn, principal)]

    def get(self, principal: Principal, name: str) -> Queue:
        with self._db.read() as conn:
            found = store.find_queue(conn, principal, name)
            known = [] if found else [queue.name for queue in store.list_queues(conn, principal)]
        if found is None:
            hint = f"Known: {', '.join(known)}." if known else "Make one with POST /label-queues."
            raise QueueNotFound(f"There is no labelling queue {name!r}.", hint=hint)
        return found

    def counts(self, principal: Principal, name: str) -> dict[str, int]:
        """How many rows there are of each status."""
        queue = self.get(principal, name)
        with self._db.read() as conn:
            return store.counts(conn, queue)

    def change(self, principal: Principal, name: str, changes: Mapping[str, Any]) -> Queue:
        """Change labels, guidelines, model, the number of annotators or the status (open, closed)."""
        queue = self.get(principal, name)
        with self._db.write() as conn:
            return store.update_queue(conn, queue, **changes)

    def delete(self, principal: Principal, name: str) -> None:
        """Remove a queue with all its answers; rows that the dataset took stay there."""
        queue = self.get(principal, name)
        with self._db.write() as conn:
            store.delete_queue(conn, queue)

    def add(self, principal: Principal, name: str, examples: Sequence[Example]) -> int:
        """Put rows into the queue; return how many were new to it."""
        queue = self.get(principal, name)
        for example in examples:
            check_task(Form(queue.form), example)
        with self._db.write() as conn:
            known = {_sameness(task.example) for task in store.list_tasks(conn, queue)}
            fresh = {_sameness(example): example for example in examples}
            new = [example for sameness, example in fresh.items() if sameness not in known]
            if len(known) + len(new) > MAX_TASKS:
                raise BadQueue(f"A queue holds up to {MAX_TASKS:,} rows.", hint="Make a second one.")
            store.insert_tasks(conn, [_task(principal, queue, example) for example in new])
        return len(new)

    def add_from_dataset(
        self,
        principal: Principal,
        name: str,
        *,
        dataset: str,
        version: int | None = None,
        label: str | None = None,
        limit: int = MAX_TASKS,
    ) -> int:
        """Put a dataset's training rows into the queue, to be judged again; held-out rows are never shown."""
        rows = self._datasets.examples(principal, dataset, version, split="train")
        chosen = [row for row in rows if label is None or row.label == label][:limit]
        return self.add(principal, name, chosen)

    def erase(self, principal: Principal, user: str) -> int:
        """Remove every row with this user's words from every queue; return how many there were."""
        erased = 0
        with self._db.write() as conn:
            for queue in store.list_queues(conn, principal):
                theirs = [task.id for task in store.list_tasks(conn, queue) if task.example.user == user]
                store.delete_tasks(conn, queue, theirs)
                erased += len(theirs)
        return erased

    async def guess(self, principal: Principal, name: str) -> int:
        """Let the queue's model guess every open row: the rows that it is least sure of come first from now on."""
        queue = await asyncio.to_thread(self.get, principal, name)
        if not queue.model:
            raise BadQueue(f"The queue {name!r} names no model.", hint='Set one: PATCH with {"model": "intent"}.')
        waiting = await asyncio.to_thread(self._waiting, queue)
        for start in range(0, len(waiting), GUESSED_AT_ONCE):
            some = waiting[start : start + GUESSED_AT_ONCE]
            version, outputs = await self._guesser.guess(principal, queue.model, [task.example for task in some])
            await asyncio.to_thread(self._note_guesses, queue, some, version, outputs)
        return len(waiting)

    def next(self, principal: Principal, name: str) -> Task | None:
        """Give this annotator the row to judge now and keep it for them a while; None when there is none left."""
        queue = self._open(principal, name)
        moment = now()
        with self._db.write() as conn:
            task = store.next_task(conn, queue, principal.user_id, moment)
            if task is None:
                return None
            return store.update_task(conn, task, claimed_by=principal.user_id, claimed_until=moment + CLAIM_S)

    def answer(
        self, principal: Principal, name: str, task_id: str, answer: Mapping[str, Any], *, seconds: float = 0.0
    ) -> Task:
        """Note what this annotator says, or now says instead. The last one settles the row, or sends it to review."""
        queue = self._open(principal, name)
        with self._db.write() as conn:
            task = self._held(conn, principal, queue, task_id)
            checked = queue.question.check(task.example, answer)
            return self._note(conn, principal, queue, task, checked, seconds)

    def skip(self, principal: Principal, name: str, task_id: str) -> Task:
        """Pass a row on: this annotator is not asked about it again."""
        queue = self._open(principal, name)
        with self._db.write() as conn:
            task = self._held(conn, principal, queue, task_id)
            return self._note(conn, principal, queue, task, {}, 0.0)

    def settle(self, principal: Principal, name: str, task_id: str, answer: Mapping[str, Any]) -> Task:
        """Decide a row as its reviewer, whatever the annotators said."""
        queue = self.get(principal, name)
        with self._db.write() as conn:
            task = _in(queue, store.find_task(conn, principal, task_id), task_id)
            checked = queue.question.check(task.example, answer)
            return store.update_task(conn, task, status=DONE, final=checked, claimed_by="", claimed_until=0.0)

    def tasks(
        self, principal: Principal, name: str, *, status: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[tuple[Task, list[Given]]]:
        """Rows with their answers, the most uncertain first."""
        queue = self.get(principal, name)
        with self._db.read() as conn:
            found = store.list_tasks(conn, queue, status=status, limit=limit, offset=offset)
            return [(task, store.answers_of(conn, queue, task_id=task.id)) for task in found]

    def mine(self, principal: Principal, name: str, *, limit: int = 20) -> list[tuple[Task, Given]]:
        """What this annotator answered last, newest first: to go back and correct it."""
        queue = self.get(principal, name)
        with self._db.read() as conn:
            given = store.answers_of(conn, queue, user_id=principal.user_id)[:limit]
            found = [(store.find_task(conn, principal, one.task_id), one) for one in given]
        return [(task, one) for task, one in found if task is not None]

    def progress(self, principal: Principal, name: str) -> Progress:
        """Count the rows and measure how far people and model agree."""
        queue = self.get(principal, name)
        with self._db.read() as conn:
            every = store.list_tasks(conn, queue)
            given = store.answers_of(conn, queue)
        by_task: dict[str, list[Given]] = {}
        for one in given:
            if one.answer:
                by_task.setdefault(one.task_id, []).append(one)
        keys = [[agreement.key(one.answer) for one in several] for several in by_task.values()]
        status = {name: sum(task.status == name for task in every) for name in (OPEN, REVIEW, DONE, TAKEN)}
        seconds = [one.seconds for one in given if one.seconds]
        return Progress(
            **status,
            guessed=sum(task.prediction is not None for task in every),
            annotators=store.workload(given),
            agreement=agreement.share(keys),
            alpha=agreement.alpha(keys),
            span_f1=_span_f1(queue, list(by_task.values())),
            model_agreement=_right_guesses(every),
            median_seconds=median(seconds) if seconds else None,
        )

    def take(self, principal: Principal, name: str, *, note: str = "") -> Taken:
        """Put every settled row into the dataset as its next version (or its first)."""
        queue = self.get(principal, name)
        with self._db.read() as conn:
            settled = store.list_tasks(conn, queue, status=DONE)
        if not settled:
            raise NothingToTake(f"No row of {name!r} is settled yet.", hint="Answer or review some first.")
        taught = [teach(queue.question, task.example, task.final or {}, source=queue.source) for task in settled]
        rows = [row for row in taught if row is not None]
        rows, held_out = self._without_held_out(principal, queue, rows)
        version = self._extend(principal, queue, rows, note or f"Labelled in {name}.") if rows else None
        with self._db.write() as conn:
            store.take_tasks(conn, queue, [task.id for task in settled])
        return Taken(version, len(rows), sum(row is None for row in taught), held_out)

    def _extend(self, principal: Principal, queue: Queue, rows: list[Example], note: str) -> DatasetVersion | None:
        try:
            return self._datasets.add(principal, queue.dataset, rows, note=note)
        except DatasetNotFound:
            return self._datasets.create_from(principal, queue.dataset, rows, form=Form(queue.form), note=note)
        except NothingNew:
            return None

    def _without_held_out(
        self, principal: Principal, queue: Queue, rows: Sequence[Example]
    ) -> tuple[list[Example], int]:
        try:
            existing = self._datasets.examples(principal, queue.dataset)
        except DatasetNotFound:
            return [*rows], 0
        leaking = {normalise(row.text) for row in split.leaks(rows, existing)}
        kept = [row for row in rows if normalise(row.text) not in leaking]
        return kept, len(rows) - len(kept)

    def _labels(self, principal: Principal, dataset: str, form: Form) -> list[str]:
        """The labels that the dataset knows already."""
        if form not in (Form.TEXT, Form.SPANS):
            return []
        try:
            return [label for label in self._datasets.get(principal, dataset).labels if label]
        except DatasetNotFound:
            return []

    def _note_guesses(
        self, queue: Queue, tasks: Sequence[Task], version: str, outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        with self._db.write() as conn:
            for task, output in zip(tasks, outputs, strict=True):
                if found := guess(queue.question, output):
                    answer, unsure = found
                    prediction = {"answer": answer, "score": round(1 - unsure, 4), "model": version}
                    store.update_task(conn, task, prediction=prediction, uncertainty=unsure)

    def _waiting(self, queue: Queue) -> list[Task]:
        with self._db.read() as conn:
            return store.list_tasks(conn, queue, status=OPEN)

    def _open(self, principal: Principal, name: str) -> Queue:
        queue = self.get(principal, name)
        if queue.status != OPEN:
            raise QueueClosed(f"The queue {name!r} is closed.", hint="Open it again, or choose another.")
        return queue

    def _held(self, conn: Connection, principal: Principal, queue: Queue, task_id: str) -> Task:
        """The task, unless somebody else is judging it or it is past answering."""
        task = _in(queue, store.find_task(conn, principal, task_id), task_id)
        if task.status == TAKEN:
            raise TaskTaken("This row is in the dataset already.", hint="Correct it there: edit the dataset's row.")
        if task.claimed_by not in ("", principal.user_id) and task.claimed_until > now():
            raise NotYours("Somebody else is judging this row right now.", hint="Ask for the next one.")
        if task.status == DONE:
            given = [one.answer for one in store.answers_of(conn, queue, task_id=task.id) if one.answer]
            if any(answer != task.final for answer in given):
                raise TaskSettled("A reviewer has decided this row.", hint="Ask them to change it.")
        return task

    def _note(
        self, conn: Connection, principal: Principal, queue: Queue, task: Task, answer: dict[str, Any], seconds: float
    ) -> Task:
        store.put_answer(conn, task, Given(task.id, principal.user_id, answer, seconds, now()))
        given = [one.answer for one in store.answers_of(conn, queue, task_id=task.id) if one.answer]
        changes: dict[str, Any] = {"claimed_by": "", "claimed_until": 0.0, "status": OPEN, "final": None}
        if len(given) >= queue.annotators:
            agreed = len({agreement.key(one) for one in given}) == 1
            changes |= {"status": DONE, "final": given[0]} if agreed else {"status": REVIEW}
        return store.update_task(conn, task, **changes)


def _task(principal: Principal, queue: Queue, example: Example) -> Task:
    return Task(
        id=new_id("task"),
        workspace_id=principal.workspace_id,
        owner_id=principal.user_id,
        created_at=now(),
        queue_id=queue.id,
        example=replace(example, split=""),
    )


def _sameness(example: Example) -> tuple[str, str]:
    """Two rows are the same task when their texts are, and what belongs to them."""
    shown = {name: value for name, value in example.content.items() if name not in ("labels", "spans", "score")}
    return normalise(example.text), agreement.key(shown)


def _in(queue: Queue, task: Task | None, task_id: str) -> Task:
    if task is None or task.queue_id != queue.id:
        raise TaskNotFound(f"The queue {queue.name!r} has no task {task_id!r}.")
    return task


def _right_guesses(tasks: Sequence[Task]) -> float | None:
    settled = [task for task in tasks if task.final is not None and task.prediction is not None]
    if not settled:
        return None
    same = [agreement.key(task.final or {}) == agreement.key((task.prediction or {})["answer"]) for task in settled]
    return sum(same) / len(settled)


def _span_f1(queue: Queue, by_task: Sequence[Sequence[Given]]) -> float | None:
    if queue.form != Form.SPANS:
        return None
    scores = [
        agreement.span_f1(first.answer, second.answer)
        for several in by_task
        for number, first in enumerate(several)
        for second in several[number + 1 :]
    ]
    return sum(scores) / len(scores) if scores else None
