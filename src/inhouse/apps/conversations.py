"""Conversations: remembered in memory while they go on, written behind the answers."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from inhouse.apps import store
from inhouse.apps.store import Conversation, Message
from inhouse.core.behind import WriteBehind
from inhouse.core.db import Database
from inhouse.core.errors import LimitExceeded, NotFound
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

_TITLE = 80
_TURN_CHARS = 8_000


class ConversationNotFound(NotFound):
    """There is no such conversation, or it is somebody else's."""


class TooBusy(LimitExceeded):
    """Answers come faster than they can be written down."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation that goes on, with its last turns."""

    conversation: Conversation
    turns: deque[tuple[str, str]]

    def history(self) -> list[dict[str, str]]:
        """The last turns as chat messages, oldest first."""
        return [
            {"role": role, "content": text}
            for turn in self.turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]

    def add(self, message: Message) -> None:
        """Remember a turn, a very long text by its beginning. What was never answered is no turn."""
        if message.answer and message.status != "failed":
            self.turns.append((message.query[:_TURN_CHARS], message.answer[:_TURN_CHARS]))


class Conversations:
    """All conversations. The `window` last turns of those in use stay in memory, so a question reads no database.

    Reads wait for what this process has still to write: who has seen an answer finds it in the list.
    """

    def __init__(self, db: Database, *, window: int = 10, max_threads: int = 1_000) -> None:
        self._db = db
        self._window = window
        self._max_threads = max_threads
        self._threads: OrderedDict[str, Thread] = OrderedDict()
        self._behind: WriteBehind[Conversation | Message] = WriteBehind(self._write, name="messages")

    def start(self) -> None:
        self._behind.start()

    def close(self) -> None:
        self._behind.close()

    @property
    def dropped(self) -> int:
        return self._behind.dropped

    def begin(self, principal: Principal, app: str, query: str) -> Thread:
        """Start a conversation; it is called by its first question."""
        started = now()
        title = " ".join(query.split())[:_TITLE]
        conversation = Conversation(
            new_id("conversation"), principal.workspace_id, principal.user_id, app, title, started, started
        )
        if not self._behind.put(conversation):
            raise TooBusy("Too many questions are being asked.", hint="Try again in a moment.", retry_after_s=1)
        return self._remember(Thread(conversation, deque(maxlen=self._window)))

    async def resume(self, principal: Principal, app: str, conversation_id: str) -> Thread:
        """One's own conversation with this app, from memory when it is in use."""
        thread = self._threads.get(conversation_id)
        if thread is None:
            thread = await asyncio.to_thread(self._load, principal, conversation_id)
        mine = thread.conversation
        if (mine.workspace_id, mine.owner_id, mine.app) != (principal.workspace_id, principal.user_id, app):
            raise _not_found(conversation_id)
        return self._remember(thread)

    def record(self, thread: Thread, message: Message) -> None:
        """Add a turn: at once in memory, behind in the database."""
        thread.add(message)
        self._behind.put(message)

    def drain(self) -> None:
        """Wait until everything recorded so far can be read."""
        self._behind.drain()

    def list(
        self, principal: Principal, *, app: str = "", before: float | None = None, limit: int = 50
    ) -> Sequence[Conversation]:
        """One's own, the last used first; `before` is when the last one of the page before was used."""
        self.drain()
        with self._db.read() as conn:
            return store.list_conversations(conn, principal, app=app, before=before, limit=limit)

    def messages(
        self, principal: Principal, conversation_id: str, *, before: float | None = None, limit: int = 100
    ) -> Sequence[Message]:
        """The last messages in reading order; `before` is when the first one of the page after was asked."""
        self.drain()
        with self._db.read() as conn:
            if store.find_conversation(conn, principal, conversation_id) is None:
                raise _not_found(conversation_id)
            return store.list_messages(conn, principal, conversation_id, before=before, limit=limit)

    def delete(self, principal: Principal, conversation_id: str) -> None:
        """Delete a conversation with its messages and the feedback on them."""
        self.drain()
        with self._db.write() as conn:
            if not store.delete_conversation(conn, principal, conversation_id):
                raise _not_found(conversation_id)
        self._threads.pop(conversation_id, None)

    def _load(self, principal: Principal, conversation_id: str) -> Thread:
        self.drain()
        with self._db.read() as conn:
            conversation = store.find_conversation(conn, principal, conversation_id)
            if conversation is None:
                raise _not_found(conversation_id)
            thread = Thread(conversation, deque(maxlen=self._window))
            for message in store.list_messages(conn, principal, conversation_id, limit=self._window):
                thread.add(message)
        return thread

    def _remember(self, thread: Thread) -> Thread:
        """Keep a thread as the one used last. Of two that loaded it at a time, the first one's stays."""
        conversation_id = thread.conversation.id
        thread = self._threads.setdefault(conversation_id, thread)
        self._threads.move_to_end(conversation_id)
        while len(self._threads) > self._max_threads:
            self._threads.popitem(last=False)
        return thread

    def _write(self, items: Sequence[Conversation | Message]) -> None:
        with self._db.write() as conn:
            for item in items:
                if isinstance(item, Conversation):
                    store.insert_conversation(conn, item)
                else:
                    store.insert_message(conn, item)


def _not_found(conversation_id: str) -> ConversationNotFound:
    return ConversationNotFound(
        f"There is no conversation {conversation_id!r} of yours here.", hint="Leave it out to start a new one."
    )
