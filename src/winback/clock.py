"""The only place that reads the system clock. Everything below the edge is handed `now`."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


def as_utc(moment: datetime) -> datetime:
    """Return an aware datetime in UTC; raise ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime: {moment!r}")
    return moment.astimezone(UTC)


def local_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the UTC instant of a local wall-clock time.

    A time that daylight saving skips is taken with the offset before the gap, one that comes twice is the first
    (PEP 495, fold=0), so every local date has exactly one instant.
    """
    return datetime.combine(day, at.replace(fold=0), tzinfo=zone).astimezone(UTC)


def parse_when(text: str, zone: ZoneInfo) -> datetime:
    """Return the UTC instant for `2026-11-24`, `2026-11-24 09:30` or an ISO 8601 text; without an offset it is local to `zone`.

    A bare date is its first moment. Raise ValueError for anything else.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        return local_instant(moment.date(), moment.time(), zone)
    return moment.astimezone(UTC)


def start_of_day(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the UTC instant at which the local day of `moment` began."""
    return local_instant(moment.astimezone(zone).date(), time(0), zone)


def days(count: float) -> timedelta:
    """Return `count` days as a duration of 24-hour days."""
    return timedelta(days=count)
