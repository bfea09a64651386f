import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from inhouse.core.db import Database, DatabaseAway, Overtaken, Unstorable
from inhouse.core.errors import NotFound
from inhouse.server.errors import install
from inhouse.server.health import router


def test_a_number_that_no_column_holds_is_the_askers_fault(db: Database) -> None:
    with pytest.raises(Unstorable), db.read() as conn:
        conn.execute(select(bindparam("number", 10**30, Integer)))


def test_a_nul_character_breaks_nothing(db: Database) -> None:
    """SQLite takes it, PostgreSQL does not."""
    try:
        with db.write() as conn:
            assert conn.execute(select(bindparam("text", "a\0b", Text))).scalar() == "a\0b"
    except Unstorable:
        assert not db.is_sqlite

    db.check()


def test_what_is_wrong_with_a_query_stays_unexpected(db: Database) -> None:
    with pytest.raises(SQLAlchemyError), db.read() as conn:
        conn.exec_driver_sql("SELECT * FROM nowhere")


def test_a_row_that_is_there_already_is_a_conflict_to_try_again(db: Database) -> None:
    table = Table("one_of_each", MetaData(), Column("id", Integer, primary_key=True))
    table.create(db.engine)

    with pytest.raises(Overtaken) as raised, db.write() as conn:
        conn.execute(insert(table), [{"id": 1}, {"id": 1}])

    assert isinstance(raised.value.__cause__, IntegrityError)
    with db.read() as conn:
        assert conn.execute(select(table)).all() == []


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "sqlite:////nowhere/at/all.db"])
def test_a_database_that_does_not_answer_is_unavailable(url: str) -> None:
    with pytest.raises(DatabaseAway) as raised, Database(url).write():
        pass

    assert isinstance(raised.value.__cause__, OperationalError)


def test_our_own_errors_pass_through(db: Database) -> None:
    with pytest.raises(NotFound), db.write():
        raise NotFound("There is no such thing.")


def test_the_server_is_not_ready_while_its_database_is_away() -> None:
    app = FastAPI()
    install(app)
    app.include_router(router(Database("postgresql://nobody@127.0.0.1:1/none").check))

    answer = TestClient(app).get("/readyz")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_away")
