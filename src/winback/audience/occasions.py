"""The rows that every preset selects: customer, occasion, anchor, order, and when it is ripe; and the windows they lie in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Date,
    FromClause,
    Select,
    String,
    Table,
    cast,
    false,
    literal,
    null,
    select,
    union_all,
)

from winback.audience.context import AudienceContext, Clock
from winback.audience.presets import Preset
from winback.audience.sql import moment
from winback.clock import local_instant
from winback.store import Id, UtcDateTime, customers, plus_seconds

DAY = timedelta(days=1)

Selected = Select[Any] | CompoundSelect[Any]


def row(
    *,
    customer_id: ColumnElement[Any] = customers.c.id,
    occasion: ColumnElement[Any],
    ripe_at: ColumnElement[Any],
    anchor_at: ColumnElement[Any] | None = None,
    anchor_on: ColumnElement[Any] | None = None,
    order_id: ColumnElement[Any] | None = None,
) -> Select[Any]:
    """Return a SELECT over customers of the columns that every preset gives, typed alike on both databases."""
    return select(
        customer_id.label("customer_id"),
        cast(occasion, String()).label("occasion"),
        (cast(null(), UtcDateTime()) if anchor_at is None else anchor_at).label("anchor_at"),
        (cast(null(), Date()) if anchor_on is None else anchor_on).label("anchor_on"),
        (cast(null(), Id) if order_id is None else order_id).label("order_id"),
        ripe_at.label("ripe_at"),
    )


def rows_of(table: Table, audience: Preset, *, of_whom: bool = False) -> FromClause:
    """Return what people did, with the customers only where they are asked about: to look up each is half of the work."""
    asked = of_whom or audience.where is not None
    return table.join(customers, customers.c.id == table.c.customer_id) if asked else table


def end_of(day: date, context: AudienceContext) -> ColumnElement[Any]:
    """Return the moment at which a date is over where the shop is."""
    return moment(end_of_day(day, context.shop_zone))


def end_of_day(day: date, zone: str) -> datetime:
    """Return the moment at which a date is over in a zone."""
    return local_instant(day + DAY, time(0), ZoneInfo(zone))


def later(at: ColumnElement[Any], by: timedelta) -> ColumnElement[Any]:
    """Return a moment, that much later."""
    return plus_seconds(at, literal(by.total_seconds())) if by else at


def between(at: ColumnElement[Any], context: AudienceContext, wait: timedelta) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for "so long after `at` is between `since` and `until`"."""
    return at >= context.late(lambda clock: clock.since - wait), at < context.late(lambda clock: clock.until - wait)


def together(found: Sequence[Select[Any]]) -> Selected:
    """Return several SELECTs of rows as one, and one without any row for none."""
    if not found:
        return row(occasion=literal(""), ripe_at=cast(null(), UtcDateTime())).where(false())
    return union_all(*found) if len(found) > 1 else found[0]


def local_dates(clock: Clock) -> Iterator[tuple[date, bool]]:
    """Yield the local dates between `since` and `until`, each with whether it is between them in all zones.

    At one moment there are two or three dates on Earth: who lives where a date has passed, or is not near yet, does not get it.
    """
    (day, begun), (ending, last) = _extremes(_quarter(clock.since)), _extremes(_quarter(clock.until))
    while day <= last:
        yield day, begun <= day <= ending
        day += DAY


def first_date(clock: Clock) -> date:
    """Return the first of these."""
    return _extremes(_quarter(clock.since))[0]


def elsewhere(day: date, clock: Clock) -> str:
    """Return the zones in which a local date is not between `since` and `until`, as a JSON list."""
    first, last = _dates_at(clock.since), _dates_at(clock.until)
    return json.dumps([zone for zone in first if not first[zone] <= day <= last[zone]])


def _dates_at(at: datetime) -> dict[str, date]:
    """Return the local date in every zone."""
    return _dates_at_quarter(_quarter(at))


def _quarter(at: datetime) -> datetime:
    at = at.astimezone(UTC)
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)


@lru_cache(maxsize=64)
def _extremes(quarter: datetime) -> tuple[date, date]:
    """Return the first and the last of the local dates on Earth."""
    dates = set(_dates_at_quarter(quarter).values())
    return min(dates), max(dates)


@lru_cache(maxsize=64)
def _dates_at_quarter(quarter: datetime) -> dict[str, date]:
    # Local midnights lie on quarters of an hour everywhere.
    return {name: quarter.astimezone(zone).date() for name, zone in _zones().items()}


@lru_cache(maxsize=1)
def _zones() -> dict[str, ZoneInfo]:
    # ZoneInfo itself remembers only the last eight, and reads the others from disk again.
    return {name: ZoneInfo(name) for name in sorted(available_timezones())}
