"""What Alembic runs first: it takes the connection, inside the transaction and the lock of `winback.store.migrate`."""

from __future__ import annotations

from alembic import context

# SQLite and PostgreSQL both roll DDL back: all steps are done, or none. The transaction is the caller's.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
