"""Quiet hours: no message rings at night, where the person lives, also in the nights when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.policy import quiet_zones, wake_time
from winback.project import QuietHours, is_quiet

NIGHT = QuietHours(time(21), time(9))
NOON = QuietHours(time(12), time(14))
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("at", "quiet", "expected"),
    [
        (time(21), NIGHT, True),
        (time(20, 59), NIGHT, False),
        (time(0), NIGHT, True),
        (time(8, 59), NIGHT, True),
        (time(9), NIGHT, False),  # the end is awake
        (time(12), NOON, True),
        (time(13, 59), NOON, True),
        (time(14), NOON, False),
        (time(11, 59), NOON, False),
    ],
)
def test_the_beginning_is_quiet_and_the_end_is_not(at: time, quiet: QuietHours, expected: bool) -> None:
    assert is_quiet(at, quiet) is expected


@pytest.mark.parametrize(
    ("moment", "zone", "quiet", "expected"),
    [
        ("2026-11-24T20:30+01:00", BERLIN, NIGHT, "2026-11-24T20:30+01:00"),
        ("2026-11-24T21:00+01:00", BERLIN, NIGHT, "2026-11-25T09:00+01:00"),
        ("2026-11-25T00:30+01:00", BERLIN, NIGHT, "2026-11-25T09:00+01:00"),
        ("2026-10-24T23:00+02:00", BERLIN, NIGHT, "2026-10-25T09:00+01:00"),  # an hour longer: clocks go back
        ("2027-03-27T23:00+01:00", BERLIN, NIGHT, "2027-03-28T09:00+02:00"),  # an hour shorter
        ("2026-10-25T00:30+00:00", BERLIN, QuietHours(time(1), time(3)), "2026-10-25T03:00+01:00"),  # 2:30 comes twice
        ("2027-03-28T00:30+00:00", BERLIN, QuietHours(time(1), time(2, 30)), "2027-03-28T03:30+02:00"),  # 2:30 does not come
        ("2026-11-24T13:00-05:00", NEW_YORK, NOON, "2026-11-24T14:00-05:00"),
        ("2026-11-24T21:00+01:00", BERLIN, None, "2026-11-24T21:00+01:00"),
    ],
)
def test_waking_up(moment: str, zone: ZoneInfo, quiet: QuietHours | None, expected: str) -> None:
    assert wake_time(datetime.fromisoformat(moment).astimezone(UTC), zone, quiet) == datetime.fromisoformat(expected)


@given(
    moment=st.integers(1_704_067_200, 1_924_905_600).map(lambda second: datetime.fromtimestamp(second, UTC)),  # 2024 to 2030
    zone=st.sampled_from(sorted(available_timezones())).map(ZoneInfo),
    start=st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    end=st.times().map(lambda at: at.replace(second=0, microsecond=0)),
)
def test_nobody_is_woken_and_nobody_waits_longer_than_a_day(moment: datetime, zone: ZoneInfo, start: time, end: time) -> None:
    quiet = QuietHours(start, end)
    awake = wake_time(moment, zone, quiet)
    assert awake >= moment
    assert (awake - moment).total_seconds() <= 25 * 3600
    if start != end and awake.astimezone(zone).time().replace(second=0, microsecond=0) != end:
        assert not is_quiet(awake.astimezone(zone).time(), quiet)


def test_the_zones_that_sleep_at_a_moment() -> None:
    asleep = quiet_zones(datetime(2026, 11, 24, 7, 0, tzinfo=UTC), NIGHT)
    assert {"Europe/Berlin", "America/New_York", "Europe/London"} <= asleep  # 8:00, 2:00, 7:00
    assert not {"Europe/Helsinki", "Asia/Tokyo"} & asleep  # 9:00, 16:00
