"""Fixtures that every room's tests share."""

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal

POSTGRESQL = os.environ.get("INHOUSE_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("INHOUSE_TEST_REDIS", "redis://127.0.0.1:6379/15")
SHARE_THE_HELPDESK = {"tests/e2e/test_documents.py", "tests/e2e/test_openai_client.py"}
SERVICES_REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with slow tests first: they fill the time best."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return Scheduling(config, log)


class Scheduling(LoadFileScheduling):
    """A file goes to one worker, and those that share the help-desk server go to one together."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "helpdesk" if file in SHARE_THE_HELPDESK else file


def require_service(name: str, host: str, port: int) -> None:
    """Skip visibly when a server is absent, or fail where the run demands it."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        message = f"no {name} on {host}:{port}"
        if SERVICES_REQUIRED:
            pytest.fail(f"{message}, and REQUIRE_SERVICES=1")
        pytest.skip(message)


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A fresh PostgreSQL database, dropped afterwards."""
    require_service("PostgreSQL", "127.0.0.1", 5432)
    admin = create_engine(POSTGRESQL.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    name = f"inhouse_test_{uuid.uuid4().hex[:12]}"
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    yield POSTGRESQL.rsplit("/", 1)[0] + f"/{name}"
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def redis_url() -> str:
    require_service("Redis", "127.0.0.1", 6379)
    return REDIS


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with every table, on SQLite and again on PostgreSQL."""
    url = (
        f"sqlite:///{tmp_path / 'test.db'}" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    )
    database = Database(url)
    database.create_all()
    yield database
    database.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database with every table, for tests that don't turn on the database."""
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    database.create_all()
    yield database
    database.dispose()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


@pytest.fixture
def principal() -> Principal:
    return Principal("default", "user_ann", frozenset({"*"}))


@pytest.fixture
def stranger() -> Principal:
    """Somebody with every permission, in another workspace."""
    return Principal("elsewhere", "user_eve", frozenset({"*"}))
