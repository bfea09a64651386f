"""Schema changes, forward only. A revision's file is named after it: `0001_first_tables.py`."""

from importlib import resources

from sqlalchemy import inspect, text

from inhouse.core.db import Database
from inhouse.core.errors import Misconfigured


class DatabaseTooNew(Misconfigured):
    """The database was last used by a newer release."""


def migrate(db: Database) -> None:
    """Bring the schema up to this release. Other servers that start at the same time wait."""
    known = revisions()
    with db.write() as conn:
        current = None
        if inspect(conn).has_table("alembic_version"):
            current = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if current == known[-1]:
            return
        if current is not None and current not in known:
            raise DatabaseTooNew(
                f"The database is at schema {current!r}, which this release does not know.",
                hint="Start the newer release, or restore the backup from before the upgrade.",
            )
        from alembic import command  # slow to import, and only an upgrade needs it
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(resources.files("inhouse.server.migrations")))
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def revisions() -> list[str]:
    """Every revision of this release, oldest first."""
    files = resources.files("inhouse.server.migrations").joinpath("versions").iterdir()
    return sorted(file.name.partition("_")[0] for file in files if file.name.endswith(".py"))
