"""The database: SQLite by default, PostgreSQL when a company outgrows it. Same SQL on both."""

import logging
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import SchemaItem

from inhouse.core.errors import Conflict, Invalid, Misconfigured, Unavailable

_log = logging.getLogger(__name__)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every room's tables register here; migrations are checked against it."""

Json = JSON().with_variant(JSONB(), "postgresql")


def owned(name: str, *items: SchemaItem) -> Table:
    """A table whose rows belong to a workspace and to who made them; `created_at` is in unix seconds."""
    belonging = (
        Column("workspace_id", String(64), nullable=False),
        Column("owner_id", String(64), nullable=False),
        Column("created_at", Float, nullable=False),
    )
    rest = [item for item in items if not isinstance(item, Column)]
    return Table(name, metadata, *(item for item in items if isinstance(item, Column)), *belonging, *rest)


class DatabaseNotSupported(Misconfigured):
    """The configured database is none that we speak to."""


class DatabaseAway(Unavailable):
    """The database does not answer: it is down, starting, full or locked."""


class Overtaken(Conflict):
    """Somebody else wrote the same thing, or removed what it belongs to, at the same moment."""

    retryable = True


class Unstorable(Invalid):
    """A value that no column can hold: a NUL character, or a text or number that is too large."""


class Database:
    """One database. `read()` and `write()` give a connection inside a transaction.

    On SQLite a write takes the process's write lock first and begins IMMEDIATE, so that writers queue here
    instead of failing with "database is locked".
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = driver_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self.engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url, pool_size)
        self._writing = threading.RLock()

    @contextmanager
    def read(self) -> Generator[Connection]:
        with _translating(), self.engine.connect() as conn:
            yield conn

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction that commits at the end of the block and rolls back on an error."""
        if not self.is_sqlite:
            with _translating(), self.engine.begin() as conn:
                yield conn
            return
        with self._writing, _translating(), self.engine.connect() as conn:
            conn.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield conn
            except BaseException:
                conn.rollback()
                raise
            conn.commit()

    def check(self) -> None:
        """Raise `DatabaseAway` when the database does not answer."""
        with self.read() as conn:
            conn.execute(text("SELECT 1"))

    def create_all(self) -> None:
        """Make every table at once (tests; installations use migrations)."""
        metadata.create_all(self.engine)

    def dispose(self) -> None:
        self.engine.dispose()


@contextmanager
def _translating() -> Generator[None]:
    """Tell what the database refuses apart from a database that is away. A wrong query stays unexpected."""
    try:
        yield
    except (DataError, OverflowError) as error:
        raise Unstorable(
            "A value cannot be stored.", hint="It holds a NUL character, or a text or number that is too large."
        ) from error
    except IntegrityError as error:
        raise Overtaken("Somebody changed the same thing at the same moment.", hint="Try again.") from error
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
            raise
        _log.error("The database does not answer: %s", error.orig)  # names hosts: not for everybody who asks
        raise DatabaseAway(
            "The database does not answer.", hint="Check INHOUSE_DATABASE and that its server runs; the log says more."
        ) from error


def driver_url(url: str) -> str:
    """Name the driver that we ship: `postgresql://…` -> `postgresql+psycopg://…`."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if separator and scheme in ("postgresql", "postgres") else url


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": 30})

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _postgresql(url: str, pool_size: int) -> Engine:
    name = make_url(url).get_backend_name()
    if name != "postgresql":
        raise DatabaseNotSupported(f"{name!r} databases are not supported.", hint="Use sqlite:/// or postgresql://.")
    return create_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)
