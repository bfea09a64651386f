"""Model servers, settings of policies, routes, prompts and usage in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from inhouse.core.db import Json, metadata, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal
from inhouse.gateway.policy import Series, Spent

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


@dataclass(frozen=True, slots=True)
class Stored:
    """Settings of a policy, or the document of a route."""

    workspace_id: str
    name: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a prompt template. It never changes, but for which one is the default."""

    workspace_id: str
    name: str
    version: int
    template: str
    note: str
    is_default: bool
    owner_id: str
    created_at: float


@dataclass(slots=True)
class Amounts:
    """What was used."""

    requests: int = 0
    errors: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def add(self, other: "Amounts") -> None:
        for name in _AMOUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What was used by one key, user, team, model, target or arm, or in one hour (as unix seconds)."""

    name: str
    amounts: Amounts


UsageBy = Literal["key", "user", "team", "model", "target", "arm", "hour"]
_GROUPS = {"key": "key_id", "user": "user_id", "team": "team", "model": "model"} | {
    name: name for name in ("target", "arm", "hour")
}
_SERIES = ("workspace_id", "hour", "key_id", "user_id", "team", "model", "target", "arm")
_AMOUNTS = ("requests", "errors", "cached", "prompt_tokens", "completion_tokens", "cost")
_PROMPT = (
    prompts.c.workspace_id,
    prompts.c.name,
    prompts.c.version,
    prompts.c.template,
    prompts.c.note,
    prompts.c.is_default,
    prompts.c.owner_id,
    prompts.c.created_at,
)
_MOST_ROWS = 10_000


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


def save_policy(conn: Connection, principal: Principal, name: str, settings: Mapping[str, Any]) -> None:
    _save(conn, policies, principal, name, {"settings": dict(settings)})


def save_route(conn: Connection, principal: Principal, name: str, document: Mapping[str, Any]) -> None:
    _save(conn, routes, principal, name, {"document": dict(document)})


def delete_policy(conn: Connection, principal: Principal, name: str) -> bool:
    """Whether there was one."""
    mine = (policies.c.workspace_id == principal.workspace_id, policies.c.name == name)
    return conn.execute(delete(policies).where(*mine)).rowcount > 0


def delete_route(conn: Connection, principal: Principal, name: str) -> bool:
    """Whether there was one."""
    mine = (routes.c.workspace_id == principal.workspace_id, routes.c.name == name)
    return conn.execute(delete(routes).where(*mine)).rowcount > 0


def every_policy(conn: Connection) -> list[Stored]:
    """The settings of all workspaces' policies: this process serves them all."""
    return [Stored(*row) for row in conn.execute(select(policies.c.workspace_id, policies.c.name, policies.c.settings))]


def every_route(conn: Connection) -> list[Stored]:
    """All workspaces' routes, by name."""
    query = select(routes.c.workspace_id, routes.c.name, routes.c.document).order_by(routes.c.name)
    return [Stored(*row) for row in conn.execute(query)]


def insert_prompt(conn: Connection, principal: Principal, name: str, template: str, note: str) -> Prompt:
    """Add the next version of a prompt. The first is the default one."""
    mine = (prompts.c.workspace_id == principal.workspace_id, prompts.c.name == name)
    last = conn.execute(select(func.max(prompts.c.version)).where(*mine)).scalar() or 0
    prompt = Prompt(principal.workspace_id, name, last + 1, template, note, last == 0, principal.user_id, now())
    conn.execute(
        insert(prompts).values(
            workspace_id=prompt.workspace_id,
            name=name,
            version=prompt.version,
            owner_id=prompt.owner_id,
            template=template,
            note=note,
            is_default=prompt.is_default,
            created_at=prompt.created_at,
        )
    )
    return prompt


def choose_prompt(conn: Connection, principal: Principal, name: str, version: int) -> bool:
    """Make a version the default one; False when there is no such version."""
    mine = (prompts.c.workspace_id == principal.workspace_id, prompts.c.name == name)
    if not conn.execute(select(prompts.c.version).where(*mine, prompts.c.version == version)).first():
        return False
    conn.execute(update(prompts).where(*mine).values(is_default=prompts.c.version == version))
    return True


def every_prompt(conn: Connection) -> list[Prompt]:
    """All workspaces' prompts, by name, the newest version first."""
    query = select(*_PROMPT).order_by(prompts.c.workspace_id, prompts.c.name, prompts.c.version.desc())
    return [Prompt(*row) for row in conn.execute(query)]


def add_usage(conn: Connection, sums: Mapping[Series, Amounts]) -> None:
    """Add to what is stored. In one order always, so that two servers never wait for each other."""
    rows = [
        {**dict(zip(_SERIES, series, strict=True)), **{name: getattr(amounts, name) for name in _AMOUNTS}}
        for series, amounts in sorted(sums.items(), key=lambda item: item[0])
    ]
    upsert = sqlite.insert(usage) if conn.dialect.name == "sqlite" else postgresql.insert(usage)
    added = {name: usage.c[name] + upsert.excluded[name] for name in _AMOUNTS}
    conn.execute(upsert.on_conflict_do_update(index_elements=_SERIES, set_=added), rows)


def spent_since(conn: Connection, workspace_id: str, hour: int) -> list[Spent]:
    who = (usage.c.key_id, usage.c.user_id, usage.c.team, usage.c.model)
    tokens = func.sum(usage.c.prompt_tokens + usage.c.completion_tokens)
    query = select(*who, func.sum(usage.c.requests), tokens, func.sum(usage.c.cost))
    mine = (usage.c.workspace_id == workspace_id, usage.c.hour >= hour)
    return [
        Spent(*row[:4], int(row[4]), int(row[5]), float(row[6]))
        for row in conn.execute(query.where(*mine).group_by(*who))
    ]


def usage_by(
    conn: Connection, principal: Principal, by: UsageBy, first_hour: int, last_hour: int | None
) -> list[UsageRow]:
    """Sums for each value of a column: hours in their order, all others by their tokens."""
    group = usage.c[_GROUPS[by]]
    sums = [func.sum(usage.c[name]) for name in _AMOUNTS]
    query = select(group, *sums).where(usage.c.workspace_id == principal.workspace_id, usage.c.hour >= first_hour)
    if last_hour is not None:
        query = query.where(usage.c.hour <= last_hour)
    tokens = func.sum(usage.c.prompt_tokens + usage.c.completion_tokens)
    query = query.group_by(group).order_by(group if by == "hour" else tokens.desc(), group).limit(_MOST_ROWS)
    return [
        UsageRow(str(row[0] * 3600) if by == "hour" else row[0], Amounts(*_plain(row[1:])))
        for row in conn.execute(query)
    ]


def _plain(sums: Sequence[Any]) -> tuple[int, int, int, int, int, float]:
    """Sums as PostgreSQL gives them are decimals."""
    requests, errors, cached, prompt_tokens, completion_tokens, cost = sums
    return int(requests), int(errors), int(cached), int(prompt_tokens), int(completion_tokens), float(cost)


def _save(conn: Connection, table: Table, principal: Principal, name: str, values: Mapping[str, Any]) -> None:
    mine = (table.c.workspace_id == principal.workspace_id, table.c.name == name)
    changes = {**values, "owner_id": principal.user_id, "updated_at": now()}
    if not conn.execute(update(table).where(*mine).values(**changes)).rowcount:
        conn.execute(insert(table).values(workspace_id=principal.workspace_id, name=name, **changes))
