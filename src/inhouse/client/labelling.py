"""Labelling queues."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inhouse.client.http import Http
from inhouse.client.types import LabelProgress, LabelQueue, LabelTask, NextLabelTask, TakenLabels


class LabelQueues:
    """Rows for people to judge, with a model's guess beside them."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[LabelQueue]:
        """Every queue with its number of rows by status, newest first."""
        return self._http.get("label-queues")["items"]

    def create(self, name: str, dataset: str, **settings: Any) -> LabelQueue:
        """Open a queue whose settled rows go to `dataset`.

        Settings: `form`, `labels`, `multiple`, `guidelines`, `model` (guesses first) and `annotators` (per row).
        """
        return self._http.post("label-queues", body={"name": name, "dataset": dataset, **settings})

    def change(self, name: str, **changes: Any) -> LabelQueue:
        """Change labels, guidelines, model, annotators or status (open, closed)."""
        return self._http.send("PATCH", "label-queues", name, body=changes)

    def delete(self, name: str) -> None:
        """Remove it with all answers; what the dataset took stays there."""
        self._http.send("DELETE", "label-queues", name)

    def progress(self, name: str) -> LabelProgress:
        """How far it is, and how far annotators and model agree."""
        return self._http.get("label-queues", name)

    def add(self, name: str, rows: Iterable[str | Mapping[str, Any]]) -> int:
        """Put texts, or rows as `{text, content}`, into the queue; return how many were new to it."""
        given = [{"text": row} if isinstance(row, str) else row for row in rows]
        return self._http.post("label-queues", name, "tasks", body={"rows": given})["added"]

    def add_from_dataset(
        self, name: str, dataset: str, *, version: int | None = None, label: str | None = None, limit: int = 10_000
    ) -> int:
        """Put the training rows of a dataset into the queue, to be judged again."""
        body = {"dataset": dataset, "version": version, "label": label, "limit": limit}
        return self._http.post("label-queues", name, "tasks", body=body)["added"]

    def guess(self, name: str) -> int:
        """Let the queue's model guess every open row; what it is least sure of comes first from now on."""
        return self._http.post("label-queues", name, "guess")["guessed"]

    def next(self, name: str) -> NextLabelTask:
        """The row to judge now (`task`, None when all are done), kept for you for ten minutes."""
        return self._http.post("label-queues", name, "next")

    def answer(self, name: str, task_id: str, answer: Mapping[str, Any], *, seconds: float = 0.0) -> LabelTask:
        """Say what a row is, such as `{"label": "travel"}`; again, to correct it."""
        body = {"answer": answer, "seconds": seconds}
        return self._http.send("PUT", "label-queues", name, "tasks", task_id, "answer", body=body)

    def skip(self, name: str, task_id: str) -> LabelTask:
        """Pass a row on to other annotators."""
        return self._http.post("label-queues", name, "tasks", task_id, "skip")

    def settle(self, name: str, task_id: str, answer: Mapping[str, Any]) -> LabelTask:
        """Decide a row as its reviewer."""
        return self._http.send("PUT", "label-queues", name, "tasks", task_id, "final", body={"answer": answer})

    def tasks(self, name: str, *, status: str | None = None, limit: int = 100, offset: int = 0) -> Sequence[LabelTask]:
        """Rows with every answer; `status="review"` are those where annotators disagree."""
        return self._http.get("label-queues", name, "tasks", status=status, limit=limit, offset=offset)["items"]

    def mine(self, name: str, *, limit: int = 20) -> Sequence[LabelTask]:
        """What you answered last, newest first."""
        return self._http.get("label-queues", name, "mine", limit=limit)["items"]

    def take(self, name: str, *, note: str = "") -> TakenLabels:
        """Put every settled row into the dataset, as its next version."""
        return self._http.post("label-queues", name, "take", body={"note": note})
