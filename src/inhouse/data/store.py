"""Datasets and their versions in the database. The rows themselves are blobs."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Index, Integer, Row, String, Text, delete, insert, select, update

from inhouse.core.db import Json, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal
from inhouse.data.examples import Form

datasets = owned(
    "datasets",
    Column("id", String(64), primary_key=True),
    Column("name", String(120), nullable=False),
    Index(None, "workspace_id", "name", unique=True),
)
versions = owned(
    "dataset_versions",
    Column("dataset_id", String(64), ForeignKey("datasets.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(80), nullable=False),
    Column("parent", Integer),
    Column("count", Integer, nullable=False),
    Column("labels", Json, nullable=False),
    Column("splits", Json, nullable=False),
    Column("note", Text, nullable=False),
    Column("form", String(16), nullable=False, server_default="text"),
    Column("origin", Json, nullable=False, server_default="{}"),
    Column("erased", Integer, nullable=False, server_default="0"),
)


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """An immutable version: its rows are the blob `digest`.

    `origin` says how it was made: `op` (import, add, filter, mix, augment, label, erase) and what it was given.
    `erased` counts rows that were taken out of it since, because the people whose words they were asked for it.
    """

    dataset: str
    number: int
    digest: str
    parent: int | None
    count: int
    labels: dict[str, int]
    splits: dict[str, int]
    note: str
    owner_id: str
    created_at: float
    form: str = Form.TEXT
    origin: dict[str, Any] = field(default_factory=dict)
    erased: int = 0

    @property
    def reference(self) -> str:
        return f"{self.dataset}@v{self.number}"


def split_reference(reference: str) -> tuple[str, int]:
    """`helpdesk@v2` -> `("helpdesk", 2)`."""
    name, _, number = reference.rpartition("@v")
    return name, int(number)


def dataset_id(conn: Connection, principal: Principal, name: str) -> str | None:
    query = select(datasets.c.id).where(datasets.c.workspace_id == principal.workspace_id, datasets.c.name == name)
    return conn.execute(query).scalar()


def lock_dataset(conn: Connection, principal: Principal, name: str) -> str:
    """The id of an existing dataset, held until the transaction ends: its versions are numbered one by one."""
    query = select(datasets.c.id).where(datasets.c.workspace_id == principal.workspace_id, datasets.c.name == name)
    return conn.execute(query.with_for_update()).scalar_one()


def insert_dataset(conn: Connection, principal: Principal, name: str) -> str:
    new = new_id("dataset")
    conn.execute(
        insert(datasets).values(
            id=new, workspace_id=principal.workspace_id, owner_id=principal.user_id, name=name, created_at=now()
        )
    )
    return new


def insert_version(conn: Connection, principal: Principal, dataset: str, version: DatasetVersion) -> None:
    conn.execute(
        insert(versions).values(
            dataset_id=dataset,
            number=version.number,
            workspace_id=principal.workspace_id,
            owner_id=version.owner_id,
            digest=version.digest,
            parent=version.parent,
            count=version.count,
            labels=version.labels,
            splits=version.splits,
            note=version.note,
            form=version.form,
            origin=version.origin,
            erased=version.erased,
            created_at=version.created_at,
        )
    )


def replace_rows(conn: Connection, dataset: str, version: DatasetVersion) -> None:
    """Let a version have other rows from now on: only ever fewer, because somebody's were taken out."""
    conn.execute(
        update(versions)
        .where(versions.c.dataset_id == dataset, versions.c.number == version.number)
        .values(
            digest=version.digest,
            count=version.count,
            labels=version.labels,
            splits=version.splits,
            origin=version.origin,
            erased=version.erased,
        )
    )


def delete_dataset(conn: Connection, dataset: str) -> None:
    conn.execute(delete(versions).where(versions.c.dataset_id == dataset))
    conn.execute(delete(datasets).where(datasets.c.id == dataset))


def is_used(conn: Connection, digest: str) -> bool:
    """Whether a version of any workspace has these rows."""
    return conn.execute(select(versions.c.number).where(versions.c.digest == digest).limit(1)).first() is not None


def list_versions(conn: Connection, principal: Principal, name: str | None = None) -> list[DatasetVersion]:
    """Versions of one dataset, or of all, newest first."""
    query = (
        select(datasets.c.name, versions)
        .join(versions, versions.c.dataset_id == datasets.c.id)
        .where(datasets.c.workspace_id == principal.workspace_id)
        .order_by(versions.c.created_at.desc(), versions.c.number.desc())
    )
    if name is not None:
        query = query.where(datasets.c.name == name)
    return [_version(row) for row in conn.execute(query)]


def _version(row: Row[Any]) -> DatasetVersion:
    values = row._mapping
    return DatasetVersion(
        dataset=values["name"],
        number=values["number"],
        digest=values["digest"],
        parent=values["parent"],
        count=values["count"],
        labels=values["labels"],
        splits=values["splits"],
        note=values["note"],
        form=values["form"],
        origin=values["origin"],
        erased=values["erased"],
        owner_id=values["owner_id"],
        created_at=values["created_at"],
    )
