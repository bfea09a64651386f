"""Labelling over HTTP: every step is one small request, so that a keyboard can drive it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.data.labelling.queues import Queues
from inhouse.data.labelling.schemas import (
    Added,
    AnswerIn,
    Guessed,
    NewQueue,
    NewTasks,
    NextTask,
    ProgressOut,
    QueueChange,
    QueueList,
    QueueOut,
    Take,
    TakenOut,
    TaskList,
    TaskOut,
)

Reader = Annotated[Principal, permit("dataset:read")]
Writer = Annotated[Principal, permit("dataset:write")]
Annotator = Annotated[Principal, permit("label:write")]


def router(queues: Queues) -> APIRouter:
    routes = APIRouter(prefix="/label-queues", tags=["labelling"])

    @routes.get("")
    def list_queues(who: Reader) -> QueueList:
        """Every queue with its number of rows by status, newest first."""
        return QueueList(items=[QueueOut.of(queue, counts) for queue, counts in queues.every(who)])

    @routes.post("", status_code=201)
    def create(body: NewQueue, who: Writer) -> QueueOut:
        """Open a queue; put rows into it with POST …/tasks."""
        return QueueOut.of(queues.create(who, **dict(body)), {})

    @routes.get("/{name}")
    def progress(name: str, who: Reader) -> ProgressOut:
        """How far it is, and how far annotators and model agree."""
        return ProgressOut.of(queues.progress(who, name))

    @routes.patch("/{name}")
    def change(name: str, body: QueueChange, who: Writer) -> QueueOut:
        """Change labels, guidelines, model or annotators; close it or open it again."""
        changed = queues.change(who, name, body.model_dump(exclude_none=True))
        return QueueOut.of(changed, {})

    @routes.delete("/{name}", status_code=204)
    def delete(name: str, who: Writer) -> Response:
        """Remove it with all answers; what the dataset took stays there."""
        queues.delete(who, name)
        return Response(status_code=204)

    @routes.post("/{name}/tasks", status_code=201)
    def add(name: str, body: NewTasks, who: Writer) -> Added:
        """Put rows into the queue. A row that it has already is left out."""
        if body.dataset is not None:
            about = body.model_dump(include={"dataset", "version", "label", "limit"})
            return Added(added=queues.add_from_dataset(who, name, **about))
        return Added(added=queues.add(who, name, [row.example() for row in body.rows]))

    @routes.get("/{name}/tasks")
    def list_tasks(
        name: str,
        who: Reader,
        status: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> TaskList:
        """Rows with every answer, the most uncertain first; `status=review` are those where annotators disagree."""
        found = queues.tasks(who, name, status=status, limit=limit, offset=offset)
        return TaskList(items=[TaskOut.of(task, answers) for task, answers in found])

    @routes.post("/{name}/guess")
    async def guess(name: str, who: Writer) -> Guessed:
        """Let the queue's model guess every open row; what it is least sure of comes first from now on."""
        return Guessed(guessed=await queues.guess(who, name))

    @routes.post("/{name}/next")
    def next_task(name: str, who: Annotator) -> NextTask:
        """The row to judge now. It is kept for you for ten minutes; asking again gives the same one."""
        task = queues.next(who, name)
        return NextTask(task=TaskOut.of(task) if task else None, open=queues.counts(who, name).get("open", 0))

    @routes.get("/{name}/mine")
    def mine(name: str, who: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> TaskList:
        """What you answered last, newest first; answer again to correct it."""
        return TaskList(items=[TaskOut.of(task, [given]) for task, given in queues.mine(who, name, limit=limit)])

    @routes.put("/{name}/tasks/{task_id}/answer")
    def answer(name: str, task_id: str, body: AnswerIn, who: Annotator) -> TaskOut:
        """Say what the row is. Again, to correct it, until the dataset has it."""
        return TaskOut.of(queues.answer(who, name, task_id, body.answer, seconds=body.seconds))

    @routes.post("/{name}/tasks/{task_id}/skip")
    def skip(name: str, task_id: str, who: Annotator) -> TaskOut:
        """Pass the row on to other annotators."""
        return TaskOut.of(queues.skip(who, name, task_id))

    @routes.put("/{name}/tasks/{task_id}/final")
    def settle(name: str, task_id: str, body: AnswerIn, who: Writer) -> TaskOut:
        """Decide a row as its reviewer."""
        return TaskOut.of(queues.settle(who, name, task_id, body.answer))

    @routes.post("/{name}/take", status_code=201)
    async def take(name: str, body: Take, who: Writer) -> TakenOut:
        """Put every settled row into the dataset, as its next version."""
        return TakenOut.of(await asyncio.to_thread(queues.take, who, name, note=body.note))

    return routes
