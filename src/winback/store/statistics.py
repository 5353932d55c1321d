"""What PostgreSQL knows of its tables, by which it plans: renewed where it would be wrong for the length of a transaction.

Its own helpers look at tables now and then, about a minute after much was committed. What a transaction has written itself they
cannot see, nor tables of its own, and a plan for a table that is taken for empty reads it anew for each row of another one: a
pass over a million customers would take hours. SQLite plans by the indexes that there are, whatever the tables hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Table, text
from sqlmodel import SQLModel

#: What a statement is executed with for the number of rows that it wrote: INSERT … SELECT tells it only when asked to.
COUNTED = {"preserve_rowcount": True}

#: Tables that have grown to more than twice the pages that they had when they were looked at last, and those that were nearly
#: empty for their pages then: somebody had deleted what was there, and PostgreSQL believes that new pages are as empty.
_CHANGED = text("""
SELECT name FROM (
    SELECT relname AS name, relpages, reltuples, pg_relation_size(oid) / CAST(current_setting('block_size') AS integer) AS pages
    FROM pg_class WHERE oid = ANY(CAST(CAST(:names AS text[]) AS regclass[]))
) AS known WHERE pages > 2 * relpages + 100 OR (relpages > 0 AND reltuples < relpages AND pages > 10)
""")


def filled(connection: Connection, table: Table, rows: int, *, many: int = 1000) -> None:
    """Let PostgreSQL see so many rows that this transaction has just written, where they are `many`.

    Of a transaction's own table it need know little more than how many they are: a look at a tenth as many rows takes a tenth of
    the time, and a pass fills such tables again and again.
    """
    if connection.dialect.name != "postgresql" or rows < many:
        return
    if table.metadata is SQLModel.metadata:  # one that stays
        connection.execute(text(f"ANALYZE {table.name}"))
        return
    connection.execute(text("SET LOCAL default_statistics_target = 10"))
    connection.execute(text(f"ANALYZE {table.name}"))
    connection.execute(text("SET LOCAL default_statistics_target = DEFAULT"))


def look_over(connection: Connection, tables: Iterable[Table]) -> None:
    """Let PostgreSQL see tables that have changed much since they were looked at, by an import of a moment ago for example."""
    if connection.dialect.name != "postgresql":
        return
    names = [table.name for table in tables]
    for name in connection.scalars(_CHANGED, {"names": names}).all():
        connection.execute(text(f"ANALYZE {name}"))
