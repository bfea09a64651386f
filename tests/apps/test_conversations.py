import asyncio
from collections.abc import Iterator

import httpx
import pytest

from inhouse.apps.conversations import ConversationNotFound, Conversations
from inhouse.core.db import Database
from inhouse.core.principal import Principal

from .conftest import Desk, ask, say


@pytest.fixture
def conversations(sqlite: Database) -> Iterator[Conversations]:
    conversations = Conversations(sqlite, window=2, max_threads=2)
    conversations.start()
    yield conversations
    conversations.close()


def test_a_conversation_is_called_by_its_first_question(conversations: Conversations, principal: Principal):
    conversations.begin(principal, "helpdesk", "  How\n  many days?" + "x" * 200)

    [conversation] = conversations.list(principal)
    assert conversation.title.startswith("How many days?x")
    assert len(conversation.title) == 80


async def test_more_threads_than_fit_are_loaded_again(conversations: Conversations, principal: Principal):
    messages = [say(conversations, principal, query) for query in ("a", "b", "c")]

    threads = [await conversations.resume(principal, "helpdesk", message.conversation_id) for message in messages]

    assert [thread.history()[0]["content"] for thread in threads] == ["a", "b", "c"]


async def test_a_failed_turn_is_not_remembered(conversations: Conversations, principal: Principal):
    message = say(conversations, principal, "a", status="failed")

    thread = await conversations.resume(principal, "helpdesk", message.conversation_id)

    assert thread.history() == []


async def test_two_that_load_a_conversation_at_a_time_share_it(
    sqlite: Database, conversations: Conversations, principal: Principal
):
    message = say(conversations, principal, "a")
    conversations.drain()
    other = Conversations(sqlite)

    first, second = await asyncio.gather(
        other.resume(principal, "helpdesk", message.conversation_id),
        other.resume(principal, "helpdesk", message.conversation_id),
    )

    assert first is second


@pytest.mark.parametrize("user", ["user_ben", "user_ann"])
async def test_a_conversation_in_memory_is_its_owners_alone(
    conversations: Conversations, principal: Principal, user: str
):
    message = say(conversations, principal, "a")
    workspace = "default" if user == "user_ben" else "elsewhere"

    with pytest.raises(ConversationNotFound):
        await conversations.resume(Principal(workspace, user, frozenset({"*"})), "helpdesk", message.conversation_id)


async def test_a_conversation_belongs_to_its_app(conversations: Conversations, principal: Principal):
    message = say(conversations, principal, "a")

    with pytest.raises(ConversationNotFound):
        await conversations.resume(principal, "other", message.conversation_id)


def test_an_answer_to_a_conversation_deleted_meanwhile_is_let_go(conversations: Conversations, principal: Principal):
    message = say(conversations, principal, "a")
    thread = conversations.begin(principal, "helpdesk", "b")
    conversations.delete(principal, thread.conversation.id)

    conversations.record(thread, message)
    conversations.drain()

    assert [one.title for one in conversations.list(principal)] == ["a"]


async def test_conversations_are_listed_with_the_last_used_first(desk: Desk, ann: httpx.AsyncClient):
    first = await ask(ann, "hotel")
    await ask(ann, "hotels")
    await ask(ann, "hotel day", conversation_id=first["conversation_id"])

    titles = [one["title"] for one in (await ann.get("/conversations")).json()["items"]]
    paged = (await ann.get("/conversations", params={"limit": 1, "app": "helpdesk"})).json()["items"]

    assert titles == ["hotel", "hotels"]
    assert [one["title"] for one in paged] == ["hotel"]


async def test_messages_are_read_page_by_page(desk: Desk, ann: httpx.AsyncClient):
    first = await ask(ann, "hotel a")
    path = f"/conversations/{first['conversation_id']}/messages"
    for query in ("hotel b", "hotel c"):
        await ask(ann, query, conversation_id=first["conversation_id"])

    last = (await ann.get(path, params={"limit": 2})).json()["items"]
    before = (await ann.get(path, params={"before": last[0]["created_at"]})).json()["items"]

    assert [message["query"] for message in before + last] == ["hotel a", "hotel b", "hotel c"]


async def test_what_is_somebody_elses_does_not_exist(
    ann: httpx.AsyncClient, ben: httpx.AsyncClient, eve: httpx.AsyncClient
):
    message = await ask(ann)
    talk = message["conversation_id"]

    for other in (ben, eve):
        assert (await other.get("/conversations")).json() == {"items": []}
        assert (await other.get(f"/conversations/{talk}/messages")).status_code == 404
        assert (await other.delete(f"/conversations/{talk}")).status_code == 404
        assert (await other.post(f"/messages/{message['id']}/feedback", json={"rating": "up"})).status_code == 404
    continued = await ben.post("/apps/helpdesk/chat", json={"query": "hotel", "conversation_id": talk})
    assert continued.status_code == 404


async def test_a_deleted_conversation_is_gone_with_all_its_rows(desk: Desk, ann: httpx.AsyncClient):
    message = await ask(ann)
    await ann.post(f"/messages/{message['id']}/feedback", json={"rating": "up"})

    deleted = await ann.delete(f"/conversations/{message['conversation_id']}")
    again = await ann.post("/apps/helpdesk/chat", json={"query": "x", "conversation_id": message["conversation_id"]})

    assert (deleted.status_code, again.status_code) == (204, 404)
    assert (await ann.get("/conversations")).json() == {"items": []}
