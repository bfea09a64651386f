"""Feedback: what users think of answers, kept for review and for the next model version."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection

from inhouse.apps import store
from inhouse.apps.conversations import Conversations
from inhouse.apps.store import Feedback, Figures, Message, Opinion
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, LimitExceeded, NotFound
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

OPEN, ACCEPTED, REJECTED = "open", "accepted", "rejected"


class MessageNotFound(NotFound):
    """There is no such message, or it is somebody else's."""


class FeedbackNotFound(NotFound):
    """There is no such feedback in this workspace."""


class BadFeedback(Invalid):
    """The opinion contradicts itself, or the message."""


class FeedbackAccepted(Conflict):
    """The feedback has gone into training data."""


class TooMuchFeedback(LimitExceeded):
    """One user rates faster than anybody can read."""


class Feedbacks:
    """All feedback: one opinion per user and message, which the user may change."""

    def __init__(self, db: Database, conversations: Conversations, *, burst: int = 60, per_second: float = 1.0) -> None:
        self._db = db
        self._conversations = conversations
        self._pace = Pace(burst=burst, per_second=per_second)

    def give(self, principal: Principal, message_id: str, opinion: Opinion) -> Feedback:
        """Store the user's opinion of one of their own messages. A changed opinion is open for review again."""
        self._pace.check(principal)
        self._conversations.drain()
        with self._db.write() as conn:
            message = _message(conn, principal, message_id)
            _check(opinion, message)
            present = store.find_own_feedback(conn, principal, message_id)
            if present is None:
                given = now()
                item = Feedback(new_id("feedback"), message, principal.user_id, opinion, OPEN, given, given)
                store.insert_feedback(conn, item)
                return item
            if present.opinion != opinion:
                store.update_feedback(conn, principal, present.id, {**asdict(opinion), "status": OPEN})
            return _item(conn, principal, present.id)

    def withdraw(self, principal: Principal, message_id: str) -> None:
        """Take the user's opinion back, unless training data was made of it."""
        self._pace.check(principal)
        self._conversations.drain()
        with self._db.write() as conn:
            _message(conn, principal, message_id)
            present = store.find_own_feedback(conn, principal, message_id)
            if present is None:
                return
            if present.status == ACCEPTED:
                raise FeedbackAccepted(
                    "This feedback has been accepted into training data and cannot be taken back.",
                    hint="Change it instead: the change is reviewed again.",
                )
            store.delete_feedback(conn, principal, present.id)

    def list(self, principal: Principal, *, status: str = "", rating: str = "", limit: int = 500) -> Sequence[Feedback]:
        """The workspace's feedback, newest first; without a status or rating of any."""
        with self._db.read() as conn:
            return store.list_feedback(conn, principal, status=status, rating=rating, limit=limit)

    def get(self, principal: Principal, feedback_id: str) -> Feedback:
        with self._db.read() as conn:
            return _item(conn, principal, feedback_id)

    def counts(self, principal: Principal) -> Mapping[str, int]:
        """How many items are in each status."""
        with self._db.read() as conn:
            return store.count_feedback(conn, principal)

    def answered(self, principal: Principal) -> tuple[int, int]:
        """How many messages and conversations there are to have an opinion of."""
        with self._db.read() as conn:
            return store.count_answers(conn, principal)

    def set_status(self, conn: Connection, principal: Principal, feedback_id: str, status: str) -> bool:
        """Note the outcome of a review in the caller's transaction; False when it was not open any more."""
        if status not in (ACCEPTED, REJECTED):
            raise BadFeedback(f"{status!r} is no outcome of a review.", hint=f"Use {ACCEPTED} or {REJECTED}.")
        _item(conn, principal, feedback_id)
        return store.update_feedback(conn, principal, feedback_id, {"status": status}, status=OPEN)

    def mark_fixed(
        self, conn: Connection, principal: Principal, message_ids: Collection[str], model: str, version: int | None
    ) -> None:
        """Let messages tell which version now gets them right, or that none does, in the caller's transaction."""
        store.mark_fixed(conn, principal, message_ids, model, version)

    def figures(self, principal: Principal, model: str, *, since: float = 0.0) -> Mapping[int, Figures]:
        """How each version of a model fared in answers since then."""
        self._conversations.drain()
        with self._db.read() as conn:
            return store.figures(conn, principal, model, since)


class Pace:
    """Lets each user do something `burst` times at once, and `per_second` times a second for long."""

    def __init__(
        self, *, burst: int, per_second: float, max_users: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._max_users = max_users
        self._clock = clock
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, principal: Principal) -> None:
        """Count one, or raise `TooMuchFeedback`."""
        user = (principal.workspace_id, principal.user_id)
        with self._lock:
            at = self._clock()
            left, last = self._left.pop(user, (float(self._burst), at))
            left = min(self._burst, left + (at - last) * self._per_second)
            self._left[user] = (left - 1 if left >= 1 else left, at)
            if len(self._left) > self._max_users:
                self._left.popitem(last=False)
        if left < 1:
            wait_s = (1 - left) / self._per_second
            raise TooMuchFeedback(
                "That is too much feedback in a short time.",
                hint=f"Try again in {wait_s:.0f} s.",
                retry_after_s=round(wait_s, 1),
            )


def _check(opinion: Opinion, message: Message) -> None:
    corrects = opinion.corrected_answer is not None or opinion.corrected_label is not None
    if opinion.rating == "up" and corrects:
        raise BadFeedback("A good answer needs no correction.", hint="Send the correction with the rating 'down'.")
    if opinion.corrected_label is not None and message.intent is None:
        raise BadFeedback(
            "No classifier took part in this answer, so it has no label to correct.", hint="Correct the answer instead."
        )


def _message(conn: Connection, principal: Principal, message_id: str) -> Message:
    message = store.lock_message(conn, principal, message_id)
    if message is None:
        raise MessageNotFound(f"There is no message {message_id!r} of yours.")
    return message


def _item(conn: Connection, principal: Principal, feedback_id: str) -> Feedback:
    item = store.find_feedback(conn, principal, feedback_id)
    if item is None:
        raise FeedbackNotFound(f"There is no feedback {feedback_id!r}.")
    return item
