"""Up to which ids the rows of a table have been seen, when other transactions may still commit rows with lower ones.

On PostgreSQL an id is drawn before its row is committed: the row with the highest id may be there while one with a lower id is
still being written, and who goes on from the highest never sees the other. So a pass goes on from where an earlier one stood that
no writer is left over from: it notes the highest ids (1), the next one its own transaction's number (2), and once every
transaction up to that number has ended, whatever was being written at (1) has been committed or never will be. Until then rows
are read again, which must change nothing; after the very first pass only the last of them, since it has seen all but what was
being written right then. SQLite has one writer at a time: what it has not shown by then was not yet begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from sqlalchemy import Connection, Select, Table, func, select

#: More rows than are ever being written at one moment: imports, which write more, and passes wait for each other.
_UNDER_WAY = 100_000


@dataclass(frozen=True)
class Horizon:
    """The highest ids, by table, up to which all rows have been seen; and those that will take their place."""

    ids: dict[str, int] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)
    number: int | None = None  # the transaction up to which all must have ended

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """Return what `kept` says; nothing has been seen where it says nothing."""
        return cls(kept.get("ids", {}), kept.get("ahead", {}), kept.get("number"))

    def after(self, table: Table) -> int:
        """Return the id from which on rows are to be looked at."""
        return self.ids.get(table.name, 0)

    def moved(self, connection: Connection, tables: tuple[Table, ...]) -> Horizon:
        """Return the horizon for the next pass. To be called before this one reads the tables."""
        newest = dict(zip((table.name for table in tables), connection.execute(_highest(tables)).one(), strict=True))
        if connection.dialect.name != "postgresql":
            return Horizon(newest)
        own, oldest = connection.execute(select(func.txid_current(), func.txid_snapshot_xmin(func.txid_current_snapshot()))).one()
        if not self.ahead:
            return Horizon(self.ids or {name: max(0, number - _UNDER_WAY) for name, number in newest.items()}, newest)
        if self.number is None:
            return Horizon(self.ids, self.ahead, own)
        # A number of the future is of another server: the database was moved to this one, whole.
        if self.number < oldest or self.number > own:
            return Horizon(self.ahead, newest)
        return self


@lru_cache(maxsize=8)
def _highest(tables: tuple[Table, ...]) -> Select[Any]:
    return select(*(select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery() for table in tables))
