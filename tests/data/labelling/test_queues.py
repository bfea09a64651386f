import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.data.examples import Example, Form
from inhouse.data.labelling import queues as labelling
from inhouse.data.labelling.queues import (
    BadQueue,
    NothingToTake,
    NotYours,
    QueueClosed,
    QueueExists,
    QueueNotFound,
    Queues,
    TaskNotFound,
    TaskSettled,
    TaskTaken,
)

CSV = "text,label\n" + "".join(f"{word} {n},{word}\n" for word in ("leave", "travel") for n in range(20))


class SureOfTravel:
    """Guesses travel; the longer the text, the surer."""

    async def guess(
        self, principal: Principal, model: str, examples: Sequence[Example]
    ) -> tuple[str, list[Mapping[str, Any]]]:
        chances = [min(0.99, len(example.text) / 100) for example in examples]
        return f"{model}:3", [{"scores": {"travel": p, "leave": 1 - p}} for p in chances]


@pytest.fixture
def queues(db: Database, blobs: Blobs) -> Queues:
    return Queues(db, Datasets(db, blobs), SureOfTravel())


@pytest.fixture
def desk(queues: Queues, principal: Principal) -> Queues:
    """Two rows wait in the queue `desk`."""
    queues.create(principal, "desk", dataset="intents", labels=["leave", "travel"])
    queues.add(principal, "desk", [Example("a train to Bern"), Example("a day off")])
    return queues


@pytest.fixture
def bob(principal: Principal) -> Principal:
    return replace(principal, user_id="user_bob")


def answer_all(queues: Queues, who: Principal, name: str, label: str) -> None:
    while task := queues.next(who, name):
        queues.answer(who, name, task.id, {"label": label})


async def test_the_row_that_the_model_is_least_sure_of_comes_first(queues: Queues, principal: Principal) -> None:
    queues.create(principal, "desk", dataset="intents", labels=["leave", "travel"], model="intent")
    queues.add(principal, "desk", [Example("x" * 95), Example("y" * 52), Example("z" * 80)])

    guessed = await queues.guess(principal, "desk")
    task = queues.next(principal, "desk")

    assert guessed == 3
    assert task is not None
    assert task.example.text.startswith("y")
    assert task.prediction == {"answer": {"label": "travel"}, "score": 0.52, "model": "intent:3"}


def test_asking_again_gives_the_same_row_until_it_is_answered(desk: Queues, principal: Principal) -> None:
    first, again = desk.next(principal, "desk"), desk.next(principal, "desk")
    assert first is not None
    assert again == replace(first, claimed_until=again.claimed_until if again else 0)

    desk.answer(principal, "desk", first.id, {"label": "travel"})

    other = desk.next(principal, "desk")
    assert other is not None
    assert other.id != first.id


def test_two_people_never_hold_the_same_row(desk: Queues, principal: Principal, bob: Principal) -> None:
    mine, theirs = desk.next(principal, "desk"), desk.next(bob, "desk")

    assert mine is not None
    assert theirs is not None
    assert mine.id != theirs.id
    with pytest.raises(NotYours):
        desk.answer(bob, "desk", mine.id, {"label": "leave"})


def test_many_at_once_get_different_rows(db: Database, blobs: Blobs, principal: Principal) -> None:
    queues = Queues(db, Datasets(db, blobs), SureOfTravel())
    queues.create(principal, "desk", dataset="intents")
    queues.add(principal, "desk", [Example(f"row {n}") for n in range(8)])
    got: list[str] = []

    def take(number: int) -> None:
        task = queues.next(replace(principal, user_id=f"user_{number}"), "desk")
        got.append(task.id if task else "")

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(got)) == 8


def test_a_row_that_nobody_came_back_to_is_free_again(
    desk: Queues, principal: Principal, bob: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = desk.next(principal, "desk")
    assert held is not None
    later = labelling.now() + labelling.CLAIM_S + 1
    monkeypatch.setattr(labelling, "now", lambda: later)

    offered = {task.id for _ in range(2) if (task := desk.next(bob, "desk")) and desk.skip(bob, "desk", task.id)}

    assert held.id in offered


def test_annotators_who_agree_settle_a_row(desk: Queues, principal: Principal, bob: Principal) -> None:
    desk.change(principal, "desk", {"annotators": 2})
    answer_all(desk, principal, "desk", "travel")
    answer_all(desk, bob, "desk", "travel")

    progress = desk.progress(principal, "desk")

    assert (progress.done, progress.review, progress.open) == (2, 0, 0)
    assert progress.annotators == {"user_ann": 2, "user_bob": 2}
    assert progress.agreement == 1


def test_annotators_who_disagree_send_a_row_to_review(desk: Queues, principal: Principal, bob: Principal) -> None:
    desk.change(principal, "desk", {"annotators": 2})
    answer_all(desk, principal, "desk", "travel")
    answer_all(desk, bob, "desk", "leave")

    [(task, given), _] = desk.tasks(principal, "desk", status="review")

    assert {one.answer["label"] for one in given} == {"leave", "travel"}
    assert desk.settle(principal, "desk", task.id, {"label": "leave"}).final == {"label": "leave"}
    with pytest.raises(TaskSettled):
        desk.answer(bob, "desk", task.id, {"label": "travel"})


def test_an_annotator_can_go_back_and_correct(desk: Queues, principal: Principal) -> None:
    task = desk.next(principal, "desk")
    assert task is not None
    desk.answer(principal, "desk", task.id, {"label": "travel"}, seconds=4)

    corrected = desk.answer(principal, "desk", task.id, {"label": "leave"}, seconds=2)

    assert corrected.final == {"label": "leave"}
    assert [given.answer for _, given in desk.mine(principal, "desk")] == [{"label": "leave"}]
    assert desk.progress(principal, "desk").median_seconds == 2


def test_a_skipped_row_goes_to_others(desk: Queues, principal: Principal, bob: Principal) -> None:
    while task := desk.next(principal, "desk"):
        desk.skip(principal, "desk", task.id)

    assert desk.next(bob, "desk") is not None
    assert desk.progress(principal, "desk").annotators == {}


def test_the_same_row_is_not_asked_twice(desk: Queues, principal: Principal) -> None:
    assert desk.add(principal, "desk", [Example("A DAY OFF!"), Example("a week off"), Example("a week off")]) == 1


def test_settled_rows_make_the_first_version_of_a_dataset(desk: Queues, principal: Principal) -> None:
    answer_all(desk, principal, "desk", "travel")

    taken = desk.take(principal, "desk")

    assert taken.version is not None
    assert taken.version.reference == "intents@v1"
    assert taken.version.labels == {"travel": 2}
    assert desk.progress(principal, "desk").taken == 2
    with pytest.raises(NothingToTake):
        desk.take(principal, "desk")


def test_settled_rows_extend_a_dataset_but_never_its_test(
    db: Database, blobs: Blobs, queues: Queues, principal: Principal
) -> None:
    datasets = Datasets(db, blobs)
    datasets.create(principal, "intents", CSV.encode(), "rows.csv")
    held_out = datasets.examples(principal, "intents", split="test")[0]
    queues.create(principal, "desk", dataset="intents")
    queues.add(principal, "desk", [Example("a train to Bern"), Example(held_out.text.upper())])
    answer_all(queues, principal, "desk", "travel")

    taken = queues.take(principal, "desk")

    assert (taken.taken, taken.held_out) == (1, 1)
    assert [row.source for row in datasets.examples(principal, "intents") if row.text == "a train to Bern"] == [
        "label:desk"
    ]


def test_a_dataset_that_knows_the_answers_already_gets_no_version(
    db: Database, blobs: Blobs, queues: Queues, principal: Principal
) -> None:
    Datasets(db, blobs).create(principal, "intents", CSV.encode(), "rows.csv")
    queues.create(principal, "again", dataset="intents")
    queues.add_from_dataset(principal, "again", dataset="intents", label="leave", limit=2)
    answer_all(queues, principal, "again", "leave")

    taken = queues.take(principal, "again")

    assert taken.version is None
    assert queues.progress(principal, "again").taken == 2


def test_what_the_dataset_took_is_not_answered_again(desk: Queues, principal: Principal) -> None:
    task = desk.next(principal, "desk")
    assert task is not None
    desk.answer(principal, "desk", task.id, {"label": "travel"})
    desk.take(principal, "desk")

    with pytest.raises(TaskTaken):
        desk.answer(principal, "desk", task.id, {"label": "leave"})


def test_a_queue_offers_the_labels_that_its_dataset_knows(
    db: Database, blobs: Blobs, queues: Queues, principal: Principal
) -> None:
    Datasets(db, blobs).create(principal, "intents", CSV.encode(), "rows.csv")

    assert queues.create(principal, "desk", dataset="intents").labels == ["leave", "travel"]


def test_held_out_rows_are_never_shown(db: Database, blobs: Blobs, queues: Queues, principal: Principal) -> None:
    datasets = Datasets(db, blobs)
    datasets.create(principal, "intents", CSV.encode(), "rows.csv")
    queues.create(principal, "desk", dataset="intents")
    queues.add_from_dataset(principal, "desk", dataset="intents")

    shown = {task.example.text for task, _ in queues.tasks(principal, "desk", limit=1000)}

    assert shown == {row.text for row in datasets.examples(principal, "intents", split="train")}


def test_a_closed_queue_takes_no_answers(desk: Queues, principal: Principal) -> None:
    desk.change(principal, "desk", {"status": "closed"})

    with pytest.raises(QueueClosed):
        desk.next(principal, "desk")


def test_a_deleted_queue_is_gone_with_its_answers(desk: Queues, principal: Principal) -> None:
    answer_all(desk, principal, "desk", "travel")

    desk.delete(principal, "desk")

    with pytest.raises(QueueNotFound):
        desk.get(principal, "desk")
    assert desk.create(principal, "desk", dataset="intents").name == "desk"
    assert desk.progress(principal, "desk").done == 0


def test_a_users_rows_leave_every_queue(desk: Queues, principal: Principal) -> None:
    desk.add(principal, "desk", [Example("my salary is 5,000", user="bob")])
    answer_all(desk, principal, "desk", "leave")

    assert desk.erase(principal, "bob") == 1
    assert {task.example.text for task, _ in desk.tasks(principal, "desk")} == {"a train to Bern", "a day off"}
    assert desk.erase(principal, "bob") == 0


def test_other_workspaces_see_nothing_of_it(desk: Queues, principal: Principal, stranger: Principal) -> None:
    task = desk.next(principal, "desk")
    assert task is not None
    desk.create(stranger, "theirs", dataset="intents")

    with pytest.raises(QueueNotFound):
        desk.tasks(stranger, "desk")
    with pytest.raises(TaskNotFound):
        desk.answer(stranger, "theirs", task.id, {"label": "leave"})


def test_a_name_is_taken_once(desk: Queues, principal: Principal) -> None:
    with pytest.raises(QueueExists):
        desk.create(principal, "desk", dataset="intents")


@pytest.mark.parametrize(
    "about", [{"name": "no spaces"}, {"dataset": "../etc"}, {"form": Form.TABLE}], ids=["name", "dataset", "form"]
)
def test_a_queue_that_cannot_work_is_refused(queues: Queues, principal: Principal, about: dict[str, Any]) -> None:
    with pytest.raises(BadQueue):
        queues.create(principal, **{"name": "desk", "dataset": "intents", **about})


async def test_a_queue_without_a_model_has_nobody_to_guess(desk: Queues, principal: Principal) -> None:
    with pytest.raises(BadQueue, match="names no model"):
        await desk.guess(principal, "desk")
