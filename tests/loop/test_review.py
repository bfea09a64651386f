import pytest

from inhouse.apps.store import Opinion
from inhouse.core.principal import Principal
from inhouse.loop.review import AlreadyReviewed, NoLabel, NothingAccepted, UnknownLabel

from .conftest import DATASET, MODEL, Rooms


async def test_corrections_come_first_and_the_least_certain_before_others(live: Rooms, principal: Principal) -> None:
    liked = live.feedbacks.give(principal, live.answer(principal, "a", label="leave").id, Opinion("up")).id
    disliked = live.correct(principal, "b", said="leave", label=None)
    corrected = live.correct(principal, "c", said="leave", label="token")

    assert [item.id for item in live.loop.review.inbox(principal)] == [corrected, disliked, liked]


async def test_an_accepted_correction_reaches_the_next_dataset(live: Rooms, principal: Principal) -> None:
    feedback = live.correct(principal, "my kestrel is lost", said="travel", label="token")

    live.loop.review.accept(principal, feedback)
    version, held_out = live.loop.review.make_dataset(principal, MODEL)

    rows = live.datasets.examples(principal, DATASET, version.number)
    taught = [row for row in rows if row.source == f"feedback:{feedback}"]
    assert [(row.text, row.label, row.split) for row in taught] == [("my kestrel is lost", "token", "train")]
    assert held_out == []


async def test_the_reviewers_word_counts_more_than_the_users(live: Rooms, principal: Principal) -> None:
    feedback = live.correct(principal, "my kestrel is lost", said="travel", label="leave")

    live.loop.review.accept(principal, feedback, "token")

    assert [case.label for case in live.loop.review.waiting(principal, MODEL)] == ["token"]


async def test_a_later_correction_of_the_same_text_replaces_the_earlier(live: Rooms, principal: Principal) -> None:
    for label in ("leave", "token"):
        live.loop.review.accept(principal, live.correct(principal, "my kestrel", said="travel", label=label))

    assert [case.label for case in live.loop.review.waiting(principal, MODEL)] == ["token"]


async def test_feedback_is_reviewed_once(live: Rooms, principal: Principal) -> None:
    feedback = live.correct(principal, "my kestrel", said="travel", label="token")
    live.loop.review.reject(principal, feedback)

    with pytest.raises(AlreadyReviewed):
        live.loop.review.accept(principal, feedback)

    assert live.loop.review.waiting(principal, MODEL) == []


async def test_a_correction_needs_a_label_that_the_model_has(live: Rooms, principal: Principal) -> None:
    without = live.correct(principal, "a", said="travel", label=None)
    unknown = live.correct(principal, "b", said="travel", label="cafeteria")

    with pytest.raises(NoLabel):
        live.loop.review.accept(principal, without)
    with pytest.raises(UnknownLabel, match="'cafeteria'") as raised:
        live.loop.review.accept(principal, unknown)

    assert raised.value.hint == "It has: leave, travel, token"
    assert len(live.loop.review.inbox(principal)) == 2


async def test_a_correction_that_is_a_test_row_is_left_out_and_named(live: Rooms, principal: Principal) -> None:
    held_out = live.datasets.examples(principal, DATASET, split="test")[0].text
    for text in (held_out, "my kestrel"):
        live.loop.review.accept(principal, live.correct(principal, text, said="travel", label="token"))

    version, left_out = live.loop.review.make_dataset(principal, MODEL)

    assert left_out == [held_out]
    assert version.count == 61


@pytest.mark.parametrize("split", ["train", "test"])
async def test_a_correction_with_nothing_to_teach_waits_no_more(live: Rooms, principal: Principal, split: str) -> None:
    row = live.datasets.examples(principal, DATASET, split=split)[0]
    live.loop.review.accept(principal, live.correct(principal, f"{row.text}!", said="travel", label=row.label))

    with pytest.raises(NothingAccepted, match="test rows or training rows"):
        live.loop.review.make_dataset(principal, MODEL)

    assert live.loop.review.waiting(principal, MODEL) == []


async def test_rejecting_a_changed_opinion_takes_back_what_it_taught(live: Rooms, principal: Principal) -> None:
    message = live.answer(principal, "my kestrel", label="travel")
    feedback = live.feedbacks.give(principal, message.id, Opinion("down", corrected_label="token")).id
    live.loop.review.accept(principal, feedback)
    live.feedbacks.give(principal, message.id, Opinion("down", corrected_label="leave"))

    live.loop.review.reject(principal, feedback)

    assert live.loop.review.waiting(principal, MODEL) == []


async def test_without_corrections_there_is_no_new_dataset(live: Rooms, principal: Principal) -> None:
    with pytest.raises(NothingAccepted):
        live.loop.review.make_dataset(principal, MODEL)
