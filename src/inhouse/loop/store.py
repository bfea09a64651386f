"""Golden cases, verdicts and releases in the database."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, Row, String, Text, delete, insert, select, update

from inhouse.core.db import Json, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

ACTIVE, QUARANTINED = "active", "quarantined"
CANARY, PROMOTED, ROLLED_BACK = "canary", "promoted", "rolled_back"

golden_cases = owned(
    "golden_cases",
    Column("id", String(64), primary_key=True),
    Column("model", String(120), nullable=False),
    Column("text", Text, nullable=False),
    Column("label", String(200), nullable=False),
    Column("feedback_id", String(64), nullable=False, unique=True),
    Column("message_id", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("dataset_version", Integer),
)
verdicts = owned(
    "verdicts",
    Column("id", String(64), primary_key=True),
    Column("model", String(120), nullable=False),
    Column("live", Integer, nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("decision", String(16), nullable=False),
    Column("reasons", Json, nullable=False),
)
releases = owned(
    "releases",
    Column("id", String(64), primary_key=True),
    Column("model", String(120), nullable=False),
    Column("live", Integer, nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("share", Float, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("ended_at", Float),
)


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """An accepted correction: every later version has to get it right.

    `status` is active, or quarantined when a version that had learned it was rejected. `dataset_version` is the
    first one that holds it.
    """

    id: str
    model: str
    text: str
    label: str
    feedback_id: str
    message_id: str
    status: str
    dataset_version: int | None
    created_at: float


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    id: str
    model: str
    live: int
    candidate: int
    decision: str
    reasons: list[dict[str, Any]]
    created_at: float


@dataclass(frozen=True, slots=True)
class Release:
    """A candidate on its way to live. `status` is canary, promoted or rolled_back."""

    id: str
    workspace_id: str
    model: str
    live: int
    candidate: int
    share: float
    status: str
    reason: str
    created_at: float
    ended_at: float | None


def insert_golden(
    conn: Connection, principal: Principal, *, model: str, text: str, label: str, feedback_id: str, message_id: str
) -> None:
    """Keep an accepted correction. A later one for the same text replaces the earlier, whose label was wrong."""
    same = (golden_cases.c.workspace_id == principal.workspace_id, golden_cases.c.model == model)
    conn.execute(delete(golden_cases).where(*same, golden_cases.c.text == text))
    conn.execute(
        insert(golden_cases).values(
            id=new_id("golden"),
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            model=model,
            text=text,
            label=label,
            feedback_id=feedback_id,
            message_id=message_id,
            status=ACTIVE,
            created_at=now(),
        )
    )


def list_golden(conn: Connection, principal: Principal, model: str) -> list[GoldenCase]:
    """The active cases, oldest first."""
    query = (
        select(golden_cases)
        .where(
            golden_cases.c.workspace_id == principal.workspace_id,
            golden_cases.c.model == model,
            golden_cases.c.status == ACTIVE,
        )
        .order_by(golden_cases.c.created_at)
    )
    return [_of(GoldenCase, row) for row in conn.execute(query)]


def place_golden(conn: Connection, principal: Principal, case_ids: Collection[str], version: int) -> None:
    """Note the first dataset version that holds these cases; one that is noted already stays."""
    conn.execute(
        update(golden_cases)
        .where(
            golden_cases.c.workspace_id == principal.workspace_id,
            golden_cases.c.id.in_(case_ids),
            golden_cases.c.dataset_version.is_(None),
        )
        .values(dataset_version=version)
    )


def delete_golden(conn: Connection, principal: Principal, feedback_id: str) -> None:
    mine = (golden_cases.c.workspace_id == principal.workspace_id, golden_cases.c.feedback_id == feedback_id)
    conn.execute(delete(golden_cases).where(*mine))


def quarantine_golden(conn: Connection, principal: Principal, model: str, after: int, until: int) -> int:
    """Take out the cases that came in with these dataset versions, and return how many."""
    moved = conn.execute(
        update(golden_cases)
        .where(
            golden_cases.c.workspace_id == principal.workspace_id,
            golden_cases.c.model == model,
            golden_cases.c.dataset_version > after,
            golden_cases.c.dataset_version <= until,
        )
        .values(status=QUARANTINED)
    )
    return moved.rowcount


def insert_verdict(
    conn: Connection,
    principal: Principal,
    *,
    model: str,
    live: int,
    candidate: int,
    decision: str,
    reasons: list[dict[str, Any]],
) -> StoredVerdict:
    verdict = StoredVerdict(new_id("verdict"), model, live, candidate, decision, reasons, now())
    conn.execute(
        insert(verdicts).values(
            id=verdict.id,
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            model=model,
            live=live,
            candidate=candidate,
            decision=decision,
            reasons=reasons,
            created_at=verdict.created_at,
        )
    )
    return verdict


def list_verdicts(conn: Connection, principal: Principal, model: str | None = None) -> list[StoredVerdict]:
    """Newest first."""
    query = select(verdicts).where(verdicts.c.workspace_id == principal.workspace_id)
    if model is not None:
        query = query.where(verdicts.c.model == model)
    return [_of(StoredVerdict, row) for row in conn.execute(query.order_by(verdicts.c.created_at.desc()))]


def insert_release(
    conn: Connection, principal: Principal, *, model: str, live: int, candidate: int, share: float, status: str = CANARY
) -> Release:
    begun = now()
    ended = None if status == CANARY else begun
    release = Release(
        new_id("release"), principal.workspace_id, model, live, candidate, share, status, "", begun, ended
    )
    conn.execute(insert(releases).values(owner_id=principal.user_id, **asdict(release)))
    return release


def find_release(conn: Connection, principal: Principal, release_id: str) -> Release | None:
    mine = (releases.c.workspace_id == principal.workspace_id, releases.c.id == release_id)
    row = conn.execute(select(releases).where(*mine)).first()
    return _of(Release, row) if row else None


def list_releases(conn: Connection, principal: Principal) -> list[Release]:
    """Newest first."""
    query = select(releases).where(releases.c.workspace_id == principal.workspace_id)
    return [_of(Release, row) for row in conn.execute(query.order_by(releases.c.created_at.desc()))]


def running_releases(conn: Connection) -> list[Release]:
    """The canaries of every workspace, for the watch."""
    return [_of(Release, row) for row in conn.execute(select(releases).where(releases.c.status == CANARY))]


def end_release(conn: Connection, principal: Principal, release: Release, status: str, reason: str) -> bool:
    """Move a release on from the status it was read with; False when somebody else was faster."""
    ended = conn.execute(
        update(releases)
        .where(
            releases.c.workspace_id == principal.workspace_id,
            releases.c.id == release.id,
            releases.c.status == release.status,
        )
        .values(status=status, reason=reason, ended_at=now())
    )
    return ended.rowcount > 0


def _of(cls: Any, row: Row[Any]) -> Any:
    values = row._mapping
    return cls(**{name: values[name] for name in cls.__dataclass_fields__})
