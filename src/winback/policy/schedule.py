"""When a step is due: local wall-clock times become instants, each scheduled local date exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from winback.clock import local_instant
from winback.policy.countries import NO_RULE, free_times, hours_on, is_closed
from winback.policy.quiet_hours import wake_time
from winback.project import Campaign, FreeTime, Project, QuietHours, Step, is_quiet
from winback.store import Channel

_DAY = timedelta(days=1)

#: How often a slot is moved on because of the country's rules, a day or to the end of its hours.
_MOST_MOVES = 60

#: Campaigns anchored to a date that name no time of day go out at nine.
DEFAULT_TIME = time(9)


@dataclass(frozen=True)
class Slot:
    """When a message is due: the instant (UTC), and the local date it is scheduled for, which is its key."""

    at: datetime
    on: date


@dataclass(frozen=True)
class Timetable:
    """The times at which a step may go: a local time of day, allowed weekdays (0 = Monday), quiet hours, what countries say."""

    at: time | None
    days: frozenset[int] | None
    quiet: QuietHours | None
    countries: Mapping[str, FreeTime] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project, campaign: Campaign, step: Step, channel: Channel) -> Timetable:
        """Return the timetable of a campaign's step on a channel; the step's own time goes before the campaign's."""
        return cls(
            at=step.at or campaign.schedule.at,
            days=campaign.schedule.days,
            quiet=project.settings.quiet_hours.for_channel(channel),
            countries=free_times(project, campaign, channel),
        )


def after_moment(moment: datetime, after: timedelta, table: Timetable, zone: ZoneInfo, country: str = NO_RULE) -> Slot:
    """Return the first slot at or after `moment + after` for people of a zone and country.

    Whole days are counted on the local calendar, so that "+7d" keeps its wall-clock time when clocks change in between.
    """
    whole_days, rest = divmod(after, _DAY)
    local = moment.astimezone(zone)
    earliest = local_instant(local.date() + whole_days * _DAY, local.time(), zone) + rest if whole_days else moment + rest
    if table.at is None:
        return _where_open(_without_time(earliest, table, zone), None, table, zone, country)
    day = earliest.astimezone(zone).date()
    if local_instant(day, table.at, zone) < earliest:
        day += _DAY
    return _where_open(_on_or_after(day, table.at, table, zone), table.at, table, zone, country)


def after_date(day: date, after: timedelta, table: Timetable, zone: ZoneInfo, country: str = NO_RULE) -> Slot:
    """Return the slot on the local date `day + after`, or on the next allowed weekday."""
    whole_days, rest = divmod(after, _DAY)
    at = table.at or DEFAULT_TIME
    slot = _on_or_after(day + whole_days * _DAY, at, table, zone)
    if rest:
        return after_moment(slot.at, rest, table, zone, country)
    return _where_open(slot, at, table, zone, country)


def _on_or_after(day: date, at: time, table: Timetable, zone: ZoneInfo) -> Slot:
    if table.quiet is not None and is_quiet(at, table.quiet):
        if at >= table.quiet.end:
            day += _DAY
        at = table.quiet.end
    while table.days is not None and day.weekday() not in table.days:
        day += _DAY
    return Slot(local_instant(day, at, zone), day)


def _without_time(earliest: datetime, table: Timetable, zone: ZoneInfo) -> Slot:
    moment = wake_time(earliest, zone, table.quiet)
    day = moment.astimezone(zone).date()
    if table.days is not None and day.weekday() not in table.days:
        while day.weekday() not in table.days:
            day += _DAY
        # The first moment of the next allowed day that is not quiet.
        moment = wake_time(local_instant(day, time(0), zone), zone, table.quiet)
    return Slot(moment, day)


def _where_open(slot: Slot, at: time | None, table: Timetable, zone: ZoneInfo, country: str) -> Slot:
    """Return the slot, or the next one at which the country lets marketing go: on another day at the same time of day."""
    free = table.countries.get(country)
    if free is None:
        return slot
    # Holidays and weekends come one after the other, never for a month; weekdays of a campaign may all be closed ones.
    for _ in range(_MOST_MOVES):
        day = slot.at.astimezone(zone).date()
        if is_closed(day, free):
            following = day + _DAY
            midnight = local_instant(following, time(0), zone)
            slot = _without_time(midnight, table, zone) if at is None else _on_or_after(following, at, table, zone)
            continue
        opens = wake_time(slot.at, zone, hours_on(day, free))
        if opens == slot.at:
            break
        slot = _without_time(opens, table, zone)
    return slot
