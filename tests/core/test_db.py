import pytest
from sqlalchemy import Integer, Text, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from inhouse.core.db import Database, Unstorable


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
