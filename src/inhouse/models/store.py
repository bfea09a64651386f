"""Models, versions and aliases in the database. The files are blobs."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Delete,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    delete,
    false,
    func,
    insert,
    select,
    update,
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


DELETED = "deleted"
"""The kind of a version that was deleted: its row stays, so that its number is never given again."""


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


@dataclass(frozen=True, slots=True)
class Variant:
    """The same version in another format. `status` is queued, ready, refused or failed; only a ready one has files."""

    name: str
    status: str
    reason: str = ""
    digest: str = ""
    size_bytes: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a version is on the rows of a split. `status` is queued, ready or failed; `report` is a blob."""

    id: str
    model: str
    number: int
    dataset: str
    dataset_version: int
    split: str
    status: str = "queued"
    error: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    report: str = ""
    owner_id: str = ""
    created_at: float = 0.0


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
    """Versions of one model, or of all, newest first; without the deleted ones."""
    query = _select(principal).where(versions.c.kind != DELETED)
    query = query.order_by(versions.c.created_at.desc(), versions.c.number.desc())
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


def update_version(conn: Connection, principal: Principal, name: str, number: int, **changes: Any) -> None:
    """Change what may change of a version: its note, whether it is protected, and that it is deleted."""
    model = model_id(conn, principal, name)
    conn.execute(update(versions).where(versions.c.model_id == model, versions.c.number == number).values(**changes))


def digests_in_use(conn: Connection) -> set[str]:
    """The trees of all versions and variants, in every workspace."""
    kept = select(versions.c.digest).where(versions.c.kind != DELETED)
    return {digest for query in (kept, select(variants.c.digest)) for digest in conn.execute(query).scalars()}


def put_variant(conn: Connection, principal: Principal, name: str, number: int, variant: Variant) -> None:
    """Store a variant in place of the one of that name."""
    model = model_id(conn, principal, name)
    conn.execute(_those(variants, model, number).where(variants.c.variant == variant.name))
    conn.execute(
        insert(variants).values(
            model_id=model,
            number=number,
            variant=variant.name,
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            status=variant.status,
            reason=variant.reason,
            digest=variant.digest,
            size_bytes=variant.size_bytes,
            figures=variant.figures,
            created_at=now(),
        )
    )


def list_variants(conn: Connection, principal: Principal, name: str, number: int) -> list[Variant]:
    query = select(variants).where(variants.c.model_id == model_id(conn, principal, name), variants.c.number == number)
    return [_variant(row) for row in conn.execute(query.order_by(variants.c.variant))]


def insert_evaluation(conn: Connection, principal: Principal, evaluation: Evaluation) -> None:
    conn.execute(
        insert(evaluations).values(
            id=evaluation.id,
            model_id=model_id(conn, principal, evaluation.model),
            number=evaluation.number,
            workspace_id=principal.workspace_id,
            owner_id=evaluation.owner_id,
            created_at=evaluation.created_at,
            dataset=evaluation.dataset,
            dataset_version=evaluation.dataset_version,
            split=evaluation.split,
            **_judged(evaluation),
        )
    )


def update_evaluation(conn: Connection, principal: Principal, evaluation: Evaluation) -> None:
    """Store how an evaluation ended."""
    mine = (evaluations.c.workspace_id == principal.workspace_id, evaluations.c.id == evaluation.id)
    conn.execute(update(evaluations).where(*mine).values(**_judged(evaluation)))


def find_evaluation(conn: Connection, principal: Principal, evaluation_id: str) -> Evaluation | None:
    row = conn.execute(_evaluations(principal).where(evaluations.c.id == evaluation_id)).first()
    return _evaluation(row) if row else None


def list_evaluations(conn: Connection, principal: Principal, name: str, number: int) -> list[Evaluation]:
    """Newest first."""
    query = _evaluations(principal).where(models.c.name == name, evaluations.c.number == number)
    return [_evaluation(row) for row in conn.execute(query.order_by(evaluations.c.created_at.desc()))]


def delete_figures(conn: Connection, principal: Principal, name: str, number: int) -> None:
    """Forget the variants and evaluations of a version."""
    model = model_id(conn, principal, name)
    for table in (variants, evaluations):
        conn.execute(_those(table, model, number))


def _those(table: Table, model: str | None, number: int) -> Delete:
    return delete(table).where(table.c.model_id == model, table.c.number == number)


def _select(principal: Principal) -> Any:
    return (
        select(models.c.name, versions)
        .join(versions, versions.c.model_id == models.c.id)
        .where(models.c.workspace_id == principal.workspace_id)
    )


def _evaluations(principal: Principal) -> Any:
    return (
        select(models.c.name, evaluations)
        .join(models, models.c.id == evaluations.c.model_id)
        .where(evaluations.c.workspace_id == principal.workspace_id)
    )


def _judged(evaluation: Evaluation) -> dict[str, Any]:
    """The state lies beside the figures: a queued evaluation has none."""
    state = {"status": evaluation.status, "error": evaluation.error}
    return {"metrics": {**state, "figures": evaluation.metrics}, "report": evaluation.report}


def _evaluation(row: Row[Any]) -> Evaluation:
    values = row._mapping
    return Evaluation(
        id=values["id"],
        model=values["name"],
        number=values["number"],
        dataset=values["dataset"],
        dataset_version=values["dataset_version"],
        split=values["split"],
        status=values["metrics"]["status"],
        error=values["metrics"]["error"],
        metrics=values["metrics"]["figures"],
        report=values["report"],
        owner_id=values["owner_id"],
        created_at=values["created_at"],
    )


def _variant(row: Row[Any]) -> Variant:
    values = row._mapping
    return Variant(
        name=values["variant"],
        status=values["status"],
        reason=values["reason"],
        digest=values["digest"],
        size_bytes=values["size_bytes"],
        figures=values["figures"],
        created_at=values["created_at"],
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
