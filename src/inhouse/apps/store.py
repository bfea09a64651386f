"""Apps, conversations, messages and feedback in the database."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    case,
    delete,
    func,
    insert,
    null,
    select,
    update,
)

from inhouse.apps.sources import Source
from inhouse.core.db import Json, owned
from inhouse.core.ids import now
from inhouse.core.principal import Principal

apps = owned(
    "apps",
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("workflow", String(64), nullable=False),
    Column("title", Json, nullable=False),
    Column("opener", Json, nullable=False),
    Column("suggested", Json, nullable=False),
    Column("updated_at", Float, nullable=False),
    Index(None, "workspace_id", "name", unique=True),
)
conversations = owned(
    "conversations",
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("title", String(200), nullable=False),
    Column("updated_at", Float, nullable=False),
    Index(None, "workspace_id", "owner_id", "updated_at"),
)
messages = owned(
    "messages",
    Column("id", String(64), primary_key=True),
    Column("conversation_id", String(64), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("app", String(64), nullable=False),
    Column("query", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("status", String(32), nullable=False),
    Column("error", Json),
    Column("sources", Json, nullable=False),
    Column("intent", Json),
    Column("trace_id", String(64), nullable=False),
    Column("workflow", String(64), nullable=False),
    Column("workflow_version", Integer, nullable=False),
    Column("model_versions", Json, nullable=False),
    Column("fixed_in", Json),
    Column("duration_ms", Float, nullable=False),
    Index(None, "conversation_id", "created_at"),
)
message_models = owned(
    "message_models",
    Column("message_id", String(64), ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("model", String(120), primary_key=True),
    Column("version", Integer, nullable=False),
    Index(None, "workspace_id", "model", "created_at"),
)
feedback = owned(
    "feedback",
    Column("id", String(64), primary_key=True),
    Column("message_id", String(64), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("rating", String(8), nullable=False),
    Column("reason", Text),
    Column("corrected_answer", Text),
    Column("corrected_label", String(200)),
    Column("status", String(16), nullable=False),
    Column("updated_at", Float, nullable=False),
    Index(None, "message_id", "owner_id", unique=True),
    Index(None, "workspace_id", "status", "created_at"),
)

_OPINION = ("rating", "reason", "corrected_answer", "corrected_label")


@dataclass(frozen=True, slots=True)
class App:
    """A workflow with a face. Texts are by language: `{"en": …, "zh": …}`."""

    id: str
    workspace_id: str
    owner_id: str
    name: str
    workflow: str
    title: dict[str, str]
    opener: dict[str, str]
    suggested: list[dict[str, str]]
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """A user's talk with an app."""

    id: str
    workspace_id: str
    owner_id: str
    app: str
    title: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Intent:
    """What a classifier took the question for."""

    label: str
    score: float
    known: bool
    model: str
    version: int


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a user thinks of an answer: `rating` is up or down."""

    rating: str
    reason: str | None = None
    corrected_answer: str | None = None
    corrected_label: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A question and its answer, with all that produced it. `status` is as of the run, or `stopped`.

    `feedback` is the opinion of the user who reads it; `fixed_in` the model version that gets it right.
    """

    id: str
    conversation_id: str
    workspace_id: str
    owner_id: str
    app: str
    query: str
    answer: str
    status: str
    error: dict[str, Any] | None
    sources: list[Source]
    intent: Intent | None
    trace_id: str
    workflow: str
    workflow_version: int
    model_versions: dict[str, int | str]
    created_at: float
    duration_ms: float
    fixed_in: dict[str, Any] | None = None
    feedback: Opinion | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """A user's opinion of a message, for review: `status` is open, accepted or rejected."""

    id: str
    message: Message
    user_id: str
    opinion: Opinion
    status: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Figures:
    """How one version of a model fared: answers that it took part in, and what became of them."""

    answers: int
    failed: int
    up: int
    down: int


def storable(text: str) -> str:
    """The text without what no database takes: NUL characters and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="replace").decode()


def insert_app(conn: Connection, app: App) -> None:
    conn.execute(insert(apps).values(**asdict(app)))


def update_app(conn: Connection, app: App) -> None:
    conn.execute(
        update(apps)
        .where(apps.c.workspace_id == app.workspace_id, apps.c.id == app.id)
        .values(
            workflow=app.workflow,
            title=app.title,
            opener=app.opener,
            suggested=app.suggested,
            updated_at=app.updated_at,
        )
    )


def find_app(conn: Connection, principal: Principal, name: str) -> App | None:
    row = conn.execute(select(apps).where(apps.c.workspace_id == principal.workspace_id, apps.c.name == name)).first()
    return App(**row._mapping) if row else None


def every_app(conn: Connection) -> list[App]:
    """All workspaces' apps, oldest first, for the table that requests look into."""
    return [App(**row._mapping) for row in conn.execute(select(apps).order_by(apps.c.created_at))]


def insert_conversation(conn: Connection, conversation: Conversation) -> None:
    conn.execute(insert(conversations).values(**asdict(conversation)))


def find_conversation(conn: Connection, principal: Principal, conversation_id: str) -> Conversation | None:
    query = select(conversations).where(*_own(conversations, principal), conversations.c.id == conversation_id)
    row = conn.execute(query).first()
    return Conversation(**row._mapping) if row else None


def list_conversations(
    conn: Connection, principal: Principal, *, app: str, before: float | None, limit: int
) -> list[Conversation]:
    """The user's own, the last used first."""
    query = select(conversations).where(*_own(conversations, principal))
    if app:
        query = query.where(conversations.c.app == app)
    if before is not None:
        query = query.where(conversations.c.updated_at < before)
    rows = conn.execute(query.order_by(conversations.c.updated_at.desc(), conversations.c.id.desc()).limit(limit))
    return [Conversation(**row._mapping) for row in rows]


def delete_conversation(conn: Connection, principal: Principal, conversation_id: str) -> bool:
    """Delete a conversation with its messages and what was thought of them."""
    gone = conn.execute(
        delete(conversations).where(*_own(conversations, principal), conversations.c.id == conversation_id)
    )
    return gone.rowcount > 0


def insert_message(conn: Connection, message: Message) -> None:
    """Add a message, unless its conversation has been deleted meanwhile."""
    touched = conn.execute(
        update(conversations)
        .where(conversations.c.id == message.conversation_id)
        .values(updated_at=message.created_at + message.duration_ms / 1000)
    )
    if touched.rowcount == 0:
        return
    values = asdict(message)
    del values["feedback"]
    conn.execute(insert(messages).values(**values))
    versions = {name: version for name, version in message.model_versions.items() if isinstance(version, int)}
    if versions:
        owned = {"workspace_id": message.workspace_id, "owner_id": message.owner_id, "created_at": message.created_at}
        rows = [{"message_id": message.id, "model": name, "version": v, **owned} for name, v in versions.items()]
        conn.execute(insert(message_models), rows)


def list_messages(
    conn: Connection, principal: Principal, conversation_id: str, *, before: float | None = None, limit: int
) -> list[Message]:
    """The last messages of one's own conversation in reading order, each with one's feedback."""
    mine = (feedback.c.message_id == messages.c.id) & (feedback.c.owner_id == principal.user_id)
    query = (
        select(messages, *(feedback.c[name] for name in _OPINION))
        .outerjoin(feedback, mine)
        .where(*_own(messages, principal), messages.c.conversation_id == conversation_id)
    )
    if before is not None:
        query = query.where(messages.c.created_at < before)
    rows = conn.execute(query.order_by(messages.c.created_at.desc(), messages.c.id.desc()).limit(limit)).all()
    return [replace(_message(row), feedback=_opinion(row)) for row in reversed(rows)]


def lock_message(conn: Connection, principal: Principal, message_id: str) -> Message | None:
    """One's own message; others who rate it wait (PostgreSQL; SQLite has one writer)."""
    query = select(messages).where(*_own(messages, principal), messages.c.id == message_id)
    row = conn.execute(query.with_for_update()).first()
    return _message(row) if row else None


def mark_fixed(
    conn: Connection, principal: Principal, message_ids: Collection[str], model: str, version: int | None
) -> None:
    """Note the version that gets these right; None takes the note back."""
    conn.execute(
        update(messages)
        .where(messages.c.workspace_id == principal.workspace_id, messages.c.id.in_(message_ids))
        .values(fixed_in=null() if version is None else {"model": model, "version": version})
    )


def insert_feedback(conn: Connection, item: Feedback) -> None:
    conn.execute(
        insert(feedback).values(
            id=item.id,
            message_id=item.message.id,
            workspace_id=item.message.workspace_id,
            owner_id=item.user_id,
            **asdict(item.opinion),
            status=item.status,
            created_at=item.created_at,
            updated_at=item.updated_at,
        )
    )


def update_feedback(
    conn: Connection, principal: Principal, feedback_id: str, values: Mapping[str, object], *, status: str = ""
) -> bool:
    """Change feedback, if it is in this status (any when empty); False when it is not."""
    mine = (feedback.c.workspace_id == principal.workspace_id, feedback.c.id == feedback_id)
    condition = (*mine, feedback.c.status == status) if status else mine
    changed = conn.execute(update(feedback).where(*condition).values(**values, updated_at=now()))
    return changed.rowcount > 0


def delete_feedback(conn: Connection, principal: Principal, feedback_id: str) -> None:
    conn.execute(delete(feedback).where(*_own(feedback, principal), feedback.c.id == feedback_id))


def find_feedback(conn: Connection, principal: Principal, feedback_id: str) -> Feedback | None:
    return next(_feedback(conn, principal, feedback.c.id == feedback_id), None)


def find_own_feedback(conn: Connection, principal: Principal, message_id: str) -> Feedback | None:
    own = (feedback.c.message_id == message_id, feedback.c.owner_id == principal.user_id)
    return next(_feedback(conn, principal, *own), None)


def list_feedback(conn: Connection, principal: Principal, *, status: str, rating: str, limit: int) -> list[Feedback]:
    """Everybody's feedback, newest first; empty texts don't filter."""
    wanted = [column == value for column, value in ((feedback.c.status, status), (feedback.c.rating, rating)) if value]
    return list(_feedback(conn, principal, *wanted, limit=limit))


def count_feedback(conn: Connection, principal: Principal) -> dict[str, int]:
    """How many items are in each status."""
    query = (
        select(feedback.c.status, func.count())
        .where(feedback.c.workspace_id == principal.workspace_id)
        .group_by(feedback.c.status)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def count_answers(conn: Connection, principal: Principal) -> tuple[int, int]:
    """How many messages and conversations the workspace has."""
    counts = [
        conn.execute(select(func.count()).select_from(table).where(table.c.workspace_id == principal.workspace_id))
        for table in (messages, conversations)
    ]
    answered, held = (count.scalar_one() for count in counts)
    return answered, held


def figures(conn: Connection, principal: Principal, model: str, since: float) -> dict[int, Figures]:
    """How each version of a model fared since then."""
    rated = (
        select(
            feedback.c.message_id,
            _count(feedback.c.rating == "up").label("up"),
            _count(feedback.c.rating == "down").label("down"),
        )
        .where(feedback.c.workspace_id == principal.workspace_id)
        .group_by(feedback.c.message_id)
        .subquery()
    )
    query = (
        select(
            message_models.c.version,
            func.count(),
            _count(messages.c.status == "failed"),
            func.coalesce(func.sum(rated.c.up), 0),
            func.coalesce(func.sum(rated.c.down), 0),
        )
        .join(messages, messages.c.id == message_models.c.message_id)
        .outerjoin(rated, rated.c.message_id == message_models.c.message_id)
        .where(
            message_models.c.workspace_id == principal.workspace_id,
            message_models.c.model == model,
            message_models.c.created_at >= since,
        )
        .group_by(message_models.c.version)
    )
    return {version: Figures(*(int(count) for count in counts)) for version, *counts in conn.execute(query)}


def _own(table: Table, principal: Principal) -> tuple[ColumnElement[bool], ...]:
    return (table.c.workspace_id == principal.workspace_id, table.c.owner_id == principal.user_id)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _feedback(
    conn: Connection, principal: Principal, *wanted: ColumnElement[bool], limit: int = 1
) -> Iterator[Feedback]:
    about = {f"feedback_{name}": feedback.c[name] for name in ("id", "owner_id", "status", "created_at", "updated_at")}
    query = (
        select(messages, *(column.label(name) for name, column in about.items()), *(feedback.c[n] for n in _OPINION))
        .join(messages, messages.c.id == feedback.c.message_id)
        .where(feedback.c.workspace_id == principal.workspace_id, *wanted)
        .order_by(feedback.c.created_at.desc(), feedback.c.id.desc())
        .limit(limit)
    )
    for row in conn.execute(query):
        values = row._mapping
        yield Feedback(
            id=values["feedback_id"],
            message=_message(row),
            user_id=values["feedback_owner_id"],
            opinion=Opinion(*(values[name] for name in _OPINION)),
            status=values["feedback_status"],
            created_at=values["feedback_created_at"],
            updated_at=values["feedback_updated_at"],
        )


def _opinion(row: Row[Any]) -> Opinion | None:
    values = [row._mapping[name] for name in _OPINION]
    return Opinion(*values) if values[0] else None


def _message(row: Row[Any]) -> Message:
    values = {column.name: row._mapping[column.name] for column in messages.c}
    values["sources"] = [Source(**source) for source in values["sources"]]
    values["intent"] = Intent(**values["intent"]) if values["intent"] else None
    return Message(**values)
