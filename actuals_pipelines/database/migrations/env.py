"""Alembic's environment: only on a connection that we hand over, never from a file or a URL; it logs nothing."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]

context.configure(connection=connection, transaction_per_migration=False)
with context.begin_transaction():  # the caller's transaction: it commits
    context.run_migrations()
