"""Nobody gets a backlog: after a stop, when a campaign is switched on or edited, and when somebody has said no."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from tests.project.builder import campaign, email_step
from tests.rows import add_customer, add_order
from tests.scheduler.shops import THANKS, WAKE, add_sleepers, in_outbox, make_shop, rows, states
from winback.clock import local_instant
from winback.project import Project
from winback.scheduler import PassOutcome, run_pass
from winback.store import writing

_BERLIN = ZoneInfo("Europe/Berlin")

BIRTHDAY = campaign(
    title="Birthday", audience={"preset": "birthday"}, schedule={"at": "09:00", "late": "12h"}, steps=[email_step("greeting")]
)


def _at(day: date, hour: int = 12) -> datetime:
    return local_instant(day, time(hour), _BERLIN)


def _run(engine: Engine, project: Project, *moments: datetime) -> list[PassOutcome]:
    outcomes = [run_pass(engine, project, moment, "test") for moment in moments]
    assert [outcome.errors for outcome in outcomes] == [[]] * len(moments)
    return outcomes


def test_after_three_days_without_a_daemon_what_is_late_is_skipped_with_the_reason(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"birthday": BIRTHDAY})
    days = [date(2026, 11, 20) + timedelta(days=number) for number in range(7)]
    with writing(engine) as connection:
        for day in days:
            born = {"birth_month": day.month, "birth_day": day.day}
            add_customer(connection, f"B{day:%m%d}", datetime(2026, 1, 1, tzinfo=UTC), **born)
    # Up to the evening of the 20th; then nothing until noon of the 24th.
    _run(engine, project, _at(days[0], 8), _at(days[0], 10), _at(days[0], 20))
    [outcome] = _run(engine, project, _at(days[4]))
    got = {name: what for name, *what in rows(engine, "external_id", "state", "reason")}
    assert got["B1120"] == ["sent", None]
    assert [got[f"B{day:%m%d}"] for day in days[1:4]] == [["skipped", "late"]] * 3
    assert got["B1124"] == ["sent", None]  # three hours late, and twelve are allowed
    assert got["B1125"] == ["planned", None]
    assert outcome.sent == 1
    assert in_outbox(project.root) == {"b1120@example.com": 1, "b1124@example.com": 1}


def test_a_sequence_goes_on_after_a_stop_without_catching_up(engine: Engine, database_url: str, tmp_path: Path) -> None:
    steps = [email_step("one"), email_step("two", after="2d"), email_step("three", after="4d")]
    wake = campaign(
        title="Wake", audience={"preset": "sleeping", "inactive": "90d"}, schedule={"at": "09:00", "late": "12h"}, steps=steps
    )
    project = make_shop(tmp_path / "shop", database_url, {"wake": wake})
    first = date(2026, 11, 20)
    add_sleepers(engine, 2, _at(first, 8))
    _run(engine, project, _at(first, 8), _at(first, 10))
    # A stop over the day of the second letter.
    _run(engine, project, _at(first + timedelta(days=4)), _at(first + timedelta(days=6), 10))
    assert Counter(rows(engine, "step", "state", "reason", "due_on")) == {
        ("one", "sent", None, first): 2,
        ("two", "skipped", "late", first + timedelta(days=2)): 2,
        ("three", "sent", None, first + timedelta(days=6)): 2,
    }


@pytest.mark.parametrize("was_there", [False, True], ids=["new", "switched on again"])
def test_switching_on_writes_to_nobody_about_the_past(
    was_there: bool, engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    folder = tmp_path / "shop"
    if was_there:
        _run(engine, make_shop(folder, database_url, {"thanks": THANKS}), now - timedelta(days=10))
        _run(engine, make_shop(folder, database_url, {"thanks": {**THANKS, "enabled": False}}), now - timedelta(days=9))
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", now - timedelta(days=400))
        # One thank-you would have been due four days ago, one this morning, one is due in an hour.
        for name, ago in (("O1", timedelta(days=5)), ("O2", timedelta(days=1, hours=2)), ("O3", timedelta(hours=23))):
            add_order(connection, name, customer, now - ago)
    project = make_shop(folder, database_url, {"thanks": THANKS})
    _run(engine, project, now, now + timedelta(minutes=59))
    assert in_outbox(folder) == {}
    _run(engine, project, now + timedelta(hours=1), now + timedelta(days=2))
    assert rows(engine, "due_at", "state") == [(now + timedelta(hours=1), "sent")]


_EDITS: dict[str, dict[str, Any]] = {
    "an earlier time": {"schedule": {"at": "07:00", "late": "12h"}},
    "an earlier offset": {"audience": {"preset": "birthday", "offset": "-3d"}},
    "a longer patience": {"schedule": {"at": "09:00", "late": "10d"}},
    "one more step before": {"steps": [email_step("teaser"), email_step("greeting", after="1d")]},
    "nothing but the words": {"title": "Another title"},
}


@pytest.mark.parametrize("edit", _EDITS)
def test_editing_a_running_campaign_sends_nothing_twice_and_nothing_from_before(
    edit: str, engine: Engine, database_url: str, tmp_path: Path
) -> None:
    folder, first = tmp_path / "shop", date(2026, 11, 20)
    project = make_shop(folder, database_url, {"birthday": BIRTHDAY})
    with writing(engine) as connection:
        for number in range(3):
            day = first - timedelta(days=number)
            add_customer(connection, f"B{number}", _at(date(2026, 1, 1)), birth_month=day.month, birth_day=day.day)
    _run(engine, project, _at(first, 8), _at(first, 10))
    assert in_outbox(folder) == {"b0@example.com": 1}  # the others had their birthdays before the campaign was there
    edited = make_shop(folder, database_url, {"birthday": {**BIRTHDAY, **_EDITS[edit]}})
    _run(engine, edited, *(_at(first + timedelta(days=days), 12) for days in range(4)))
    assert in_outbox(folder) == {"b0@example.com": 1}


def test_restarting_changes_nothing(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    folder = tmp_path / "shop"
    add_sleepers(engine, 3, now)
    for minutes in range(4):
        _run(engine, make_shop(folder, database_url, {"wake": WAKE}), now + timedelta(minutes=minutes))
    assert (states(engine), set(in_outbox(folder).values())) == ({"sent": 3}, {1})


def test_a_clock_that_was_set_back_sends_nothing_again(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE, "birthday": BIRTHDAY})
    add_sleepers(engine, 3, now, birth_month=11, birth_day=24)
    _run(engine, project, now)
    before = in_outbox(project.root)
    _run(engine, project, now - timedelta(days=2), now - timedelta(days=1), now, now + timedelta(hours=1))
    assert in_outbox(project.root) == before
