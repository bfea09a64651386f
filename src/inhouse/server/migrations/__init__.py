"""Schema changes, forward only."""

from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from inhouse.core.db import Database
from inhouse.core.errors import Misconfigured


class DatabaseTooNew(Misconfigured):
    """The database was last used by a newer release."""


def migrate(db: Database) -> None:
    """Bring the schema up to this release. Other servers that start at the same time wait."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("inhouse.server.migrations")))
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    with db.write() as conn:
        current = MigrationContext.configure(conn).get_current_revision()
        if current is not None and current not in known:
            raise DatabaseTooNew(
                f"The database is at schema {current!r}, which this release does not know.",
                hint="Start the newer release, or restore the backup from before the upgrade.",
            )
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
