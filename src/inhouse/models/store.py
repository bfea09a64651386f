"""Models, versions and aliases in the database. The files are blobs."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Text,
    delete,
    false,
    func,
    insert,
    select,
)

from inhouse.core.db import Json, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

models = owned(
    "models",
    Column("id", String(64), primary_key=True),
    Column("name", String(120), nullable=False),
    Index(None, "workspace_id", "name", unique=True),
)
versions = owned(
    "model_versions",
    Column("model_id", String(64), ForeignKey("models.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("labels", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("lineage", Json, nullable=False),
    Column("run_id", String(64), unique=True),
    Column("is_protected", Boolean, nullable=False, server_default=false()),
    Column("note", Text, nullable=False, server_default=""),
)
variants = owned(
    "model_variants",
    Column("model_id", String(64), ForeignKey("models.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("variant", String(32), primary_key=True),
    Column("status", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("figures", Json, nullable=False),
)
evaluations = owned(
    "model_evaluations",
    Column("id", String(64), primary_key=True),
    Column("model_id", String(64), ForeignKey("models.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("dataset", String(120), nullable=False),
    Column("dataset_version", Integer, nullable=False),
    Column("split", String(20), nullable=False),
    Column("metrics", Json, nullable=False),
    Column("report", String(80), nullable=False),
    Index(None, "model_id", "number"),
)
aliases = owned(
    "model_aliases",
    Column("model_id", String(64), ForeignKey("models.id"), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("number", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable version of a model: its files are the blob tree `digest`."""

    model: str
    number: int
    kind: str
    digest: str
    size_bytes: int
    labels: list[str]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    owner_id: str
    created_at: float
    is_protected: bool = False
    note: str = ""

    @property
    def reference(self) -> str:
        return f"{self.model}:{self.number}"


def ensure_model(conn: Connection, principal: Principal, name: str) -> str:
    found = model_id(conn, principal, name)
    if found is not None:
        return found
    new = new_id("model")
    conn.execute(
        insert(models).values(
            id=new, workspace_id=principal.workspace_id, owner_id=principal.user_id, name=name, created_at=now()
        )
    )
    return new


def model_id(conn: Connection, principal: Principal, name: str) -> str | None:
    query = select(models.c.id).where(models.c.workspace_id == principal.workspace_id, models.c.name == name)
    return conn.execute(query).scalar()


def lock_model(conn: Connection, principal: Principal, name: str) -> None:
    """Hold a model until the transaction ends: its traffic is moved by one at a time."""
    query = select(models.c.id).where(models.c.workspace_id == principal.workspace_id, models.c.name == name)
    conn.execute(query.with_for_update()).first()


def next_number(conn: Connection, model: str) -> int:
    return 1 + (conn.execute(select(func.max(versions.c.number)).where(versions.c.model_id == model)).scalar() or 0)


def insert_version(conn: Connection, principal: Principal, model: str, version: ModelVersion) -> None:
    conn.execute(
        insert(versions).values(
            model_id=model,
            number=version.number,
            workspace_id=principal.workspace_id,
            owner_id=version.owner_id,
            kind=version.kind,
            digest=version.digest,
            size_bytes=version.size_bytes,
            labels=version.labels,
            metrics=version.metrics,
            lineage=version.lineage,
            run_id=version.lineage.get("run_id"),
            is_protected=version.is_protected,
            note=version.note,
            created_at=version.created_at,
        )
    )


def version_of_run(conn: Connection, principal: Principal, run_id: str) -> ModelVersion | None:
    """The version that a training run made, if it has."""
    row = conn.execute(_select(principal).where(versions.c.run_id == run_id)).first()
    return _version(row) if row else None


def list_versions(conn: Connection, principal: Principal, name: str | None = None) -> list[ModelVersion]:
    """Versions of one model, or of all, newest first."""
    query = _select(principal).order_by(versions.c.created_at.desc(), versions.c.number.desc())
    if name is not None:
        query = query.where(models.c.name == name)
    return [_version(row) for row in conn.execute(query)]


def set_alias(conn: Connection, principal: Principal, name: str, alias: str, number: int | None) -> None:
    """Point an alias at a version, or remove it (None)."""
    model = model_id(conn, principal, name)
    conn.execute(delete(aliases).where(aliases.c.model_id == model, aliases.c.alias == alias))
    if number is not None:
        conn.execute(
            insert(aliases).values(
                model_id=model,
                alias=alias,
                workspace_id=principal.workspace_id,
                owner_id=principal.user_id,
                number=number,
                created_at=now(),
            )
        )


def list_aliases(conn: Connection, principal: Principal) -> dict[str, dict[str, int]]:
    """Model name -> alias -> version number."""
    query = (
        select(models.c.name, aliases.c.alias, aliases.c.number)
        .join(aliases, aliases.c.model_id == models.c.id)
        .where(models.c.workspace_id == principal.workspace_id)
    )
    found: dict[str, dict[str, int]] = {}
    for name, alias, number in conn.execute(query):
        found.setdefault(name, {})[alias] = number
    return found


def _select(principal: Principal) -> Any:
    return (
        select(models.c.name, versions)
        .join(versions, versions.c.model_id == models.c.id)
        .where(models.c.workspace_id == principal.workspace_id)
    )


def _version(row: Row[Any]) -> ModelVersion:
    values = row._mapping
    return ModelVersion(
        model=values["name"],
        number=values["number"],
        kind=values["kind"],
        digest=values["digest"],
        size_bytes=values["size_bytes"],
        labels=values["labels"],
        metrics=values["metrics"],
        lineage=values["lineage"],
        owner_id=values["owner_id"],
        created_at=values["created_at"],
        is_protected=values["is_protected"],
        note=values["note"],
    )
