from typing import Any

import httpx
import pytest

from inhouse.apps.feedback import ACCEPTED, FeedbackNotFound, Pace, TooMuchFeedback
from inhouse.apps.store import Figures
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.testing.services import ScriptedChatModel

from .conftest import Desk, ask


@pytest.fixture
async def message(ann: httpx.AsyncClient) -> dict[str, Any]:
    return await ask(ann)


async def rate(http: httpx.AsyncClient, message: dict[str, Any], **body: Any) -> httpx.Response:
    return await http.post(f"/messages/{message['id']}/feedback", json=body)


async def shown(http: httpx.AsyncClient, message: dict[str, Any]) -> dict[str, Any]:
    """The message as its reader sees it now."""
    [found] = (await http.get(f"/conversations/{message['conversation_id']}/messages")).json()["items"]
    return found


async def test_a_correction_reaches_review_with_all_that_produced_the_answer(
    desk: Desk, ann: httpx.AsyncClient, message: dict[str, Any], principal: Principal
):
    await rate(ann, message, rating="down", reason="Wrong topic", answer="20 days.", label="travel")

    [item] = desk.feedbacks.list(principal, status="open")
    assert (item.opinion.rating, item.opinion.reason) == ("down", "Wrong topic")
    assert (item.opinion.corrected_answer, item.opinion.corrected_label) == ("20 days.", "travel")
    assert (item.user_id, item.status) == ("user_ann", "open")
    assert (item.message.query, item.message.answer) == (message["query"], message["answer"])
    assert item.message.intent is not None
    assert (item.message.intent.label, item.message.intent.model, item.message.intent.version) == ("leave", "intent", 2)
    assert (item.message.trace_id, item.message.workflow_version) == (message["trace_id"], 1)


async def test_a_changed_mind_replaces_the_first_opinion(
    desk: Desk, ann: httpx.AsyncClient, message: dict[str, Any], principal: Principal
):
    await rate(ann, message, rating="down", label="travel")
    answer = await rate(ann, message, rating="up")

    assert answer.json() == {"feedback": {"rating": "up", "reason": None, "answer": None, "label": None}}
    assert (await shown(ann, message))["feedback"]["rating"] == "up"
    assert len(desk.feedbacks.list(principal)) == 1


async def test_a_null_takes_the_opinion_back(desk: Desk, ann: httpx.AsyncClient, message: dict[str, Any]):
    await rate(ann, message, rating="down")

    assert (await rate(ann, message, rating=None)).json() == {"feedback": None}
    assert (await shown(ann, message))["feedback"] is None


async def test_what_was_accepted_can_be_changed_but_not_taken_back(
    desk: Desk, ann: httpx.AsyncClient, message: dict[str, Any], principal: Principal
):
    await rate(ann, message, rating="down", label="travel")
    [item] = desk.feedbacks.list(principal)
    with desk.db.write() as conn:
        desk.feedbacks.set_status(conn, principal, item.id, ACCEPTED)

    taken_back = await rate(ann, message, rating=None)
    repeated = await rate(ann, message, rating="down", label="travel")
    assert (taken_back.status_code, repeated.status_code) == (409, 200)
    assert desk.feedbacks.counts(principal) == {"accepted": 1}

    await rate(ann, message, rating="down", label="leave")
    assert desk.feedbacks.counts(principal) == {"open": 1}


async def test_a_fixed_message_tells_its_reader(
    desk: Desk, ann: httpx.AsyncClient, message: dict[str, Any], principal: Principal
):
    await rate(ann, message, rating="down")
    with desk.db.write() as conn:
        desk.feedbacks.mark_fixed(conn, principal, [message["id"]], "intent", 3)

    assert (await shown(ann, message))["fixed_in"] == {"model": "intent", "version": 3}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rating": "maybe"},
        {"rating": "up", "label": "travel"},
        {"rating": "up", "answer": "20 days."},
        {"rating": "down", "reason": "x" * 2_001},
        {"rating": "down", "label": "x" * 201},
    ],
)
async def test_feedback_that_makes_no_sense_is_refused(
    ann: httpx.AsyncClient, message: dict[str, Any], body: dict[str, Any]
):
    assert (await rate(ann, message, **body)).status_code == 422


async def test_blank_remarks_are_none(ann: httpx.AsyncClient, message: dict[str, Any]):
    answer = await rate(ann, message, rating="up", reason=" ", answer="", label=None)

    assert answer.json()["feedback"] == {"rating": "up", "reason": None, "answer": None, "label": None}


async def test_a_label_needs_a_classifier_to_correct(desk: Desk, ann: httpx.AsyncClient, principal: Principal):
    nodes = [
        {"id": "start", "data": {"type": "start"}},
        {"id": "reply", "data": {"type": "answer", "answer": "Hello."}},
    ]
    desk.workflows.save(principal, "help", {"nodes": nodes, "edges": [{"source": "start", "target": "reply"}]})
    message = await ask(ann)

    answer = await rate(ann, message, rating="down", label="travel")

    assert answer.status_code == 422
    assert "No classifier" in answer.json()["error"]["message"]


async def test_a_burst_is_refused(sqlite: Database, chat: ScriptedChatModel, principal: Principal, desk: Desk):
    with Desk(sqlite, chat, burst=2).running() as strict:
        strict.apps.refresh()
        async with strict.as_user(principal) as http:
            message = await ask(http)
            answers = [await rate(http, message, rating="up") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 0


def test_patience_is_rewarded():
    time = [0.0]
    pace = Pace(burst=1, per_second=0.5, clock=lambda: time[0])
    ann, ben = (Principal("default", user, frozenset()) for user in ("ann", "ben"))

    pace.check(ann)
    pace.check(ben)
    with pytest.raises(TooMuchFeedback):
        pace.check(ann)
    time[0] = 2.0
    pace.check(ann)


async def test_figures_count_answers_and_thumbs_by_version(
    desk: Desk, ann: httpx.AsyncClient, message: dict[str, Any], principal: Principal
):
    other = await ask(ann)
    await rate(ann, message, rating="down")
    await rate(ann, other, rating="up")

    assert desk.feedbacks.figures(principal, "intent") == {2: Figures(answers=2, failed=0, up=1, down=1)}
    assert desk.feedbacks.figures(principal, "intent", since=message["created_at"] + 3600) == {}
    assert desk.feedbacks.figures(principal, "default") == {}


async def test_reviewers_see_their_own_workspace(
    desk: Desk, ann: httpx.AsyncClient, message: dict[str, Any], principal: Principal, stranger: Principal
):
    await rate(ann, message, rating="down")
    [item] = desk.feedbacks.list(principal, rating="down")

    assert desk.feedbacks.list(principal, rating="up") == []
    assert desk.feedbacks.list(stranger) == []
    with pytest.raises(FeedbackNotFound):
        desk.feedbacks.get(stranger, item.id)
    assert desk.feedbacks.get(principal, item.id) == item
    assert desk.feedbacks.figures(stranger, "intent") == {}
