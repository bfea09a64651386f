from importlib import resources

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import inhouse.server.wiring  # noqa: F401  # registers every table
from inhouse.core.db import Database, metadata
from inhouse.server.migrations import DatabaseTooNew, migrate, revisions


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    database = Database(url)
    yield database
    database.dispose()


def test_the_migrated_schema_is_the_one_in_the_code(empty: Database) -> None:
    migrate(empty)

    with empty.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_owned_table_names_its_workspace_and_owner(empty: Database) -> None:
    migrate(empty)

    inspector = inspect(empty.engine)
    for table in set(inspector.get_table_names()) - {"alembic_version"}:
        columns = {column["name"] for column in inspector.get_columns(table)}
        assert columns >= {"workspace_id"}, table


def test_migrating_again_changes_nothing(empty: Database) -> None:
    migrate(empty)

    migrate(empty)

    with empty.read() as conn:
        assert len(conn.execute(text("SELECT version_num FROM alembic_version")).all()) == 1


def test_a_database_of_a_newer_release_is_refused(empty: Database) -> None:
    migrate(empty)
    with empty.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseTooNew, match="'9999'"):
        migrate(empty)


def test_files_are_named_after_their_revisions_in_order() -> None:
    scripts = ScriptDirectory(str(resources.files("inhouse.server.migrations")))

    assert [script.revision for script in scripts.walk_revisions()][::-1] == revisions()
