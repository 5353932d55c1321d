"""Presets about dates: a day that comes back every year, and given days and holidays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import date, datetime, time
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Date, Integer, Select, String, and_, func, literal, or_, true

from winback.audience.context import AudienceContext, Clock
from winback.audience.holidays import countries_with
from winback.audience.occasions import DAY, Selected, elsewhere, end_of, end_of_day, first_date, local_dates, row, together
from winback.audience.presets import Birthday, Everyone
from winback.audience.sql import attribute_value, is_one_of, is_within
from winback.clock import local_instant
from winback.store import customers

#: Anniversaries are looked for this many years back.
_YEARS = 60

_LEAP_DAY = (2, 29)


def birthday(audience: Birthday, context: AudienceContext) -> Selected:
    """Select whose yearly date is near. The days are bound late: tomorrow, and for years, the same SELECT can be asked."""
    return together(
        [_yearly(audience, place, everywhere, context) for place, (_, everywhere) in enumerate(local_dates(context.clock))]
    )


def form_of_birthday(audience: Birthday, context: AudienceContext) -> Hashable:
    """Return what that SELECT depends on besides late values."""
    days = tuple(local_dates(context.clock))
    if audience.field == "first_order":
        return days
    return tuple((everywhere, _has_leap_day(audience, day - audience.offset)) for day, everywhere in days)


def _yearly(audience: Birthday, place: int, everywhere: bool, context: AudienceContext) -> Select[Any]:
    """Select whose yearly date falls on one of the days looked at, counted from the first."""

    def anchor(clock: Clock) -> date:
        return first_date(clock) + place * DAY

    def day(clock: Clock) -> date:
        return anchor(clock) - audience.offset

    selected = row(
        occasion=context.late(lambda clock: str(day(clock).year), String()),
        ripe_at=context.late(lambda clock: end_of_day(anchor(clock), context.shop_zone)),
        anchor_on=context.late(anchor, Date()),
    )
    zones = context.late(lambda clock: elsewhere(anchor(clock), clock), String())
    there = [] if everywhere else [~is_one_of(customers.c.local_zone, zones)]
    return selected.where(_falls_on(audience, day, context), *there)


def _days(context: AudienceContext) -> Iterator[tuple[date, list[ColumnElement[bool]]]]:
    """Yield the local dates that are looked at, each with the condition for living where it is near if that is not everywhere."""
    for day, everywhere in local_dates(context.clock):
        zones = context.late(partial(elsewhere, day), String())
        yield day, [] if everywhere else [~is_one_of(customers.c.local_zone, zones)]


def _falls_on(audience: Birthday, day: Callable[[Clock], date], context: AudienceContext) -> ColumnElement[bool]:
    """Ask whether the yearly date falls on a day; 29 February moves in years without one, as the campaign says."""
    today = day(context.clock)
    leap_day = _has_leap_day(audience, today)
    if audience.field == "first_order":
        days = [(today.month, today.day), *([_LEAP_DAY] if leap_day else [])]
        return is_within(customers.c.first_order_at, _anniversaries(today, days, ZoneInfo(context.shop_zone)))
    if audience.field == "birthday":
        month, number = customers.c.birth_month, customers.c.birth_day
        own = and_(
            month == context.late(lambda clock: day(clock).month, Integer()),
            number == context.late(lambda clock: day(clock).day, Integer()),
        )
        return or_(own, and_(month == _LEAP_DAY[0], number == _LEAP_DAY[1])) if leap_day else own
    written = attribute_value(customers.c.attributes, audience.field.removeprefix("attributes."), "text")
    # A date of one's own is written 2019-05-17, or --05-17 where the year is unknown: its last five letters say the day.
    month_and_day = func.substr(written, func.length(written) - 4, 5)
    own = month_and_day == context.late(lambda clock: f"{day(clock):%m-%d}", String())
    return or_(own, month_and_day == "02-29") if leap_day else own


def _has_leap_day(audience: Birthday, day: date) -> bool:
    """Ask whether those born on 29 February celebrate on a day of a year without one."""
    leap = {"feb28": (2, 28), "mar1": (3, 1)}.get(audience.leap_day)
    return (day.month, day.day) == leap and not _is_leap(day.year)


def _anniversaries(day: date, days: Sequence[tuple[int, int]], zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Yield the days of earlier years whose anniversary it is, from midnight to midnight where the shop is."""
    for year in range(day.year - _YEARS, day.year):
        for month, number in days:
            if (month, number) == (2, 29) and not _is_leap(year):
                continue
            first = date(year, month, number)
            yield _midnight(first, zone), _midnight(first + DAY, zone)


@lru_cache(maxsize=2048)  # a day's end is the next one's beginning, and most are asked for again in the next pass
def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return local_instant(day, time(0), zone)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def everyone(audience: Everyone, context: AudienceContext) -> Selected:
    """Select everybody on the given days, and on holidays those in whose country the day is one."""
    found = []
    for anchor, there in _days(context):
        day = anchor - audience.offset
        condition = _celebrated(audience, day, context)
        if condition is None:
            continue
        selected = row(occasion=literal(day.isoformat()), ripe_at=end_of(anchor, context), anchor_on=literal(anchor, Date()))
        found.append(selected.where(condition, *there))
    return together(found)


def _celebrated(audience: Everyone, day: date, context: AudienceContext) -> ColumnElement[bool] | None:
    """Return who has this day, None for nobody; whose country is unknown lives in the shop's."""
    if day in audience.dates:
        return true()
    countries = countries_with(audience.holidays, day)
    if not countries:
        return None
    return func.coalesce(customers.c.country, context.shop_region).in_(countries)
