"""Run by Alembic inside the transaction of whoever asked (``controller.adapters.schema``), who hands in the connection."""

from alembic import context

from controller.adapters.every_table import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
