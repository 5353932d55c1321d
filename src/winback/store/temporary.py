"""Temporary tables: what the statements of one transaction hand on to each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from sqlalchemy import Connection, MetaData
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable, DropTable


@contextmanager
def temporary(connection: Connection, tables: MetaData) -> Iterator[None]:
    """Give this transaction empty tables of its own, and leave no people behind in a pooled connection."""
    making, dropping = _statements(tables, connection.dialect.name)
    for statement in making:
        connection.exec_driver_sql(statement)
    yield
    # After an error the transaction is rolled back, and the tables with it.
    for statement in dropping:
        connection.exec_driver_sql(statement)


@cache
def _statements(tables: MetaData, backend: str) -> tuple[list[str], list[str]]:
    """Return the statements that make and drop the tables; to write them anew took a pass as long as all it asked."""
    dialect = {"postgresql": postgresql, "sqlite": sqlite}[backend].dialect()
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in tables.sorted_tables]
    return made, [str(DropTable(table).compile(dialect=dialect)) for table in tables.sorted_tables]
