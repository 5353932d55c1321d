"""Local times become instants: each scheduled local date once, whatever the clocks do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from winback.clock import local_instant
from winback.policy import Slot, Timetable, after_date, after_moment, quiet_zones, wake_time
from winback.project import QuietHours

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
TUESDAY_TO_THURSDAY = frozenset({1, 2, 3})

ZONES = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
DATES = st.dates(date(2024, 1, 1), date(2030, 12, 31))
TIMES = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))


def _at(text: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def _table(at: str | None = None, days: frozenset[int] | None = None, quiet: str | None = None) -> Timetable:
    hours = None
    if quiet:
        start, end = quiet.split("-")
        hours = QuietHours(time.fromisoformat(start), time.fromisoformat(end))
    return Timetable(time.fromisoformat(at) if at else None, days, hours)


CASES = [
    # the anchor, hours after it, the timetable, the zone, and when it is due there
    pytest.param("2026-11-24T08:00", 0, _table("09:30"), BERLIN, "2026-11-24T09:30", id="later the same day"),
    pytest.param("2026-11-24T09:30", 0, _table("09:30"), BERLIN, "2026-11-24T09:30", id="at the very minute"),
    pytest.param("2026-11-24T09:31", 0, _table("09:30"), BERLIN, "2026-11-25T09:30", id="a minute too late is tomorrow"),
    pytest.param("2026-11-24T15:12", 24, _table(), BERLIN, "2026-11-25T15:12", id="a day after an order"),
    pytest.param("2026-10-24T15:12", 24, _table(), BERLIN, "2026-10-25T15:12", id="a day is a calendar day when clocks go back"),
    pytest.param("2026-03-28T15:12", 24, _table(), BERLIN, "2026-03-29T15:12", id="and when they go forward"),
    pytest.param("2026-03-28T02:30", 24, _table(), BERLIN, "2026-03-29T03:30", id="a time in the gap moves behind it"),
    pytest.param(
        "2026-11-20T10:00", 0, _table("09:30", TUESDAY_TO_THURSDAY), BERLIN, "2026-11-24T09:30", id="Friday waits for Tuesday"
    ),
    pytest.param(
        "2026-11-24T10:00", 0, _table("09:30", TUESDAY_TO_THURSDAY), BERLIN, "2026-11-25T09:30", id="Tuesday's next is Wednesday"
    ),
    pytest.param(
        "2026-11-20T10:00", 0, _table(None, TUESDAY_TO_THURSDAY), BERLIN, "2026-11-24T00:00", id="first moment of an allowed day"
    ),
    pytest.param(
        "2026-11-24T23:00", 0, _table(quiet="21:00-09:00"), BERLIN, "2026-11-25T09:00", id="night waits for the morning"
    ),
    pytest.param("2026-11-25T05:00", 0, _table(quiet="21:00-09:00"), BERLIN, "2026-11-25T09:00", id="early morning as well"),
    pytest.param(
        "2026-11-24T12:00", 0, _table("22:00", quiet="21:00-09:00"), BERLIN, "2026-11-25T09:00", id="a time set into the night"
    ),
    pytest.param(
        "2026-11-24T12:00", 1, _table("07:00", quiet="21:00-09:00"), BERLIN, "2026-11-25T09:00", id="a time set too early"
    ),
    pytest.param(
        "2026-11-20T10:00", 0, _table(None, TUESDAY_TO_THURSDAY, "21:00-09:00"), NEW_YORK, "2026-11-24T09:00", id="both"
    ),
]


@pytest.mark.parametrize(("anchor", "hours", "table", "zone", "due"), CASES)
def test_after_a_moment(anchor: str, hours: int, table: Timetable, zone: ZoneInfo, due: str) -> None:
    slot = after_moment(_at(anchor, zone), timedelta(hours=hours), table, zone)
    assert slot.at.astimezone(zone).replace(tzinfo=None) == datetime.fromisoformat(due)
    assert slot.on == slot.at.astimezone(zone).date()


def test_after_a_date_is_nine_in_the_morning_unless_said_otherwise() -> None:
    assert after_date(date(2026, 2, 28), timedelta(0), _table(), BERLIN).at == _at("2026-02-28T09:00", BERLIN)
    assert after_date(date(2026, 2, 28), timedelta(days=7), _table("10:15"), NEW_YORK).at == _at("2026-03-07T10:15", NEW_YORK)
    assert after_date(date(2026, 2, 28), timedelta(hours=5), _table(), BERLIN).at == _at("2026-02-28T14:00", BERLIN)


@given(day=DATES, at=TIMES, zone=ZONES)
def test_every_local_date_has_exactly_one_instant(day: date, at: time, zone: ZoneInfo) -> None:
    """The instants of consecutive dates ascend strictly, so none fires twice and none is lost, over every gap and fold."""
    table = Timetable(at, None, None)
    slots = [after_date(day + timedelta(days=n), timedelta(0), table, zone) for n in range(3)]
    assert [slot.on for slot in slots] == [day + timedelta(days=n) for n in range(3)]
    assert slots[0].at < slots[1].at < slots[2].at


@given(day=DATES, clock=TIMES, at=TIMES, zone=ZONES, hours=st.integers(0, 24 * 40))
def test_a_slot_never_precedes_its_moment(day: date, clock: time, at: time, zone: ZoneInfo, hours: int) -> None:
    anchor = local_instant(day, clock, zone)
    slot = after_moment(anchor, timedelta(hours=hours), Timetable(at, None, None), zone)
    # Whole days are counted on the calendar: over a change of clocks they are up to a few hours shorter than 24 each in all.
    assert slot.at >= anchor + timedelta(hours=hours) - timedelta(hours=24)
    assert slot.at >= anchor


#: Clocks change at night, at a quarter past or to the hour at the oddest; and one time at which nothing happens.
TIMES_OF_CHANGES = [
    *(time(hour, minute) for hour in (21, 22, 23, 0, 1, 2, 3) for minute in (0, 30)),
    time(2, 45),
    time(3, 45),
    time(12),
]

A_MOMENT = timedelta(microseconds=1)


def _changes() -> dict[ZoneInfo, tuple[date, ...]]:
    """Return the dates from 2024 to 2030 on which clocks change, in each zone whose clock is no other's."""
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(365 * 7 + 2)]
    clocks: dict[tuple[timedelta | None, ...], tuple[ZoneInfo, tuple[date, ...]]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        offsets = tuple(day.astimezone(zone).utcoffset() for day in days)
        if offsets not in clocks:
            changed = (days[n].date() for n in range(len(days) - 1) if offsets[n] != offsets[n + 1])
            clocks[offsets] = zone, tuple(changed)
    return dict(clocks.values())


def test_every_date_fires_once_around_every_change_of_clocks_on_earth() -> None:
    """The days on which clocks change, and those beside them; on all others a day is like any other, as the test above asks.

    The dates are asked for one by one, as birthdays are, and one after the other, as a daemon goes on from what has fired.
    """
    changes = _changes()
    assert sum(map(len, changes.values())) > 400
    for zone, dates in changes.items():
        for day in dates:
            around = [day + timedelta(days=number) for number in range(-2, 4)]
            for at in TIMES_OF_CHANGES:
                table = Timetable(at, None, None)
                slots = [after_date(each, timedelta(), table, zone) for each in around]
                what = f"{zone.key} {day} {at}"
                assert [slot.on for slot in slots] == around, what
                assert all(early.at < late.at for early, late in pairwise(slots)), what
                assert list(_one_after_the_other(slots[0], slots[-1].at, table, zone)) == slots, what


def _one_after_the_other(first: Slot, until: datetime, table: Timetable, zone: ZoneInfo) -> Iterator[Slot]:
    slot = first
    while slot.at <= until:
        yield slot
        slot = after_moment(slot.at + A_MOMENT, timedelta(), table, zone)


@settings(deadline=None)  # every zone on Earth is looked at
@given(day=DATES, at=TIMES, minutes=st.integers(0, 24 * 60), zone=ZONES, start=TIMES, end=TIMES)
@example(date(2026, 11, 1), time(1, 10), 60, NEW_YORK, time(22), time(1, 30))  # 1:10 for the second time
def test_the_rule_that_asks_sql_and_the_time_to_wake_agree(
    day: date, at: time, minutes: int, zone: ZoneInfo, start: time, end: time
) -> None:
    """Dispatch asks by the names of the zones in which it is night, and puts a message off by the person's own clock."""
    quiet = QuietHours(start, end)
    moment = local_instant(day, at, zone) + timedelta(minutes=minutes)
    asleep = zone.key in quiet_zones(moment, quiet)
    wakes = wake_time(moment, zone, quiet)
    assert asleep == (wakes > moment)
    assert zone.key not in quiet_zones(wakes, quiet)
