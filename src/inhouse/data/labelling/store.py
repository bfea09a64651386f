"""Queues, tasks and answers of annotators in the database."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Text,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from inhouse.core.db import Json, owned
from inhouse.core.principal import Principal
from inhouse.data.examples import Example, Form
from inhouse.data.labelling.answers import Answer, Question

queues = owned(
    "label_queues",
    Column("id", String(64), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("dataset", String(120), nullable=False),
    Column("form", String(16), nullable=False),
    Column("labels", Json, nullable=False),
    Column("guidelines", Text, nullable=False),
    Column("model", String(200), nullable=False),
    Column("annotators", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Index(None, "workspace_id", "name", unique=True),
)
tasks = owned(
    "label_tasks",
    Column("id", String(64), primary_key=True),
    Column("queue_id", String(64), ForeignKey("label_queues.id"), nullable=False),
    Column("example", Json, nullable=False),
    Column("prediction", Json),
    Column("uncertainty", Float, nullable=False),
    Column("status", String(20), nullable=False),
    Column("final", Json),
    Column("claimed_by", String(64), nullable=False),
    Column("claimed_until", Float, nullable=False),
    Index(None, "queue_id", "status", "uncertainty"),
)
answers = owned(
    "label_answers",
    Column("task_id", String(64), ForeignKey("label_tasks.id"), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("answer", Json, nullable=False),
    Column("seconds", Float, nullable=False),
)

OPEN, REVIEW, DONE, TAKEN = "open", "review", "done", "taken"


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows to be judged by `annotators` people each. `model` guesses first where one is named."""

    id: str
    workspace_id: str
    owner_id: str
    created_at: float
    name: str
    dataset: str
    form: str
    labels: list[str]
    multiple: bool
    guidelines: str
    model: str
    annotators: int
    status: str = OPEN

    @property
    def question(self) -> Question:
        return Question(Form(self.form), tuple(self.labels), self.multiple)

    @property
    def source(self) -> str:
        return f"label:{self.name}"


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be judged.

    `status` is open, review (its annotators disagree), done, or taken (into the dataset). `prediction` is the model's
    guess: `{answer, score, model}`.
    """

    id: str
    workspace_id: str
    owner_id: str
    created_at: float
    queue_id: str
    example: Example
    prediction: dict[str, Any] | None = None
    uncertainty: float = 0.5
    status: str = OPEN
    final: Answer | None = None
    claimed_by: str = ""
    claimed_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Given:
    """What one annotator answered. An empty answer is a row that was passed on to others."""

    task_id: str
    user_id: str
    answer: Answer
    seconds: float
    created_at: float


def insert_queue(conn: Connection, queue: Queue) -> None:
    values = asdict(queue)
    values["labels"] = {"names": values.pop("labels"), "multiple": values.pop("multiple")}
    conn.execute(insert(queues).values(**values))


def list_queues(conn: Connection, principal: Principal) -> list[Queue]:
    """Newest first."""
    query = select(queues).where(queues.c.workspace_id == principal.workspace_id)
    return [_queue(row) for row in conn.execute(query.order_by(queues.c.created_at.desc(), queues.c.id))]


def find_queue(conn: Connection, principal: Principal, name: str) -> Queue | None:
    query = select(queues).where(queues.c.workspace_id == principal.workspace_id, queues.c.name == name)
    row = conn.execute(query).first()
    return _queue(row) if row else None


def update_queue(conn: Connection, queue: Queue, **changes: Any) -> Queue:
    new = replace(queue, **changes)
    values = asdict(new)
    values["labels"] = {"names": values.pop("labels"), "multiple": values.pop("multiple")}
    conn.execute(update(queues).where(queues.c.id == queue.id).values(**values))
    return new


def delete_queue(conn: Connection, queue: Queue) -> None:
    mine = select(tasks.c.id).where(tasks.c.queue_id == queue.id)
    conn.execute(delete(answers).where(answers.c.task_id.in_(mine)))
    conn.execute(delete(tasks).where(tasks.c.queue_id == queue.id))
    conn.execute(delete(queues).where(queues.c.id == queue.id))


def insert_tasks(conn: Connection, new: Sequence[Task]) -> None:
    if new:
        conn.execute(insert(tasks), [asdict(task) for task in new])


def list_tasks(
    conn: Connection, queue: Queue, *, status: str | None = None, limit: int | None = None, offset: int = 0
) -> list[Task]:
    """The tasks of a queue, the most uncertain first."""
    query = select(tasks).where(tasks.c.queue_id == queue.id)
    if status is not None:
        query = query.where(tasks.c.status == status)
    query = query.order_by(tasks.c.uncertainty.desc(), tasks.c.id).limit(limit).offset(offset)
    return [_task(row) for row in conn.execute(query)]


def delete_tasks(conn: Connection, queue: Queue, task_ids: Sequence[str]) -> None:
    """Remove rows with what was answered about them."""
    for start in range(0, len(task_ids), 500):
        some = task_ids[start : start + 500]
        conn.execute(delete(answers).where(answers.c.task_id.in_(some)))
        conn.execute(delete(tasks).where(tasks.c.queue_id == queue.id, tasks.c.id.in_(some)))


def counts(conn: Connection, queue: Queue) -> dict[str, int]:
    """How many tasks there are of each status."""
    query = (
        select(tasks.c.status, func.count().label("number"))
        .where(tasks.c.queue_id == queue.id)
        .group_by(tasks.c.status)
    )
    return {row.status: row.number for row in conn.execute(query)}


def find_task(conn: Connection, principal: Principal, task_id: str) -> Task | None:
    """One task, held until the transaction ends: the last two annotators may answer at once."""
    query = select(tasks).where(tasks.c.workspace_id == principal.workspace_id, tasks.c.id == task_id)
    row = conn.execute(query.with_for_update()).first()
    return _task(row) if row else None


def next_task(conn: Connection, queue: Queue, user_id: str, moment: float) -> Task | None:
    """What this annotator should judge now: what they hold already, else the most uncertain one that is free."""
    theirs = exists().where(answers.c.task_id == tasks.c.id, answers.c.user_id == user_id)
    query = (
        select(tasks)
        .where(tasks.c.queue_id == queue.id, tasks.c.status == OPEN, ~theirs)
        .where(or_(tasks.c.claimed_by == user_id, tasks.c.claimed_until < moment))
        .order_by((tasks.c.claimed_by == user_id).desc(), tasks.c.uncertainty.desc(), tasks.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = conn.execute(query).first()
    return _task(row) if row else None


def update_task(conn: Connection, task: Task, **changes: Any) -> Task:
    conn.execute(update(tasks).where(tasks.c.id == task.id).values(**changes))
    return replace(task, **changes)


def take_tasks(conn: Connection, queue: Queue, task_ids: Sequence[str]) -> None:
    """Note which answers the dataset has now."""
    for start in range(0, len(task_ids), 500):
        some = task_ids[start : start + 500]
        conn.execute(update(tasks).where(tasks.c.queue_id == queue.id, tasks.c.id.in_(some)).values(status=TAKEN))


def put_answer(conn: Connection, task: Task, given: Given) -> None:
    """Store an answer in place of the one that this annotator gave before."""
    mine = (answers.c.task_id == given.task_id) & (answers.c.user_id == given.user_id)
    conn.execute(delete(answers).where(mine))
    conn.execute(insert(answers).values(**asdict(given), workspace_id=task.workspace_id, owner_id=given.user_id))


def answers_of(
    conn: Connection, queue: Queue, *, task_id: str | None = None, user_id: str | None = None
) -> list[Given]:
    """Answers to the queue's tasks, newest first."""
    query = select(answers).join(tasks, tasks.c.id == answers.c.task_id).where(tasks.c.queue_id == queue.id)
    if task_id is not None:
        query = query.where(answers.c.task_id == task_id)
    if user_id is not None:
        query = query.where(answers.c.user_id == user_id)
    rows = conn.execute(query.order_by(answers.c.created_at.desc(), answers.c.task_id))
    return [Given(**{column.name: row._mapping[column.name] for column in fields(Given)}) for row in rows]


def workload(given: Sequence[Given]) -> dict[str, int]:
    """How many rows each annotator judged."""
    return dict(Counter(one.user_id for one in given if one.answer))


def _queue(row: Row[Any]) -> Queue:
    values = {column.name: row._mapping[column.name] for column in fields(Queue) if column.name != "multiple"}
    labels = values.pop("labels")
    return Queue(**values, labels=labels["names"], multiple=labels["multiple"])


def _task(row: Row[Any]) -> Task:
    values = {column.name: row._mapping[column.name] for column in fields(Task)}
    return Task(**{**values, "example": Example(**values["example"])})
