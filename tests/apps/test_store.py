"""What the room stores reads back alike from SQLite and PostgreSQL."""

from collections.abc import Iterator

import pytest

from inhouse.apps.conversations import Conversations
from inhouse.apps.feedback import Feedbacks
from inhouse.apps.sources import Source
from inhouse.apps.store import Feedback, Figures, Intent, Opinion
from inhouse.core.db import Database
from inhouse.core.principal import Principal

from .conftest import say

SOURCE = Source(1, "leave.pdf", "Leave", 2, "chunk_1", ["Top"], "15 days 十五天", True)
INTENT = Intent("leave", 0.5, False, "intent", 2)


@pytest.fixture
def conversations(db: Database) -> Iterator[Conversations]:
    conversations = Conversations(db)
    conversations.start()
    yield conversations
    conversations.close()


def test_a_message_reads_back_as_it_was_written(conversations: Conversations, principal: Principal):
    message = say(conversations, principal, "年假?", sources=[SOURCE], intent=INTENT, error={"code": "x"})

    assert conversations.messages(principal, message.conversation_id) == [message]


def test_feedback_is_given_counted_and_deleted_with_its_conversation(
    db: Database, conversations: Conversations, principal: Principal
):
    feedbacks = Feedbacks(db, conversations)
    message = say(conversations, principal, "hello", intent=INTENT)
    say(conversations, principal, "again", status="failed")
    opinion = Opinion("down", corrected_label="travel")

    given = feedbacks.give(principal, message.id, opinion)

    assert given == Feedback(given.id, message, "user_ann", opinion, "open", given.created_at, given.created_at)
    assert feedbacks.get(principal, given.id) == given
    assert feedbacks.figures(principal, "intent") == {2: Figures(answers=2, failed=1, up=0, down=1)}

    conversations.delete(principal, message.conversation_id)

    assert feedbacks.list(principal) == []
    assert feedbacks.figures(principal, "intent") == {2: Figures(answers=1, failed=1, up=0, down=0)}
