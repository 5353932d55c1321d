"""Quiet hours: no message rings at night, by the clock where the person lives."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import ColumnElement, String

from winback.clock import local_instant
from winback.project import QuietHours, is_quiet
from winback.store import among

if TYPE_CHECKING:
    from winback.policy.rules import Ask


def wake_time(moment: datetime, zone: ZoneInfo, quiet: QuietHours | None) -> datetime:
    """Return `moment` itself, or the end of the quiet hours it falls into in `zone`."""
    if quiet is None:
        return moment
    local = moment.astimezone(zone)
    if not is_quiet(local.time(), quiet):
        return moment
    day: date = local.date()
    if local.time() >= quiet.end:
        day += timedelta(days=1)
    wakes = local_instant(day, quiet.end, zone)
    if wakes > moment:
        return wakes
    # The clock was set back over the end of the night, which comes for the second time.
    return datetime.combine(day, quiet.end.replace(fold=1), tzinfo=zone).astimezone(UTC)


@lru_cache(maxsize=64)
def quiet_zones(minute: datetime, quiet: QuietHours) -> frozenset[str]:
    """Return every zone name in which the quiet hours hold at `minute` (UTC, whole minutes so that it can be cached)."""
    return frozenset(name for name, zone in all_zones().items() if is_quiet(minute.astimezone(zone).time(), quiet))


@lru_cache(maxsize=64)
def _quiet_zones_in_json(minute: datetime, quiet: QuietHours) -> str:
    return json.dumps(sorted(quiet_zones(minute, quiet)))


@lru_cache(maxsize=1)
def all_zones() -> dict[str, ZoneInfo]:
    """Return every time zone by its name."""
    # ZoneInfo itself remembers only the last eight, and reads the others from disk again.
    return {name: ZoneInfo(name) for name in available_timezones()}


def awake(ask: Ask) -> ColumnElement[bool] | None:
    """Return SQL that is true where the person's zone is outside the channel's quiet hours now."""
    quiet = ask.project.settings.quiet_hours.for_channel(ask.channel)
    if quiet is None or ask.enrollment is None:
        return None
    asleep = ask.context.late(lambda clock: _quiet_zones_in_json(clock.now.replace(second=0, microsecond=0), quiet), String())
    return ~among(ask.enrollment.c.zone, asleep)
