"""A gateway that is new to the world's mailboxes: a few messages on its first day, more on each day that follows.

A day counts as one of the warm-up when at least half of what it allowed was sent, so a shop that sends little stays where it is,
and does not find itself at a million a day when the first large campaign comes. Days are those of the shop's zone. After the last
one there is no limit any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.store import gateway_warmups


@dataclass(frozen=True)
class Tier:
    """Where a gateway stands on a day: the number of its limit, from 0, what that allows, and what was used of it."""

    number: int
    day: date
    limit: int
    used: int

    @property
    def left(self) -> int:
        """Return how many messages may still go on this day."""
        return max(self.limit - self.used, 0)


def tier(connection: Connection, gateway: str, limits: Sequence[int], today: date) -> Tier | None:
    """Return where a gateway stands today, None when its warm-up is over."""
    row = connection.execute(select(gateway_warmups).where(gateway_warmups.c.gateway == gateway)).one_or_none()
    if row is None:
        return Tier(0, today, limits[0], 0)
    number, day, used = row.tier, row.day, row.used
    # A day that is far ahead was written by a clock that was wrong; tomorrow has begun for somebody whose clock is ahead of ours.
    if day < today or day > today + timedelta(days=1):
        if number < len(limits) and 2 * used >= limits[number]:
            number += 1
        day, used = today, 0
    return Tier(number, day, limits[number], used) if number < len(limits) else None


def use(connection: Connection, gateway: str, found: Tier, count: int) -> None:
    """Count messages that are about to go; ask for the tier in the same transaction, while claims are made one at a time."""
    dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    values = {"tier": found.number, "day": found.day, "used": found.used + count}
    statement = dialect_insert(gateway_warmups).values(gateway=gateway, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["gateway"], set_=values))


def take_back(connection: Connection, gateway: str, day: date, count: int) -> None:
    """Count messages no more that did not go after all."""
    connection.execute(
        update(gateway_warmups)
        .where(gateway_warmups.c.gateway == gateway, gateway_warmups.c.day == day)
        .values(used=gateway_warmups.c.used - count)
    )
