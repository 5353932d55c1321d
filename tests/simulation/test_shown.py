"""What a simulation shows: volume, caps, who gives way to whom, odd days, coupons, text messages; and that it leaves no trace."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from tests.project.builder import campaign, email_step, sms_step
from tests.rows import add_customer, add_message, add_order
from tests.scheduler.shops import make_shop
from winback.project import Project
from winback.project.settings import LimitSettings
from winback.simulation import Assumptions, Simulated, Span, simulate
from winback.store import messages, metadata, orders, reading, writing
from winback.store.scratch import scratch_copy

START = datetime(2027, 2, 26, 6, 0, tzinfo=UTC)

_NEWS = campaign(
    title="News",
    priority=60,
    audience={"preset": "everyone", "on": [date(2027, 3, 1)]},
    schedule={"at": "10:00"},
    steps=[email_step("news", coupon={"pool": "NEWS", "expires": "3d"})],
)
_BIRTHDAY = campaign(
    title="Birthday", priority=20, audience={"preset": "birthday"}, schedule={"at": "09:00"}, steps=[email_step("greeting")]
)
_TEXT = campaign(
    title="Text",
    purpose="service",
    audience={"preset": "everyone", "on": [date(2027, 3, 2)]},
    schedule={"at": "12:00"},
    steps=[sms_step("text")],
)

ASSUMED = Assumptions.model_validate(
    {
        "email": {"open": "60%", "click": "40%", "order": "30%", "unsubscribe": "10%"},
        "orders": {"as_last_year": False},
        "coupons": {"NEWS": 5, "UNUSED": 9},
    }
)


@pytest.fixture
def project(tmp_path: Path, database_url: str, engine: Engine) -> Project:
    """Give a shop in Berlin with twenty people, two of whom were born on 29 February and one on 1 March."""
    with writing(engine) as connection:
        for number in range(20):
            birth: dict[str, Any] = {"birth_month": 2, "birth_day": 29} if number < 2 else {}
            if number == 2:
                birth = {"birth_month": 3, "birth_day": 1}
            phone = {"phone": f"+4915112345{number:03}", "phone_hash": f"{number:0>32}"}
            add_customer(connection, f"C{number:02}", START - timedelta(days=500), attributes={"n": number}, **phone, **birth)
    return make_shop(
        tmp_path / "shop",
        database_url,
        {"news": _NEWS, "birthday": _BIRTHDAY, "text": _TEXT},
        settings={"deliver": {"sms_price": "0.075"}, "limits": {"email": ["1 in 16h"]}},
    )


def _play(engine: Engine, project: Project, days: int, assumed: Assumptions = ASSUMED, shown: datetime = START) -> Simulated:
    span = Span(START, shown, START + timedelta(days=days))
    with scratch_copy(engine) as connection:
        played = simulate(connection, project, assumed, span, every=timedelta(hours=12))
    assert played.errors == []
    return played


@pytest.mark.parametrize("limit", ["marketing", "total"])
def test_a_cap_over_all_channels_is_in_the_way_too(engine: Engine, project: Project, limit: str) -> None:
    limits = LimitSettings.model_validate({"email": [], limit: ["1 in 16h"]})
    project = replace(project, settings=project.settings.model_copy(update={"limits": limits}))
    played = _play(engine, project, days=5)
    assert [asdict(loss) for loss in played.losses] == [{"loser": "news", "winner": "birthday", "channel": "email", "count": 1}]
    assert [asdict(hit) for hit in played.caps] == [{"campaign": "news", "limit": limit, "cap": "1 in 16h", "count": 1}]


def test_all_that_is_shown(engine: Engine, project: Project) -> None:
    """The database that is copied is SQLite's and PostgreSQL's; both give the same."""
    before = _counts(engine)
    played = _play(engine, project, days=8)
    by_day = {(day.on.isoformat(), day.campaign): day.count for day in played.volume}
    # Those born on 29 February are greeted on the 28th; who has a birthday on the day of the news gets it a day later.
    assert by_day == {
        ("2027-02-28", "birthday"): 2,
        ("2027-03-01", "birthday"): 1,
        ("2027-03-01", "news"): 19,
        ("2027-03-02", "news"): 1,
        ("2027-03-02", "text"): 20,
    }
    assert [asdict(loss) for loss in played.losses] == [{"loser": "news", "winner": "birthday", "channel": "email", "count": 1}]
    assert [asdict(hit) for hit in played.caps] == [{"campaign": "news", "limit": "email", "cap": "1 in 16h", "count": 1}]
    totals = {total.campaign: total for total in played.campaigns}
    assert (totals["news"].enrolled, totals["news"].put_off, totals["birthday"].enrolled) == (20, 1, 3)
    assert 0 < totals["news"].orders <= totals["news"].clicks <= totals["news"].opens < 20
    assert [(day.on, day.where, day.messages) for day in played.odd_days] == [(date(2027, 2, 28), "birthday", 2)]
    news, unused = played.coupons
    assert (news.given, news.valid_at_end, news.left, news.runs_out_on) == (20, 0, 0, date(2027, 3, 1))
    assert (unused.pool, unused.given, unused.left) == ("UNUSED", 0, 9)
    assert [(use.messages, use.parts, use.cost_minor) for use in played.sms] == [(20, 20, 150)]
    assert _counts(engine) == before


def _counts(engine: Engine) -> dict[str, int]:
    with reading(engine) as connection:
        return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in metadata.sorted_tables}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_days_on_which_clocks_change_are_named_also_where_looks_are_rare(engine: Engine, project: Project) -> None:
    """After a fortnight the campaigns are looked at once a day; a birthday is greeted all the same, at nine by the new clock."""
    with writing(engine) as connection:
        for day in (27, 28, 29):
            add_customer(connection, f"B{day}", START - timedelta(days=9), birth_month=3, birth_day=day)
    start = datetime(2027, 3, 12, tzinfo=UTC)
    with scratch_copy(engine) as connection:
        played = simulate(connection, project, ASSUMED, Span(start, start, start + timedelta(days=18)), every=timedelta(days=4))
        due = connection.scalars(select(messages.c.due_at).order_by(messages.c.due_at)).all()
    assert due == [
        datetime(2027, 3, 27, 8, tzinfo=UTC),
        datetime(2027, 3, 28, 7, tzinfo=UTC),
        datetime(2027, 3, 29, 7, tzinfo=UTC),
    ]
    assert [asdict(day) for day in played.odd_days] == [
        {"on": date(2027, 3, 28), "what": "clocks go forward by 60 minutes", "where": "Europe/Berlin", "messages": 1}
    ]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_same_seed_gives_the_same_and_another_other_people(engine: Engine, project: Project) -> None:
    first, again = (_play(engine, project, days=5) for _ in range(2))
    assert first == again
    other = _play(engine, project, days=5, assumed=ASSUMED.model_copy(update={"seed": 2}))
    assert other.volume == first.volume
    assert other.campaigns != first.campaigns


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_comes_before_the_first_day_is_played_and_not_shown(engine: Engine, project: Project) -> None:
    shown = _play(engine, project, days=5, shown=START + timedelta(days=3, hours=12))
    assert {day.campaign for day in shown.volume} == {"news", "text"}
    totals = {total.campaign: total for total in shown.campaigns}
    assert (totals["birthday"].enrolled, totals["birthday"].email, totals["news"].email) == (0, 0, 1)
    assert [pool.given for pool in shown.coupons] == [1, 0]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_people_order_again_what_they_ordered_a_year_ago(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        customer = add_customer(connection, "BUYER", START - timedelta(days=500))
        for days in (363, 300):
            add_order(connection, f"O-{days}", customer, START - timedelta(days=days))
        add_order(connection, "VOID", customer, START - timedelta(days=362), status="cancelled")
        add_message(connection, customer, START - timedelta(days=1))
    with scratch_copy(engine) as connection:
        assumed = Assumptions.model_validate({"email": {"open": "0%", "click": "0%", "order": "0%"}})
        span = Span(START, START, START + timedelta(days=3))
        simulate(connection, project, assumed, span, every=timedelta(hours=12))
        placed = connection.execute(select(orders.c.external_id, orders.c.placed_at).where(orders.c.placed_at > START)).all()
    assert [tuple(row) for row in placed] == [("O-363 +1", START - timedelta(days=363) + timedelta(weeks=52))]
