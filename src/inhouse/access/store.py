"""Users, sessions, keys and one-time links in the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from inhouse.core.db import Json, metadata, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal

users = owned(
    "users",
    Column("id", String(64), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("role", String(32), nullable=False),
    Column("password_hash", String(255)),
    Column("disabled", Boolean, nullable=False),
    Column("team", String(64), nullable=False, server_default=""),
    Index(None, "workspace_id", "name", unique=True),
)
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("workspace_id", String(64), nullable=False),
    Column("owner_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)
links = Table(
    "login_links",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("workspace_id", String(64), nullable=False),
    Column("owner_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)
keys = owned(
    "api_keys",
    Column("id", String(16), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("expires_at", Float),
    Column("models", Json, nullable=False, server_default="[]"),
    Column("team", String(64), nullable=False, server_default=""),
    Column("priority", Integer, nullable=False, server_default="0"),
)


@dataclass(frozen=True, slots=True)
class User:
    id: str
    workspace_id: str
    name: str
    role: str
    password_hash: str | None
    disabled: bool
    created_at: float
    team: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    token_hash: str
    workspace_id: str
    user_id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Key:
    """A stored key: its secret is only a hash."""

    id: str
    workspace_id: str
    owner_id: str
    name: str
    secret_hash: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    models: tuple[str, ...] = ()
    team: str = ""
    priority: int = 0


_USER = (
    users.c.id,
    users.c.workspace_id,
    users.c.name,
    users.c.role,
    users.c.password_hash,
    users.c.disabled,
    users.c.created_at,
    users.c.team,
)


def insert_user(
    conn: Connection, principal: Principal, *, name: str, role: str, password_hash: str | None, team: str = ""
) -> User:
    user = User(new_id("user"), principal.workspace_id, name, role, password_hash, False, now(), team)
    conn.execute(
        insert(users).values(
            id=user.id,
            workspace_id=user.workspace_id,
            owner_id=principal.user_id,
            name=name,
            role=role,
            password_hash=password_hash,
            disabled=False,
            created_at=user.created_at,
            team=team,
        )
    )
    return user


def list_users(conn: Connection, principal: Principal) -> list[User]:
    query = select(*_USER).where(users.c.workspace_id == principal.workspace_id).order_by(users.c.created_at)
    return [User(*row) for row in conn.execute(query)]


def find_user(conn: Connection, principal: Principal, name: str) -> User | None:
    query = select(*_USER).where(users.c.workspace_id == principal.workspace_id, users.c.name == name)
    row = conn.execute(query).first()
    return User(*row) if row else None


def change_user(conn: Connection, principal: Principal, name: str, changes: Mapping[str, Any]) -> User | None:
    """Change `disabled` or `team`; None when there is no such user. Who is disabled has no session and no link left."""
    mine = (users.c.workspace_id == principal.workspace_id, users.c.name == name)
    if changes:
        conn.execute(update(users).where(*mine).values(**changes))
    user = find_user(conn, principal, name)
    if user is not None and user.disabled:
        conn.execute(delete(sessions).where(sessions.c.owner_id == user.id))
        conn.execute(delete(links).where(links.c.owner_id == user.id))
    return user


def set_password(conn: Connection, principal: Principal, user_id: str, password_hash: str) -> bool:
    """Also ends the user's sessions; False when there is no such user."""
    mine = (users.c.workspace_id == principal.workspace_id, users.c.id == user_id)
    found = conn.execute(update(users).where(*mine).values(password_hash=password_hash)).rowcount > 0
    conn.execute(delete(sessions).where(sessions.c.owner_id == user_id))
    return found


def insert_session(conn: Connection, user: User, token_hash: str, expires_at: float) -> None:
    conn.execute(
        insert(sessions).values(
            token_hash=token_hash,
            workspace_id=user.workspace_id,
            owner_id=user.id,
            created_at=now(),
            expires_at=expires_at,
        )
    )


def delete_session(conn: Connection, token_hash: str) -> None:
    conn.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


def insert_link(conn: Connection, user: User, token_hash: str, expires_at: float) -> None:
    conn.execute(
        insert(links).values(
            token_hash=token_hash,
            workspace_id=user.workspace_id,
            owner_id=user.id,
            created_at=now(),
            expires_at=expires_at,
        )
    )


def take_link(conn: Connection, token_hash: str) -> User | None:
    """Use up a one-time link; None when it is unknown, used or expired."""
    taken = conn.execute(
        delete(links).where(links.c.token_hash == token_hash, links.c.expires_at > now()).returning(links.c.owner_id)
    ).scalar()
    if taken is None:
        return None
    row = conn.execute(select(*_USER).where(users.c.id == taken, users.c.disabled.is_(False))).first()
    return User(*row) if row else None


def insert_key(conn: Connection, key: Key) -> None:
    conn.execute(
        insert(keys).values(
            id=key.id,
            workspace_id=key.workspace_id,
            owner_id=key.owner_id,
            name=key.name,
            secret_hash=key.secret_hash,
            scopes=list(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            models=list(key.models),
            team=key.team,
            priority=key.priority,
        )
    )


def delete_key(conn: Connection, principal: Principal, key_id: str) -> bool:
    gone = conn.execute(delete(keys).where(keys.c.workspace_id == principal.workspace_id, keys.c.id == key_id))
    return gone.rowcount > 0


def list_keys(conn: Connection, principal: Principal) -> list[Key]:
    query = select(keys).where(keys.c.workspace_id == principal.workspace_id).order_by(keys.c.created_at.desc())
    return [_key(row) for row in conn.execute(query)]


def every_key(conn: Connection) -> list[Key]:
    """All workspaces' keys, for the table that requests are checked against."""
    return [_key(row) for row in conn.execute(select(keys))]


def every_user(conn: Connection) -> list[User]:
    """All workspaces' users, for the table that requests are checked against."""
    return [User(*row) for row in conn.execute(select(*_USER))]


def every_session(conn: Connection) -> list[tuple[Session, User]]:
    """All live sessions with their users, for the table that requests are checked against."""
    query = (
        select(sessions.c.token_hash, sessions.c.workspace_id, sessions.c.owner_id, sessions.c.expires_at, *_USER)
        .join(users, users.c.id == sessions.c.owner_id)
        .where(sessions.c.expires_at > now(), users.c.disabled.is_(False))
    )
    return [(Session(*row[:4]), User(*row[4:])) for row in conn.execute(query)]


def _key(row: Row[Any]) -> Key:
    values = row._mapping
    return Key(
        id=values["id"],
        workspace_id=values["workspace_id"],
        owner_id=values["owner_id"],
        name=values["name"],
        secret_hash=values["secret_hash"],
        scopes=tuple(values["scopes"]),
        created_at=values["created_at"],
        expires_at=values["expires_at"],
        models=tuple(values["models"]),
        team=values["team"],
        priority=values["priority"],
    )
