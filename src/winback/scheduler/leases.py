"""Leases: of several processes on one database one does a task, and another takes over when it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from winback.store import leases, writing

#: The lease of the daemon that plans. Sending needs none: claims already see to it that each message has one sender.
PLANNING = "planning"

#: A lease that was not renewed for so long is free. Renewed every `RENEW_EVERY`, so a successor is there within a minute.
LIFE = timedelta(seconds=45)
RENEW_EVERY = timedelta(seconds=15)


@dataclass(frozen=True)
class Held:
    """Who holds a lease, and when they last said so."""

    holder: str
    renewed_at: datetime

    def is_alive(self, now: datetime) -> bool:
        """Say whether the holder still has it. A renewal far ahead of now was made by a wrong clock: it counts for nothing."""
        return -LIFE < now - self.renewed_at < LIFE


def hold(engine: Engine, name: str, holder: str, now: datetime) -> bool:
    """Take or renew a lease, and say whether `holder` has it now."""
    with writing(engine) as connection:
        free = or_(leases.c.holder == holder, leases.c.renewed_at <= now - LIFE, leases.c.renewed_at >= now + LIFE)
        taken = connection.execute(
            update(leases).where(leases.c.name == name, free).values(holder=holder, renewed_at=now)
        ).rowcount
        if taken:
            return True
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        first = insert(leases).values(name=name, holder=holder, renewed_at=now).on_conflict_do_nothing().returning(leases.c.name)
        return connection.scalar(first) is not None


def release(engine: Engine, name: str, holder: str) -> None:
    """Give a lease back, so that the next one need not wait; nothing happens when somebody else has it."""
    with writing(engine) as connection:
        connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def look_up(connection: Connection, name: str) -> Held | None:
    """Return who holds a lease, alive or not; None when nobody does."""
    row = connection.execute(select(leases.c.holder, leases.c.renewed_at).where(leases.c.name == name)).one_or_none()
    return None if row is None else Held(row.holder, row.renewed_at)
