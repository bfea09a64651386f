"""Run by Alembic, inside the transaction that `migrate` holds."""

from alembic import context

from inhouse.core.db import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
