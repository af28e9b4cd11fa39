"""Alembic's entry: runs the revisions on the connection that ``upgrade`` holds."""

from alembic import context

from sipgram.db import tables

context.configure(
    connection=context.config.attributes["connection"], target_metadata=tables.metadata
)
with context.begin_transaction():
    context.run_migrations()
