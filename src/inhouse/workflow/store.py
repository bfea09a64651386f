"""Workflows, their versions, and traces in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Text,
    func,
    insert,
    select,
)

from inhouse.core.db import Json, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

workflows = owned(
    "workflows",
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Index(None, "workspace_id", "name", unique=True),
)
versions = owned(
    "workflow_versions",
    Column("workflow_id", String(64), ForeignKey("workflows.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("graph", Json, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("note", Text, nullable=False),
)
traces = owned(
    "traces",
    Column("id", String(64), primary_key=True),
    Column("workflow", String(64), nullable=False),
    Column("workflow_version", Integer, nullable=False),
    Column("app", String(120), nullable=False),
    Column("conversation_id", String(64), nullable=False),
    Column("status", String(32), nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("input", Json),
    Column("output", Json),
    Column("error", Text),
    Column("model_versions", Json, nullable=False),
    Column("spans", Json, nullable=False),
    Index(None, "workspace_id", "id"),
)


@dataclass(frozen=True, slots=True)
class WorkflowVersion:
    """One immutable version of a workflow."""

    workflow: str
    number: int
    graph: dict[str, Any]
    digest: str
    note: str
    owner_id: str
    created_at: float


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A trace as it is kept: large values are cut."""

    id: str
    workspace_id: str
    user_id: str
    workflow: str
    workflow_version: int
    app: str
    conversation_id: str
    status: str
    started_at: float
    duration_ms: float
    input: Any
    output: Any
    error: str | None
    model_versions: dict[str, int | str]
    spans: list[dict[str, Any]]


def workflow_id(conn: Connection, principal: Principal, name: str) -> str | None:
    """The workflow's id. Inside a write, others who save the same workflow wait (PostgreSQL; SQLite has one writer)."""
    query = select(workflows.c.id).where(workflows.c.workspace_id == principal.workspace_id, workflows.c.name == name)
    return conn.execute(query.with_for_update()).scalar()


def insert_workflow(conn: Connection, principal: Principal, name: str) -> str:
    new = new_id("workflow")
    conn.execute(
        insert(workflows).values(
            id=new, workspace_id=principal.workspace_id, owner_id=principal.user_id, name=name, created_at=now()
        )
    )
    return new


def insert_version(conn: Connection, principal: Principal, workflow: str, version: WorkflowVersion) -> None:
    conn.execute(
        insert(versions).values(
            workflow_id=workflow,
            number=version.number,
            workspace_id=principal.workspace_id,
            owner_id=version.owner_id,
            graph=version.graph,
            digest=version.digest,
            note=version.note,
            created_at=version.created_at,
        )
    )


def find_version(
    conn: Connection, principal: Principal, name: str, number: int | None = None
) -> WorkflowVersion | None:
    """One version of a workflow; the newest without a number."""
    query = (
        select(workflows.c.name, versions)
        .join(versions, versions.c.workflow_id == workflows.c.id)
        .where(workflows.c.workspace_id == principal.workspace_id, workflows.c.name == name)
        .order_by(versions.c.number.desc())
        .limit(1)
    )
    if number is not None:
        query = query.where(versions.c.number == number)
    row = conn.execute(query).first()
    return _version(row) if row else None


def list_versions(conn: Connection, principal: Principal, name: str) -> list[WorkflowVersion]:
    """All versions of a workflow, newest first."""
    query = (
        select(workflows.c.name, versions)
        .join(versions, versions.c.workflow_id == workflows.c.id)
        .where(workflows.c.workspace_id == principal.workspace_id, workflows.c.name == name)
        .order_by(versions.c.number.desc())
    )
    return [_version(row) for row in conn.execute(query)]


def list_latest(conn: Connection, principal: Principal) -> list[WorkflowVersion]:
    """The newest version of every workflow, the last saved first."""
    newest = select(versions.c.workflow_id, func.max(versions.c.number).label("number")).group_by(
        versions.c.workflow_id
    )
    latest = newest.subquery()
    query = (
        select(workflows.c.name, versions)
        .join(versions, versions.c.workflow_id == workflows.c.id)
        .join(latest, (latest.c.workflow_id == versions.c.workflow_id) & (latest.c.number == versions.c.number))
        .where(workflows.c.workspace_id == principal.workspace_id)
        .order_by(versions.c.created_at.desc())
    )
    return [_version(row) for row in conn.execute(query)]


def insert_traces(conn: Connection, rows: Sequence[TraceRow]) -> None:
    conn.execute(
        insert(traces),
        [
            {
                "id": row.id,
                "workspace_id": row.workspace_id,
                "owner_id": row.user_id,
                "workflow": row.workflow,
                "workflow_version": row.workflow_version,
                "app": row.app,
                "conversation_id": row.conversation_id,
                "status": row.status,
                "created_at": row.started_at,
                "duration_ms": row.duration_ms,
                "input": row.input,
                "output": row.output,
                "error": row.error,
                "model_versions": row.model_versions,
                "spans": row.spans,
            }
            for row in rows
        ],
    )


def find_trace(conn: Connection, principal: Principal, id: str) -> TraceRow | None:
    query = select(traces).where(traces.c.workspace_id == principal.workspace_id, traces.c.id == id)
    row = conn.execute(query).first()
    return _trace(row) if row else None


def list_traces(
    conn: Connection, principal: Principal, *, limit: int, before: str = "", app: str = "", status: str = ""
) -> list[TraceRow]:
    """Traces older than the one named, newest first."""
    query = select(traces).where(traces.c.workspace_id == principal.workspace_id)
    if before:
        query = query.where(traces.c.id < before)
    if app:
        query = query.where(traces.c.app == app)
    if status:
        query = query.where(traces.c.status == status)
    return [_trace(row) for row in conn.execute(query.order_by(traces.c.id.desc()).limit(limit))]


def _version(row: Row[Any]) -> WorkflowVersion:
    values = row._mapping
    return WorkflowVersion(
        workflow=values["name"],
        number=values["number"],
        graph=values["graph"],
        digest=values["digest"],
        note=values["note"],
        owner_id=values["owner_id"],
        created_at=values["created_at"],
    )


def _trace(row: Row[Any]) -> TraceRow:
    values = row._mapping
    return TraceRow(
        id=values["id"],
        workspace_id=values["workspace_id"],
        user_id=values["owner_id"],
        workflow=values["workflow"],
        workflow_version=values["workflow_version"],
        app=values["app"],
        conversation_id=values["conversation_id"],
        status=values["status"],
        started_at=values["created_at"],
        duration_ms=values["duration_ms"],
        input=values["input"],
        output=values["output"],
        error=values["error"],
        model_versions=values["model_versions"],
        spans=values["spans"],
    )
