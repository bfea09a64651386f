"""Which versions of each model get which share of its traffic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)

from inhouse.core.db import Json, metadata, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

deployments = Table(
    "deployments",
    metadata,
    Column("workspace_id", String(64), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("owner_id", String(64), nullable=False),
    Column("weights", Json, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

language_models = owned(
    "language_models",
    Column("id", String(40), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("path", Text, nullable=False),
    Column("runtime", String(32), nullable=False),
    Column("settings", Json, nullable=False),
    Column("adapters", Json, nullable=False),  # name -> path
    UniqueConstraint("workspace_id", "name"),
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The traffic of one model: version -> weight."""

    workspace_id: str
    model: str
    weights: Mapping[int, float]
    note: str
    created_at: float
    updated_at: float


def save_deployment(
    conn: Connection, principal: Principal, model: str, weights: Mapping[int, float], note: str
) -> Deployment:
    mine = (deployments.c.workspace_id == principal.workspace_id) & (deployments.c.model == model)
    changes: dict[str, Any] = {
        "weights": {str(version): weight for version, weight in weights.items()},
        "note": note,
        "updated_at": now(),
    }
    if not conn.execute(update(deployments).where(mine).values(**changes)).rowcount:
        row = {"workspace_id": principal.workspace_id, "model": model, "owner_id": principal.user_id, **changes}
        conn.execute(insert(deployments).values(**row, created_at=row["updated_at"]))
    return _deployment(conn.execute(select(deployments).where(mine)).mappings().one())


def every_deployment(conn: Connection) -> list[Deployment]:
    """All workspaces' deployments, oldest first: this process serves them all."""
    rows = conn.execute(select(deployments).order_by(deployments.c.created_at)).mappings()
    return [_deployment(row) for row in rows]


def _deployment(row: RowMapping) -> Deployment:
    weights = {int(version): float(weight) for version, weight in row["weights"].items()}
    return Deployment(row["workspace_id"], row["model"], weights, row["note"], row["created_at"], row["updated_at"])


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A language model, encoder or reranker that this server is to run."""

    workspace_id: str
    name: str
    kind: str
    path: str
    runtime: str
    settings: Mapping[str, Any]
    adapters: Mapping[str, str]
    created_at: float


def save_language_model(
    conn: Connection,
    principal: Principal,
    name: str,
    *,
    kind: str,
    path: str,
    runtime: str,
    settings: Mapping[str, Any],
    adapters: Mapping[str, str],
) -> StoredModel:
    """Store a model, or change the one of that name."""
    mine = (language_models.c.workspace_id == principal.workspace_id) & (language_models.c.name == name)
    changes: dict[str, Any] = {
        "kind": kind,
        "path": path,
        "runtime": runtime,
        "settings": dict(settings),
        "adapters": dict(adapters),
    }
    if not conn.execute(update(language_models).where(mine).values(**changes)).rowcount:
        row = {"id": new_id("lm"), "workspace_id": principal.workspace_id, "owner_id": principal.user_id, "name": name}
        conn.execute(insert(language_models).values(**row, **changes, created_at=now()))
    return _stored_model(conn.execute(select(language_models).where(mine)).mappings().one())


def delete_language_model(conn: Connection, principal: Principal, name: str) -> bool:
    """Whether there was one."""
    mine = (language_models.c.workspace_id == principal.workspace_id) & (language_models.c.name == name)
    return conn.execute(delete(language_models).where(mine)).rowcount > 0


def every_language_model(conn: Connection) -> list[StoredModel]:
    """All workspaces' models, oldest first."""
    rows = conn.execute(select(language_models).order_by(language_models.c.created_at)).mappings()
    return [_stored_model(row) for row in rows]


def _stored_model(row: RowMapping) -> StoredModel:
    return StoredModel(
        row["workspace_id"],
        row["name"],
        row["kind"],
        row["path"],
        row["runtime"],
        row["settings"],
        row["adapters"],
        row["created_at"],
    )
