"""The model servers that a workspace is connected to."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Float,
    Integer,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    insert,
    select,
)

from inhouse.core.db import Json, metadata, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

upstreams = owned(
    "upstreams",
    Column("id", String(40), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),  # the encrypted key; empty where none is needed
    Column("model", String(200), nullable=False),
    Column("models", Json, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)
policies = Table(
    "gateway_policies",
    metadata,
    Column("workspace_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("owner_id", String(64), nullable=False),
    Column("settings", Json, nullable=False),
    Column("updated_at", Float, nullable=False),
)
routes = Table(
    "gateway_routes",
    metadata,
    Column("workspace_id", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("owner_id", String(64), nullable=False),
    Column("document", Json, nullable=False),
    Column("updated_at", Float, nullable=False),
)
prompts = Table(
    "gateway_prompts",
    metadata,
    Column("workspace_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("owner_id", String(64), nullable=False),
    Column("template", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
)
usage = Table(
    "gateway_usage",
    metadata,
    Column("workspace_id", String(64), primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),  # since 1970
    Column("key_id", String(64), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("team", String(64), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("target", String(300), primary_key=True),
    Column("arm", String(64), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost", Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Connected:
    """A model server: where it is, what it offers, and which of its models answers by default."""

    workspace_id: str
    name: str
    url: str
    secret: str
    model: str
    models: tuple[str, ...]
    created_at: float


def insert_upstream(
    conn: Connection, principal: Principal, *, name: str, url: str, secret: str, model: str, models: tuple[str, ...]
) -> Connected:
    connected = Connected(principal.workspace_id, name, url, secret, model, models, now())
    conn.execute(
        insert(upstreams).values(
            id=new_id("up"),
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            name=name,
            url=url,
            secret=secret,
            model=model,
            models=list(models),
            created_at=connected.created_at,
        )
    )
    return connected


def delete_upstream(conn: Connection, principal: Principal, name: str) -> bool:
    """Whether there was one."""
    mine = (upstreams.c.workspace_id == principal.workspace_id) & (upstreams.c.name == name)
    return conn.execute(delete(upstreams).where(mine)).rowcount > 0


def every_upstream(conn: Connection) -> list[Connected]:
    """All workspaces' upstreams, oldest first: this process serves them all."""
    return [_connected(row) for row in conn.execute(select(upstreams).order_by(upstreams.c.created_at)).mappings()]


def _connected(row: RowMapping) -> Connected:
    return Connected(
        row["workspace_id"],
        row["name"],
        row["url"],
        row["secret"],
        row["model"],
        tuple(row["models"]),
        row["created_at"],
    )
