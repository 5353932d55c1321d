"""When a step is due: local wall-clock times become instants, each scheduled local date exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from winback.clock import local_instant
from winback.policy.quiet_hours import is_quiet, wake_time
from winback.project import Campaign, QuietHours, Step

_DAY = timedelta(days=1)

#: Campaigns anchored to a date that name no time of day go out at nine.
DEFAULT_TIME = time(9)


@dataclass(frozen=True)
class Slot:
    """When a message is due: the instant (UTC), and the local date it is scheduled for, which is its key."""

    at: datetime
    on: date


@dataclass(frozen=True)
class Timetable:
    """The times at which a step may go: a local time of day, allowed weekdays (0 = Monday), and quiet hours."""

    at: time | None
    days: frozenset[int] | None
    quiet: QuietHours | None

    @classmethod
    def of(cls, campaign: Campaign, step: Step, quiet: QuietHours | None) -> Timetable:
        """Return the timetable of a campaign's step; the step's own time goes before the campaign's."""
        return cls(at=step.at or campaign.schedule.at, days=campaign.schedule.days, quiet=quiet)


def after_moment(moment: datetime, after: timedelta, table: Timetable, zone: ZoneInfo) -> Slot:
    """Return the first slot at or after `moment + after`.

    Whole days are counted on the local calendar, so that "+7d" keeps its wall-clock time when clocks change in between.
    """
    whole_days, rest = divmod(after, _DAY)
    local = moment.astimezone(zone)
    earliest = local_instant(local.date() + whole_days * _DAY, local.time(), zone) + rest if whole_days else moment + rest
    if table.at is None:
        return _without_time(earliest, table, zone)
    day = earliest.astimezone(zone).date()
    if local_instant(day, table.at, zone) < earliest:
        day += _DAY
    return _on_or_after(day, table.at, table, zone)


def after_date(day: date, after: timedelta, table: Timetable, zone: ZoneInfo) -> Slot:
    """Return the slot on the local date `day + after`, or on the next allowed weekday."""
    whole_days, rest = divmod(after, _DAY)
    at = table.at or DEFAULT_TIME
    slot = _on_or_after(day + whole_days * _DAY, at, table, zone)
    return after_moment(slot.at, rest, table, zone) if rest else slot


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
