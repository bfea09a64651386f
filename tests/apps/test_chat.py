import asyncio
import json

import httpx
import pytest

from inhouse.apps.store import Figures
from inhouse.core.db import Database
from inhouse.core.errors import Unavailable
from inhouse.core.principal import Principal
from inhouse.testing.services import FixedPredictor, ScriptedChatModel

from .conftest import LEAVE, Browser, Desk, ask, events, graph


async def test_an_answer_says_what_produced_it(desk: Desk, ann: httpx.AsyncClient):
    message = await ask(ann)

    assert message["answer"] == "You have 15 days [1]."
    assert message["status"] == "succeeded"
    assert message["intent"] == {"label": "leave", "score": 0.9, "known": True, "model": "intent", "version": 2}
    assert message["model_versions"] == {"intent": 2, "default": "scripted"}
    assert (message["workflow"], message["workflow_version"]) == ("help", 1)


async def test_a_stream_tells_its_events_in_order(desk: Desk, ann: httpx.AsyncClient):
    response = await ann.post("/apps/helpdesk/chat", json={"query": LEAVE, "stream": True})

    told = events(response.text)
    names = [name for name, _ in told]
    assert names[0] == "start"
    assert names[-2:] == ["sources", "done"]
    assert [data["text"] for name, data in told if name == "delta"] == ["You have ", "15 days [1]."]
    assert {data["id"] for name, data in told if name == "node"} == {
        "start",
        "intent",
        "search",
        "found",
        "llm",
        "reply",
    }
    assert told[-1][1]["message"]["id"] == told[0][1]["message_id"]


async def test_the_model_remembers_the_last_turns(desk: Desk, chat: ScriptedChatModel, ann: httpx.AsyncClient):
    first = await ask(ann)
    for query in ("hotel day", "hotel days", "hotel cost"):
        await ask(ann, query, conversation_id=first["conversation_id"])

    history = [message["content"] for message in chat.requests[-1].messages[1:]]
    answer = "You have 15 days [1]."
    assert history == [LEAVE, answer, "hotel day", answer, "hotel days", answer, "hotel cost"]


async def test_a_conversation_goes_on_after_a_restart(
    desk: Desk, chat: ScriptedChatModel, ann: httpx.AsyncClient, principal: Principal
):
    first = await ask(ann)
    desk.conversations.drain()

    with Desk(desk.db, chat).running() as restarted:
        restarted.apps.refresh()
        async with restarted.as_user(principal) as http:
            await ask(http, "hotel cost", conversation_id=first["conversation_id"])

    assert [message["content"] for message in chat.requests[-1].messages[1:]] == [
        LEAVE,
        "You have 15 days [1].",
        "hotel cost",
    ]


async def test_a_reader_who_leaves_stops_the_run_and_the_part_is_kept(
    sqlite: Database, principal: Principal, ann: httpx.AsyncClient
):
    gate = asyncio.Semaphore(1)
    chat = ScriptedChatModel(["You have ", "15 days."], gate=gate)
    with Desk(sqlite, chat).running() as desk:
        desk.apps.refresh()

        await Browser(desk, principal).read_until("delta")

        [conversation] = desk.conversations.list(principal)
        [message] = desk.conversations.messages(principal, conversation.id)
    assert chat.cancelled == 1
    assert (message.status, message.answer, message.error) == ("stopped", "You have ", None)
    assert desk.traces.get(principal, message.trace_id).status == "stopped"


async def test_a_failed_run_is_an_event_with_hint_and_trace_and_a_stored_message(
    sqlite: Database, principal: Principal, ann: httpx.AsyncClient
):
    chat = ScriptedChatModel(["You ", Unavailable("The model is away.", hint="Start it.")])
    with Desk(sqlite, chat).running() as desk:
        desk.apps.refresh()
        async with desk.as_user(principal) as http:
            response = await http.post("/apps/helpdesk/chat", json={"query": LEAVE, "stream": True})
            told = events(response.text)
            stored = await http.get(f"/conversations/{told[0][1]['conversation_id']}/messages")

    name, data = told[-1]
    assert name == "error"
    assert data["error"]["message"] == "The model is away."
    assert data["error"]["hint"] == "Start it."
    assert data["error"]["trace_id"] == told[0][1]["trace_id"]
    [message] = stored.json()["items"]
    assert (message["status"], message["answer"], message["error"]) == ("failed", "You ", data["error"])


async def test_a_version_that_cannot_predict_is_counted_among_its_failures(
    desk: Desk, chat: ScriptedChatModel, principal: Principal
):
    predictor = FixedPredictor({}, version=3, error=RuntimeError("broken weights"))
    with Desk(desk.db, chat, predictor=predictor).running() as broken:
        broken.apps.refresh()
        async with broken.as_user(principal) as http:
            await http.post("/apps/helpdesk/chat", json={"query": LEAVE})
        broken.conversations.drain()

    [conversation] = broken.conversations.list(principal)
    [message] = broken.conversations.messages(principal, conversation.id)
    assert (message.status, message.model_versions) == ("failed", {"intent": 3})
    assert broken.feedbacks.figures(principal, "intent") == {3: Figures(answers=1, failed=1, up=0, down=0)}


async def test_a_failed_run_in_one_piece_is_an_http_error(sqlite: Database, principal: Principal, desk: Desk):
    chat = ScriptedChatModel([Unavailable("The model is away.")])
    with Desk(sqlite, chat).running() as broken:
        broken.apps.refresh()
        async with broken.as_user(principal) as http:
            response = await http.post("/apps/helpdesk/chat", json={"query": LEAVE})

    assert response.status_code == 503
    assert response.json()["error"]["details"]["trace_id"].startswith("trace_")


async def test_a_saved_edit_of_the_workflow_is_live_with_the_next_question(
    desk: Desk, chat: ScriptedChatModel, ann: httpx.AsyncClient, principal: Principal
):
    await ask(ann)
    desk.workflows.save(principal, "help", graph("Be brief."))

    message = await ask(ann)

    assert message["workflow_version"] == 2
    assert chat.requests[-1].messages[0]["content"] == "Be brief."


async def test_the_short_form_answers_with_sources_context_and_temperature(
    desk: Desk, chat: ScriptedChatModel, ann: httpx.AsyncClient
):
    query = {"query": LEAVE, "context": "I work in Rotterdam.", "temperature": 0.7}

    answer = (await ann.get("/chat", params=query)).json()

    assert answer["answer"] == "You have 15 days [1]."
    assert answer["sources"][0]["document"] == "leave.pdf"
    assert answer["model_versions"]["intent"] == 2
    assert set(answer) == {"answer", "sources", "message_id", "conversation_id", "trace_id", "model_versions"}
    assert chat.requests[-1].temperature == 0.7
    assert chat.requests[-1].messages[1] == {"role": "user", "content": "I work in Rotterdam."}


async def test_without_an_override_the_workflow_sets_the_temperature(
    desk: Desk, chat: ScriptedChatModel, ann: httpx.AsyncClient
):
    await ask(ann)

    assert chat.requests[-1].temperature == 0.1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": " \n"}, "question_empty"),
        ({"query": "x" * 8_001}, "question_too_long"),
        ({"query": "x", "inputs": {"text": "x" * 200_001}}, "question_too_long"),
        ({"query": "\0"}, "question_empty"),
        ({}, "bad_request"),
    ],
)
async def test_a_question_that_cannot_be_asked_is_refused(ann: httpx.AsyncClient, body: dict[str, object], code: str):
    response = await ann.post("/apps/helpdesk/chat", json=body)

    assert response.status_code == 422
    assert response.json()["error"]["code"] == code


async def test_characters_that_cannot_be_stored_are_replaced(ann: httpx.AsyncClient):
    body = json.dumps({"query": "hotel \ud83d\0", "inputs": {"note": "\ud83d"}})

    response = await ann.post("/apps/helpdesk/chat", content=body, headers={"content-type": "application/json"})

    assert response.json()["query"] == "hotel ?"


async def test_the_longest_question_is_answered(ann: httpx.AsyncClient):
    message = await ask(ann, "hotel " * 1333)

    assert message["status"] == "succeeded"


async def test_an_unknown_app_is_named_with_the_known_ones(ann: httpx.AsyncClient):
    response = await ann.post("/apps/nowhere/chat", json={"query": "hotel", "stream": True})

    assert response.status_code == 404
    assert response.json()["error"]["hint"] == "Known: helpdesk."


async def test_chatting_needs_its_permission(desk: Desk):
    async with desk.as_user(Principal("default", "user_kim", frozenset({"app:read"}))) as kim:
        response = await kim.post("/apps/helpdesk/chat", json={"query": LEAVE})

    assert response.status_code == 403
