"""From feedback to training data: what people decide in the inbox."""

from sqlalchemy import Connection

from inhouse.apps.feedback import ACCEPTED, OPEN, REJECTED, Feedbacks
from inhouse.apps.store import Feedback
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.data.examples import Example, normalise
from inhouse.data.store import DatasetVersion, split_reference
from inhouse.loop import store
from inhouse.models.registry import ModelRegistry


class AlreadyReviewed(Conflict):
    """The feedback has been accepted or rejected before."""


class NoLabel(Invalid):
    """Nobody said what the right label is."""


class UnknownLabel(Invalid):
    """The model does not have that label."""


class NothingAccepted(Conflict):
    """There is no new accepted correction."""


class Review:
    """The inbox: open feedback, the most useful first, and what becomes of it."""

    def __init__(self, db: Database, feedbacks: Feedbacks, datasets: Datasets, registry: ModelRegistry) -> None:
        self._db = db
        self._feedbacks = feedbacks
        self._datasets = datasets
        self._registry = registry

    def inbox(self, principal: Principal, status: str = OPEN) -> list[Feedback]:
        """Corrections first, then down-votes, the least certain answers before the others."""
        return sorted(self._feedbacks.list(principal, status=status), key=_urgency)

    def accept(self, principal: Principal, feedback_id: str, label: str | None = None) -> Feedback:
        """Take a correction into the golden cases and the next dataset version.

        `label` is the reviewer's word; without it the user's correction counts.
        """
        item = self._feedbacks.get(principal, feedback_id)
        chosen = label or item.opinion.corrected_label
        if not chosen:
            raise NoLabel("This feedback names no right label.", hint="Choose one, or reject the feedback.")
        if item.message.intent is None:
            raise NoLabel("No classifier took part in this answer, so there is no model to teach.")
        model = item.message.intent.model
        labels = self._registry.get(principal, model).labels
        if chosen not in labels:
            raise UnknownLabel(f"{model!r} has no label {chosen!r}.", hint="It has: " + ", ".join(labels))

        with self._db.write() as conn:
            self._decide(conn, principal, item, ACCEPTED)
            store.insert_golden(
                conn,
                principal,
                model=model,
                text=item.message.query,
                label=chosen,
                feedback_id=feedback_id,
                message_id=item.message.id,
            )
        return self._feedbacks.get(principal, feedback_id)

    def reject(self, principal: Principal, feedback_id: str) -> Feedback:
        """Leave feedback out; what an earlier acceptance of it had made teaches no more."""
        item = self._feedbacks.get(principal, feedback_id)
        with self._db.write() as conn:
            self._decide(conn, principal, item, REJECTED)
            store.delete_golden(conn, principal, feedback_id)
        return self._feedbacks.get(principal, feedback_id)

    def waiting(self, principal: Principal, model: str) -> list[store.GoldenCase]:
        """The accepted corrections that the live version has not been taught."""
        _, number = self.taught(principal, model)
        with self._db.read() as conn:
            cases = store.list_golden(conn, principal, model)
        return [case for case in cases if case.dataset_version is None or case.dataset_version > number]

    def make_dataset(self, principal: Principal, model: str) -> tuple[DatasetVersion, list[str]]:
        """The live version's rows and every correction since; also the texts left out since they are test rows.

        It grows from what the live version was taught, so that what a rejected version had learned is gone.
        """
        dataset, number = self.taught(principal, model)
        cases = self.waiting(principal, model)
        if not cases:
            raise NothingAccepted(
                f"There is no accepted correction that {model!r} has not been taught.",
                hint="Accept some in the feedback inbox first.",
            )
        new, settled, held_out = self._sort_out(principal, cases, dataset, number)
        self._place(principal, settled, number)
        if not new:
            raise NothingAccepted(
                f"The {len(cases)} accepted corrections are test rows or training rows already.",
                hint="They count as golden cases; there is nothing new to train on.",
            )
        rows = [Example(case.text, case.label, source=f"feedback:{case.feedback_id}") for case in new]
        note = f"{len(new)} corrections from feedback."
        version = self._datasets.add(principal, dataset, rows, note=note, parent=number)
        self._place(principal, [case.id for case in new], version.number)
        return version, held_out

    def taught(self, principal: Principal, model: str, version: int | str = "live") -> tuple[str, int]:
        """The dataset and its version that a model version was trained on."""
        return split_reference(self._registry.get(principal, model, version).lineage["dataset"])

    def _sort_out(
        self, principal: Principal, cases: list[store.GoldenCase], dataset: str, number: int
    ) -> tuple[list[store.GoldenCase], list[str], list[str]]:
        """The cases to teach, the ids of those with nothing to teach, and the texts among these that are test rows."""
        present = {normalise(row.text): row for row in self._datasets.examples(principal, dataset, number)}
        new: list[store.GoldenCase] = []
        settled: list[str] = []
        held_out: list[str] = []
        for case in cases:
            row = present.get(normalise(case.text))
            if row is None or (row.split == "train" and row.label != case.label):
                new.append(case)
                continue
            settled.append(case.id)
            if row.split != "train":
                held_out.append(case.text)
        return new, settled, held_out

    def _place(self, principal: Principal, case_ids: list[str], version: int) -> None:
        with self._db.write() as conn:
            store.place_golden(conn, principal, case_ids, version)

    def _decide(self, conn: Connection, principal: Principal, item: Feedback, status: str) -> None:
        if not self._feedbacks.set_status(conn, principal, item.id, status):
            raise AlreadyReviewed(f"The feedback {item.id!r} has been reviewed already.")


def _urgency(item: Feedback) -> tuple[bool, bool, float]:
    certainty = item.message.intent.score if item.message.intent else 1.0
    return item.opinion.corrected_label is None, item.opinion.rating != "down", certainty
