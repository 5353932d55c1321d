"""A daemon driven over days on which clocks change: every scheduled local date once, at the right local time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time
from sqlalchemy import Engine

from tests.project.builder import campaign, email_step
from tests.rows import add_customer
from tests.scheduler.shops import in_outbox, make_shop, rows, times_sent
from winback.project import Project
from winback.project.watch import ShopFiles
from winback.scheduler.daemon import Daemon
from winback.store import open_engine, writing
from winback.store.migrate import migrate

_ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")

#: Times of day. Somewhere the second comes twice, in New York, and the third is skipped, by Lord Howe's half hour too.
_TIMES = {"midnight": time(0, 0), "one": time(1, 30), "two": time(2, 15)}

_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)

#: Nobody looks at the clock on the hour.
_EVERY = timedelta(hours=7, minutes=50)


def _shop(folder: Path, database_url: str, days: list[date]) -> Project:
    """Write a shop with a letter for each time of each day, and a greeting for birthdays."""
    steps = [email_step(name, at=f"{at:%H:%M}") for name, at in _TIMES.items()]
    daily = campaign(title="Daily", purpose="service", audience={"preset": "everyone", "on": days}, steps=steps)
    birthday = campaign(
        title="Birthday",
        audience={"preset": "birthday"},
        schedule={"at": "09:00"},
        steps=[email_step("greeting"), email_step("reminder", after="3d")],
    )
    return make_shop(folder, database_url, {"daily": daily, "birthday": birthday}, settings={"limits": {"email": []}})


def _days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def _moments(days: list[date]) -> Iterator[datetime]:
    at = datetime.combine(days[0], time(0), tzinfo=UTC) - timedelta(days=1, hours=4)
    while at < datetime.combine(days[-1], time(0), tzinfo=UTC) + timedelta(days=2):
        yield at
        at += _EVERY


def _run(engine: Engine, project: Project, days: list[date]) -> None:
    with freeze_time(_BEFORE) as clock:
        daemon = Daemon(engine, ShopFiles(project.root), worker="test")
        for moment in _moments(days):
            clock.move_to(moment)
            outcome = daemon.tick()
            assert outcome is not None
            assert outcome.errors == []


def _instant(day: date, at: time, zone: str) -> datetime:
    """Return the first moment at which a wall clock in `zone` shows this time, found by looking at the clock every minute.

    A time that is skipped comes as long after midnight as it would have on any other day.
    """
    moment = datetime.combine(day, time(0), tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(ZoneInfo(zone)).date() < day:
        moment += timedelta(minutes=1)
    midnight = moment
    while moment.astimezone(ZoneInfo(zone)).date() == day:
        if moment.astimezone(ZoneInfo(zone)).time() == at:
            return moment
        moment += timedelta(minutes=1)
    return midnight + timedelta(hours=at.hour, minutes=at.minute)


def _expect_all_once(engine: Engine, project: Project, days: list[date]) -> None:
    got = rows(engine, "campaign", "external_id", "step", "due_on", "due_at", "state", "sent_at")
    daily = [row[1:] for row in got if row[0] == "daily"]
    expected = {(zone, step, day): _instant(day, at, zone) for zone in _ZONES for step, at in _TIMES.items() for day in days}
    assert {(zone, step, day): due for zone, step, day, due, _, _ in daily} == expected
    assert len(daily) == len(expected)
    for *what, due, state, sent in daily:
        assert state == "sent", what
        assert timedelta() <= sent - due <= _EVERY, what
    assert set(times_sent(engine).values()) == {1}
    assert sum(in_outbox(project.root).values()) == sum(state == "sent" for *_, state, _ in got)


def test_a_fortnight_in_which_summer_time_ends_twice(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """In Berlin on 25 October 2026, in New York on 1 November. Birthdays of every day are greeted at nine, wherever they live."""
    days = _days(date(2026, 10, 21), 14)
    project = _shop(tmp_path / "shop", database_url, days)
    born = {f"{zone}-{day:%m-%d}": (zone, day) for zone in ("Europe/Berlin", "America/New_York") for day in days[::2]}
    with writing(engine) as connection:
        for zone in _ZONES:
            add_customer(connection, zone, _BEFORE, local_zone=zone)
        for name, (zone, day) in born.items():
            birth = {"birth_year": 1980, "birth_month": day.month, "birth_day": day.day}
            nobody = {"email_service": False}  # but for the greeting
            add_customer(connection, name, _BEFORE, local_zone=zone, **birth, **nobody)
    _run(engine, project, days)
    _expect_all_once(engine, project, days)
    greetings = [row[1:] for row in rows(engine, "campaign", "external_id", "step", "due_at", "state") if row[0] == "birthday"]
    for name, (zone, day) in born.items():
        assert (name, "greeting", _instant(day, time(9), zone), "sent") in greetings
        if day <= days[-4]:
            assert (name, "reminder", _instant(day + timedelta(days=3), time(9), zone), "sent") in greetings


@pytest.mark.parametrize(
    "first", [date(2027, 3, 12), date(2027, 3, 26), date(2026, 10, 2)], ids=["new-york", "berlin", "lord-howe"]
)
def test_days_on_which_summer_time_begins(first: date, tmp_path: Path) -> None:
    """On the third of these days; the database has no part in it, so one is enough."""
    engine = open_engine(url := f"sqlite:///{tmp_path}/winback.sqlite")
    migrate(engine)
    days = _days(first, 4)
    project = _shop(tmp_path / "shop", url, days)
    with writing(engine) as connection:
        for zone in _ZONES:
            add_customer(connection, zone, _BEFORE, local_zone=zone)
    _run(engine, project, days)
    _expect_all_once(engine, project, days)
    engine.dispose()
