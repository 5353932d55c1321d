"""Temporary tables: what the statements of one transaction hand on to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from sqlalchemy import Connection, MetaData, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable, DropTable


@contextmanager
def temporary(connection: Connection, tables: MetaData) -> Iterator[None]:
    """Give this transaction empty tables of its own, and leave no people behind in a pooled connection.

    On SQLite the empty tables stay: it compiles every statement of a connection anew after a temporary table came or went, and
    for the rules of one step that takes as long as to ask them of hundreds of people.
    """
    making, leaving = _statements(tables, connection.dialect.name)
    _run(connection, making)
    yield
    # After an error the transaction is rolled back, and what is in the tables with it.
    _run(connection, leaving)


def _run(connection: Connection, statements: Sequence[str]) -> None:
    # Past SQLAlchemy, which takes ten times as long about each as the database.
    cursor = connection.connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


@cache
def _statements(tables: MetaData, backend: str) -> tuple[list[str], list[str]]:
    """Return what makes the tables and what leaves nobody in them; to write it anew took a pass as long as all it asked."""
    stays = backend == "sqlite"
    dialect = {"postgresql": postgresql, "sqlite": sqlite}[backend].dialect()
    made = [str(CreateTable(table, if_not_exists=stays).compile(dialect=dialect)) for table in tables.sorted_tables]
    return made, [str((delete if stays else DropTable)(table).compile(dialect=dialect)) for table in tables.sorted_tables]
