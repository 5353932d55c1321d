"""A throw-away copy of the database: what is tried out in it is gone with it, whatever happens."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, insert, select

from winback.store import (
    gateway_states,
    import_runs,
    leases,
    message_history,
    metadata,
    passes,
    places,
    plan_funnels,
    reading,
    receipts,
)
from winback.store.engine import STATEMENTS

#: What passes, gateways and imports remember of the real shop; a copy has no use for it.
_LEFT_OUT = (passes, places, plan_funnels, leases, gateway_states, import_runs, receipts, message_history)

#: Rows copied at once from a server.
_ROWS = 5_000


@contextmanager
def scratch_copy(engine: Engine) -> Iterator[Connection]:
    """Give a connection to a copy of the shop's database, as it is at this moment; begin transactions on it as usual.

    The copy is always one of SQLite's temporary databases: a file without a name, in memory as far as there is room, that
    disappears with the connection even when the process is killed. The shop's database is only read, and nobody waits for us:
    a trial on a PostgreSQL server would have to hold the planner's lock, or leave a schema behind when it is interrupted.
    """
    raw = sqlite3.connect("", isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)
    scratch = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool, hide_parameters=True)
    event.listen(scratch, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    try:
        for pragma in ("cache_size = -262144", "temp_store = MEMORY", "synchronous = OFF", "journal_mode = MEMORY"):
            raw.execute(f"PRAGMA {pragma}")
        if engine.dialect.name == "sqlite":
            _copy_pages(engine, raw)
        else:
            _copy_rows(engine, scratch)
        with scratch.begin() as connection:
            for table in _LEFT_OUT:
                connection.execute(table.delete())
        with scratch.connect() as connection:
            yield connection
    finally:
        scratch.dispose()
        raw.close()


def _copy_pages(engine: Engine, to: sqlite3.Connection) -> None:
    with reading(engine) as connection:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)  # noqa: S101 - what SQLAlchemy uses for SQLite
        source.backup(to)


def _copy_rows(engine: Engine, scratch: Engine) -> None:
    """Copy table by table, all as of one moment."""
    metadata.create_all(scratch)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as source, scratch.begin() as to:
        for table in metadata.sorted_tables:
            if table in _LEFT_OUT:
                continue
            rows = source.execution_options(yield_per=_ROWS).execute(select(table))
            for part in rows.mappings().partitions():
                to.execute(insert(table), [dict(row) for row in part])
