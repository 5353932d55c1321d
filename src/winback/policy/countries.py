"""What countries say about the time of marketing: hours, Sundays and public holidays, by the clock where the person lives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, FromClause, String, and_, case, literal

from winback.addresses import calling_code
from winback.audience import public_holidays
from winback.policy.quiet_hours import all_zones
from winback.project import Campaign, FreeTime, Project, QuietHours, is_quiet
from winback.store import Channel, Purpose, among

if TYPE_CHECKING:
    from winback.policy.rules import Ask

_SATURDAY, _SUNDAY = 5, 6

#: Of a country that says nothing about the time.
NO_RULE = ""


def free_times(project: Project, campaign: Campaign, channel: Channel) -> Mapping[str, FreeTime]:
    """Return when a campaign's messages on a channel rest, for each country with such a rule; of service messages none has."""
    if campaign.purpose is not Purpose.MARKETING:
        return {}
    return project.settings.quiet_hours.by_country(channel)


def is_closed(day: date, free: FreeTime) -> bool:
    """Say whether marketing rests for the whole of a day."""
    if free.sundays and day.weekday() == _SUNDAY:
        return True
    return free.holidays and day in public_holidays(free.country, day.year)


def hours_on(day: date, free: FreeTime) -> QuietHours:
    """Return the hours of a day in which marketing rests."""
    return free.saturdays if free.saturdays is not None and day.weekday() == _SATURDAY else free.hours


def country_of(project: Project, campaign: Campaign, customer: FromClause) -> ColumnElement[str]:
    """Return SQL for the country by which a campaign writes to somebody: their own, else their phone's, else the shop's.

    NO_RULE where that country says nothing about the time, on no channel.
    """
    countries = sorted({country for channel in Channel for country in free_times(project, campaign, channel)})
    none = literal(NO_RULE, String())
    if not countries:
        return none
    own, phone = customer.c.country, customer.c.phone
    region = project.settings.shop.region
    return case(
        (own.in_(countries), own),
        (own.is_not(None), none),
        *((_rings_in(country, customer), literal(country, String())) for country in countries),
        (phone.is_not(None), none),
        else_=literal(region if region in countries else NO_RULE, String()),
    )


def _rings_in(country: str, customer: FromClause) -> ColumnElement[bool]:
    """Ask whether a phone number is of a country. Of several with one code the zone tells, which is the number's own mostly."""
    code, is_main, others = calling_code(country)
    rings = customer.c.phone.startswith(f"+{code}", autoescape=True)
    if not others:
        return rings
    zone = customer.c.local_zone
    return and_(rings, zone.not_in(_zones_of(*others)) if is_main else zone.in_(_zones_of(country)))


def _zones_of(*countries: str) -> list[str]:
    from babel.core import get_global

    zones = get_global("territory_zones")
    return sorted({zone for country in countries for zone in zones.get(country, ())})


def open_country(ask: Ask) -> ColumnElement[bool] | None:
    """Return SQL that is true where the person's country lets marketing go now."""
    countries = free_times(ask.project, ask.campaign, ask.channel)
    if not countries or ask.enrollment is None:
        return None
    rules = tuple(countries.values())
    resting = ask.context.late(lambda clock: _resting(clock.now.replace(second=0, microsecond=0), rules), String())
    country = country_of(ask.project, ask.campaign, ask.customer)
    return ~among(country + " " + ask.enrollment.c.zone, resting)


@lru_cache(maxsize=64)
def _resting(minute: datetime, rules: tuple[FreeTime, ...]) -> str:
    """Return the countries with the zones in which marketing rests at a minute, as JSON: `["FR Europe/Paris", …]`."""
    return json.dumps(list(_pairs(minute, rules)))


def _pairs(minute: datetime, rules: tuple[FreeTime, ...]) -> Iterator[str]:
    for name, zone in all_zones().items():
        local = minute.astimezone(zone).replace(tzinfo=None)
        for free in rules:
            if is_quiet(local.time(), hours_on(local.date(), free)) or is_closed(local.date(), free):
                yield f"{free.country} {name}"
