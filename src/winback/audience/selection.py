"""One SELECT for each preset: customer, occasion, anchor, and the order it is about.

The occasion is what makes a contact happen once. The anchor, a moment or a local date, is what steps count their time from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Date,
    Float,
    Select,
    String,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from winback.audience.context import AudienceContext
from winback.audience.presets import (
    AfterEvent,
    AfterOrder,
    Birthday,
    EnteredSegment,
    Everyone,
    Preset,
    ReachedScore,
    Sleeping,
)
from winback.audience.sql import attribute_value
from winback.audience.where import compile_condition
from winback.clock import local_instant
from winback.store import (
    VOID_STATUSES,
    Id,
    UtcDateTime,
    customers,
    events,
    orders,
    plus_seconds,
    score_crossings,
    segment_members,
)

_DAY = timedelta(days=1)
_SECONDS_A_DAY = 86_400

#: A rhythm is known from this many orders on; others count as asleep after `_UNKNOWN_RHYTHM`.
_RHYTHM_ORDERS = 3
_UNKNOWN_RHYTHM = timedelta(days=90)

#: Who orders every other day is not asleep after four.
_SHORTEST_RHYTHM = timedelta(days=14)

#: Anniversaries are looked for this many years back.
_YEARS = 60

Selected = Select[Any] | CompoundSelect[Any]


def select_audience(audience: Preset, context: AudienceContext) -> Selected:
    """Return the SELECT of everybody in an audience: customer_id, occasion, anchor_at or anchor_on, order_id, ripe_at.

    What happened, or is due, between `context.since` and `context.until` is looked for. Consent and other rules are not asked.
    `ripe_at` is the moment by which a person whom the occasion lets in is in, however late we look.
    """
    selected: Selected = _PRESETS[type(audience)](audience, context)
    if audience.where is None:
        return selected
    fits = compile_condition(audience.where, context, scope="customer", customer=customers)
    if isinstance(selected, Select):
        return selected.where(fits)
    return union_all(*(each.where(fits) for each in selected.selects if isinstance(each, Select)))


def _row(
    *,
    occasion: ColumnElement[Any],
    ripe_at: ColumnElement[Any],
    anchor_at: ColumnElement[Any] | None = None,
    anchor_on: date | None = None,
    order_id: ColumnElement[Any] | None = None,
) -> Select[Any]:
    """Return a SELECT over customers of the columns that every preset gives, typed alike on both databases."""
    return select(
        customers.c.id.label("customer_id"),
        cast(occasion, String()).label("occasion"),
        (cast(null(), UtcDateTime()) if anchor_at is None else anchor_at).label("anchor_at"),
        (cast(null(), Date()) if anchor_on is None else literal(anchor_on, Date())).label("anchor_on"),
        (cast(null(), Id) if order_id is None else order_id).label("order_id"),
        ripe_at.label("ripe_at"),
    )


def _at(moment: datetime) -> ColumnElement[Any]:
    return literal(moment, UtcDateTime())


def _end_of(day: date, context: AudienceContext) -> ColumnElement[Any]:
    """Return the moment at which a date is over where the shop is."""
    return _at(local_instant(day + _DAY, time(0), ZoneInfo(context.shop_zone)))


def _later(moment: ColumnElement[Any], by: timedelta) -> ColumnElement[Any]:
    return plus_seconds(moment, literal(by.total_seconds())) if by else moment


def _sleeping(audience: Sleeping, context: AudienceContext) -> Select[Any]:
    inactive = audience.inactive
    last = customers.c.last_order_at
    if inactive.rhythms is None:
        asleep: ColumnElement[bool] = last < _before(context, inactive.at_least or _UNKNOWN_RHYTHM, and_that_day=True)
    else:
        asleep = _out_of_rhythm(inactive.rhythms, context)
    if inactive.at_most is not None:
        asleep = and_(asleep, last >= _before(context, inactive.at_most))
    return (
        _row(occasion=customers.c.last_order_id, ripe_at=_at(context.now), anchor_at=_at(context.now), order_id=orders.c.id)
        .join_from(customers, orders, orders.c.external_id == customers.c.last_order_id)
        .where(asleep)
    )


def _before(context: AudienceContext, ago: timedelta, *, and_that_day: bool = False) -> datetime:
    """Return the moment so long ago; whole days are counted on the shop's calendar, the day itself included if so asked."""
    days, rest = divmod(ago, _DAY)
    if rest:
        return context.now - ago
    zone = ZoneInfo(context.shop_zone)
    day = context.now.astimezone(zone).date() - days * _DAY
    return local_instant(day + _DAY if and_that_day else day, time(0), zone)


def _out_of_rhythm(rhythms: float, context: AudienceContext) -> ColumnElement[bool]:
    """Ask whether the last order is that many of the customer's own usual times between orders ago."""
    own = cast(customers.c.median_gap_days, Float()) * (rhythms * _SECONDS_A_DAY)
    shortest = float(_SHORTEST_RHYTHM.total_seconds())
    known = and_(customers.c.order_count >= _RHYTHM_ORDERS, customers.c.median_gap_days.is_not(None))
    seconds = case(
        (and_(known, own > shortest), own), (known, literal(shortest)), else_=literal(float(_UNKNOWN_RHYTHM.total_seconds()))
    )
    return plus_seconds(customers.c.last_order_at, seconds) <= literal(context.now, UtcDateTime())


def _birthday(audience: Birthday, context: AudienceContext) -> Selected:
    found = []
    for anchor, elsewhere in _local_dates(context):
        day = anchor - audience.offset
        condition = _falls_on(audience, day, context)
        if elsewhere:
            condition = and_(condition, customers.c.local_zone.not_in(elsewhere))
        found.append(_row(occasion=literal(str(day.year)), ripe_at=_end_of(anchor, context), anchor_on=anchor).where(condition))
    return _together(found)


def _falls_on(audience: Birthday, day: date, context: AudienceContext) -> ColumnElement[bool]:
    """Ask whether the yearly date falls on a day; 29 February moves in years without one, as the campaign says."""
    days = [(day.month, day.day)]
    leap = {"feb28": (2, 28), "mar1": (3, 1)}.get(audience.leap_day)
    if (day.month, day.day) == leap and not _is_leap(day.year):
        days.append((2, 29))
    if audience.field == "birthday":
        return or_(*(and_(customers.c.birth_month == month, customers.c.birth_day == number) for month, number in days))
    if audience.field == "first_order":
        return or_(false(), *_anniversaries(day, days, ZoneInfo(context.shop_zone)))
    written = attribute_value(customers.c.attributes, audience.field.removeprefix("attributes."), "text")
    # A date of one's own is written 2019-05-17, or --05-17 where the year is unknown: its last five letters say the day.
    month_and_day = func.substr(written, func.length(written) - 4, 5)
    return month_and_day.in_([f"{month:02d}-{number:02d}" for month, number in days])


def _anniversaries(day: date, days: Sequence[tuple[int, int]], zone: ZoneInfo) -> Iterator[ColumnElement[bool]]:
    for year in range(day.year - _YEARS, day.year):
        for month, number in days:
            if (month, number) == (2, 29) and not _is_leap(year):
                continue
            first = date(year, month, number)
            start, end = (local_instant(each, time(0), zone) for each in (first, first + _DAY))
            yield and_(customers.c.first_order_at >= start, customers.c.first_order_at < end)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _after_order(audience: AfterOrder, context: AudienceContext) -> Select[Any]:
    at = orders.c[f"{audience.after}_at"]
    void = orders.c.status.in_(VOID_STATUSES)
    selected = (
        _row(occasion=orders.c.external_id, ripe_at=_later(at, audience.wait), anchor_at=at, order_id=orders.c.id)
        .join_from(customers, orders, orders.c.customer_id == customers.c.id)
        .where(*_between(at, context, audience.wait), void if audience.after == "voided" else ~void)
    )
    if not audience.first:
        return selected
    earlier = orders.alias()
    before = or_(
        earlier.c.placed_at < orders.c.placed_at, and_(earlier.c.placed_at == orders.c.placed_at, earlier.c.id < orders.c.id)
    )
    return selected.where(
        ~exists().where(earlier.c.customer_id == orders.c.customer_id, earlier.c.status.not_in(VOID_STATUSES), before)
    )


def _between(at: ColumnElement[Any], context: AudienceContext, wait: timedelta) -> tuple[ColumnElement[bool], ...]:
    return at >= _at(context.since - wait), at < _at(context.until - wait)


def _reached_score(audience: ReachedScore, context: AudienceContext) -> Select[Any]:
    crossing = score_crossings.c
    return (
        _row(
            occasion=literal(f"{audience.level}:").concat(cast(crossing.number, String())),
            ripe_at=crossing.at,
            anchor_at=crossing.at,
        )
        .join_from(customers, score_crossings, crossing.customer_id == customers.c.id)
        .where(
            crossing.model == audience.score,
            crossing.level == audience.level,
            crossing.upward,
            *_between(crossing.at, context, timedelta()),
        )
    )


def _after_event(audience: AfterEvent, context: AudienceContext) -> Select[Any]:
    at = events.c.at
    selected = (
        _row(occasion=events.c.external_id, ripe_at=_later(at, audience.wait), anchor_at=at)
        .join_from(customers, events, events.c.customer_id == customers.c.id)
        .where(events.c.name == audience.event, *_between(at, context, audience.wait))
    )
    if audience.unless is None:
        return selected
    within = audience.within_or_delay
    other = events.alias()
    return selected.where(
        at <= literal(context.now - within, UtcDateTime()),
        ~exists().where(
            other.c.customer_id == events.c.customer_id,
            other.c.name == audience.unless,
            other.c.at >= at,
            other.c.at <= plus_seconds(at, literal(within.total_seconds())),
        ),
    )


def _entered_segment(audience: EnteredSegment, context: AudienceContext) -> Selected:
    zone = ZoneInfo(context.shop_zone)
    entered = segment_members.c.entered_at
    found = []
    day = context.since.astimezone(zone).date()
    while (start := local_instant(day, time(0), zone)) < context.until:
        end = local_instant(day + _DAY, time(0), zone)
        found.append(
            _row(occasion=literal(day.isoformat()), ripe_at=entered, anchor_at=entered)
            .join_from(customers, segment_members, segment_members.c.customer_id == customers.c.id)
            .where(segment_members.c.segment == audience.segment, entered >= max(start, context.since), entered < end)
        )
        day += _DAY
    return _together(found)


def _everyone(audience: Everyone, context: AudienceContext) -> Selected:
    found = []
    for anchor, elsewhere in _local_dates(context):
        if anchor in audience.on:
            row = _row(occasion=literal(anchor.isoformat()), ripe_at=_end_of(anchor, context), anchor_on=anchor)
            found.append(row.where(customers.c.local_zone.not_in(elsewhere)) if elsewhere else row)
    return _together(found)


def _together(found: Sequence[Select[Any]]) -> Selected:
    if not found:
        return _row(occasion=literal(""), ripe_at=cast(null(), UtcDateTime())).where(false())
    return union_all(*found) if len(found) > 1 else found[0]


def _local_dates(context: AudienceContext) -> Iterator[tuple[date, list[str]]]:
    """Yield the local dates between `since` and `until`, each with the zones in which it is not between them.

    At one moment there are two or three dates on Earth: who lives where a date has passed, or is not near yet, does not get it.
    """
    first, last = _dates_at(context.since), _dates_at(context.until)
    day = min(first.values())
    while day <= max(last.values()):
        yield day, sorted(zone for zone in first if not first[zone] <= day <= last[zone])
        day += _DAY


def _dates_at(moment: datetime) -> dict[str, date]:
    """Return the local date in every zone."""
    return _dates_at_quarter(moment.astimezone(UTC).replace(minute=moment.minute // 15 * 15, second=0, microsecond=0))


@lru_cache(maxsize=64)
def _dates_at_quarter(quarter: datetime) -> dict[str, date]:
    # Local midnights lie on quarters of an hour everywhere.
    return {name: quarter.astimezone(zone).date() for name, zone in _zones().items()}


@lru_cache(maxsize=1)
def _zones() -> dict[str, ZoneInfo]:
    # ZoneInfo itself remembers only the last eight, and reads the others from disk again.
    return {name: ZoneInfo(name) for name in sorted(available_timezones())}


_PRESETS: dict[type[Preset], Any] = {
    Sleeping: _sleeping,
    Birthday: _birthday,
    AfterOrder: _after_order,
    ReachedScore: _reached_score,
    AfterEvent: _after_event,
    EnteredSegment: _entered_segment,
    Everyone: _everyone,
}
