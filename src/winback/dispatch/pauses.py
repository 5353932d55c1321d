"""Gateways that cannot send at present: until when, and why, in the database, so that every process and `status` know it.

in use ─► left alone          trouble that is nobody's message's own; a minute at first, longer each time in a row
  ▲           ▼ time is up
  └────── tried               one dispatcher, with one message; the others leave it alone meanwhile
              └─► left alone  when that one does not get through either
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.dispatch.backoff import pause_after
from winback.store import gateway_states

#: Asked before each batch.
_STANDING = select(gateway_states.c.paused_until, gateway_states.c.reason).where(gateway_states.c.name == bindparam("gateway"))

_REASON = 500  # letters that are kept

#: While a gateway is tried, the others leave it alone for so long; should the one who tries it be killed, another does then.
_TRIAL = timedelta(minutes=2)


@dataclass(frozen=True)
class GatewayPause:
    """A gateway that is left alone: `until` is empty when it waits for its settings to be repaired."""

    gateway: str
    channels: tuple[str, ...]
    reason: str
    until: datetime | None


def standing(connection: Connection, gateway: str, channels: Collection[str], now: datetime) -> tuple[GatewayPause | None, bool]:
    """Return the pause that a gateway is in at `now`, None when it may be used; and whether it is to be tried first."""
    row = connection.execute(_STANDING, {"gateway": gateway}).one_or_none()
    if row is None or row.paused_until is None:
        return None, False
    if row.paused_until <= now:
        return None, True
    return GatewayPause(gateway, tuple(sorted(channels)), row.reason, row.paused_until), False


def begin_trial(connection: Connection, gateway: str, now: datetime) -> None:
    """Let the others leave a gateway alone while it is tried."""
    _change(connection, gateway, paused_until=now + _TRIAL, probed_at=now)


def end_trial(connection: Connection, gateway: str, now: datetime) -> None:
    """Let a gateway be tried again at once: nothing was handed over."""
    _change(connection, gateway, paused_until=now, probed_at=None)


def pause(
    connection: Connection,
    gateway: str,
    channels: Collection[str],
    reason: str,
    now: datetime,
    *,
    asked: timedelta | None = None,
    worked: bool = False,
) -> GatewayPause:
    """Leave a gateway alone for a while, longer each time in a row; `worked` says that it did work just before."""
    before = connection.scalar(select(gateway_states.c.failures).where(gateway_states.c.name == gateway).with_for_update())
    failures = 1 if worked else (before or 0) + 1
    until = now + pause_after(failures, asked)
    _keep(connection, gateway, reason, until, failures)
    return GatewayPause(gateway, tuple(sorted(channels)), reason, until)


def hold(connection: Connection, gateway: str, channels: Collection[str], reason: str) -> GatewayPause:
    """Leave a gateway alone until its settings are repaired."""
    _keep(connection, gateway, reason, None, 0)
    return GatewayPause(gateway, tuple(sorted(channels)), reason, None)


def clear(connection: Connection, gateway: str) -> None:
    """Forget a gateway's trouble: it works."""
    connection.execute(delete(gateway_states).where(gateway_states.c.name == gateway))


def kept(reason: str) -> str:
    """Return a reason as it is kept."""
    return reason[:_REASON]


def _keep(connection: Connection, gateway: str, reason: str, until: datetime | None, failures: int) -> None:
    dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    values = {"paused_until": until, "reason": kept(reason), "failures": failures, "probed_at": None}
    statement = dialect_insert(gateway_states).values(name=gateway, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


def _change(connection: Connection, gateway: str, **values: datetime | None) -> None:
    connection.execute(update(gateway_states).where(gateway_states.c.name == gateway).values(**values))
