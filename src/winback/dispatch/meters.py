"""Count what a gateway takes, for its rates: in the database, so that all processes, machines and restarts share one count.

A rate says how many messages may go within any time so long, wherever it begins. So the time is cut into slices, each counted on
its own, and what the last window and one slice more hold is what was used: a hundredth too long, never too short.

    reserve   when messages are claimed, in the claim's transaction. They count as if they went a minute later, so that they
              count for as long as they are in hand
    settle    when they have gone. From now on they count from now; what did not go counts no more

Whoever reserves has asked before in the same transaction, and claims are made one at a time (`taking`): nobody reserves between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.project.gateways import Rate
from winback.store import gateway_uses

_SLICES = 100

#: So much later messages in hand are taken to go. Their dispatcher may be killed: then they count for so much longer.
_IN_HAND = timedelta(minutes=1)

#: Whoever waits does so until this share of the rate may go at once, so that messages are not taken one by one.
_BITE = 0.1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Meter:
    """What is counted for a rate: all messages of a gateway, or those to a domain."""

    rate: Rate
    domain: str = ""

    def slice_of(self, at: datetime) -> datetime:
        """Return when the slice begins that a moment is in."""
        length = self.rate.window / _SLICES
        return at - (at - _EPOCH) % length

    def counted_until(self, slice_at: datetime) -> datetime:
        """Return when the last message of a slice may have left the window."""
        return slice_at + self.rate.window + self.rate.window / _SLICES

    @property
    def key(self) -> dict[str, Any]:
        """Return the columns by which it is kept."""
        return {"domain": self.domain, "seconds": int(self.rate.window.total_seconds())}


@dataclass(frozen=True)
class Reading:
    """What a meter says: how much was used, how much may go, and where that is nothing, when some more may."""

    used: int
    room: int
    until: datetime | None


def read(connection: Connection, gateway: str, meters: Sequence[Meter], now: datetime) -> dict[Meter, Reading]:
    """Return what each meter of a gateway says."""
    if not meters:
        return {}
    longest = max(meter.rate.window for meter in meters)
    rows = connection.execute(
        select(gateway_uses.c.domain, gateway_uses.c.seconds, gateway_uses.c.at, gateway_uses.c.used)
        .where(gateway_uses.c.gateway == gateway, gateway_uses.c.at > now - 2 * longest)
        .order_by(gateway_uses.c.at)
    )
    slices: dict[tuple[str, int], list[tuple[datetime, int]]] = {}
    for domain, seconds, at, used in rows:
        slices.setdefault((domain, seconds), []).append((at, used))
    return {meter: _reading(meter, slices.get((meter.domain, meter.key["seconds"]), []), now) for meter in meters}


def _reading(meter: Meter, slices: Sequence[tuple[datetime, int]], now: datetime) -> Reading:
    # What lies further ahead than a claim can be was counted by a clock that was wrong.
    ahead = now + meter.rate.window + _IN_HAND
    counted = [(at, used) for at, used in slices if now < meter.counted_until(at) and at <= ahead]
    used = sum(count for _, count in counted)
    room = max(meter.rate.count - used, 0)
    if room:
        return Reading(used, room, None)
    missing = used - meter.rate.count + max(1, int(meter.rate.count * _BITE))
    for at, count in counted:
        missing -= count
        if missing <= 0:
            return Reading(used, 0, meter.counted_until(min(at, meter.slice_of(now))))  # what is in hand goes about now
    return Reading(used, 0, now + meter.rate.window)


def reserve(connection: Connection, gateway: str, counts: Mapping[Meter, int], now: datetime) -> None:
    """Count messages that are about to go, and forget what no rate counts any more."""
    for meter in counts:
        old = meter.slice_of(now - 2 * meter.rate.window)
        connection.execute(delete(gateway_uses).where(*_is(gateway, meter), gateway_uses.c.at < old))
    _add(connection, gateway, counts, now + _IN_HAND)


def settle(
    connection: Connection,
    gateway: str,
    reserved: Mapping[Meter, int],
    gone: Mapping[Meter, int],
    reserved_at: datetime,
    now: datetime,
) -> None:
    """Count messages that were reserved at a moment as gone now, as far as they went."""
    taken_back = [
        {"count": count, "domain_": meter.domain, "seconds_": meter.key["seconds"], "at_": meter.slice_of(reserved_at + _IN_HAND)}
        for meter, count in reserved.items()
    ]
    if taken_back:
        connection.execute(
            update(gateway_uses)
            .where(
                gateway_uses.c.gateway == gateway,
                gateway_uses.c.domain == bindparam("domain_"),
                gateway_uses.c.seconds == bindparam("seconds_"),
                gateway_uses.c.at == bindparam("at_"),
            )
            .values(used=gateway_uses.c.used - bindparam("count")),
            taken_back,
        )
    _add(connection, gateway, gone, now)


def _add(connection: Connection, gateway: str, counts: Mapping[Meter, int], at: datetime) -> None:
    rows = [
        {"gateway": gateway, **meter.key, "at": meter.slice_of(at), "used": count} for meter, count in counts.items() if count
    ]
    if not rows:
        return
    dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = dialect_insert(gateway_uses)
    more = {"used": gateway_uses.c.used + statement.excluded.used}
    connection.execute(statement.on_conflict_do_update(index_elements=list(gateway_uses.primary_key.columns), set_=more), rows)


def _is(gateway: str, meter: Meter) -> tuple[Any, ...]:
    return (
        gateway_uses.c.gateway == gateway,
        *(gateway_uses.c[name] == value for name, value in meter.key.items()),
    )
