"""Rules of countries: whose they are, when they let marketing go, and that planning and dispatch agree, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from tests.project.builder import campaign, sms_step, write_shop
from tests.rows import add_customer, add_message
from winback.plan import explain, plan, previewing
from winback.policy import Action, Timetable, Verdict, after_moment, country_of, recheck
from winback.project import Project, load_project
from winback.project.quiet_hours import QuietHourSettings, shipped_rules
from winback.store import Channel, customers, enrollments, messages, reading, writing

#: Ascension Day, ten in the morning in Paris.
HOLIDAY = datetime(2027, 5, 6, 8, tzinfo=UTC)
NEXT_DAY = HOLIDAY + timedelta(days=1)
PARIS = ZoneInfo("Europe/Paris")

TEXT = campaign(
    audience={"preset": "everyone", "on": [date(2027, 5, 6)]},
    schedule={"at": "10:00", "late": "2d"},
    steps=[sms_step("text"), sms_step("again", after="2d")],
)
PHONE = {
    "phone": "+33612345678",
    "phone_hash": "f" * 32,
    "sms_marketing": True,
    "sms_service": True,
    "local_zone": "Europe/Paris",
}


def _shop(folder: Path, **settings: Any) -> Project:
    written = {"shop": {"zone": "Europe/Berlin", "region": "US"}, "quiet_hours": {"country_rules": True}, **settings}
    campaigns = {"text": TEXT, "service": campaign(purpose="service", steps=[sms_step("text")])}
    return load_project(write_shop(folder, campaigns=campaigns, settings=written), environ={})


def test_every_rule_that_comes_along_says_whose_it_is_and_when_it_was_read() -> None:
    rules = shipped_rules()
    assert "Not legal advice" in rules.notice
    assert {"FR", "US", "ZA"} <= set(rules.countries)
    for country, rule in rules.countries.items():
        assert rule.source.startswith("https://"), country
        assert rule.read <= rules.as_of, country
        assert rule.sms or rule.email, country
        assert not rule.holidays or QuietHourSettings(countries={country: rule}), country  # its holidays are known


def test_the_page_tells_the_rules_that_come_along() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    rules = shipped_rules()
    assert f"read on {rules.as_of}" in page
    rows = {
        line.split("`")[1]: line for line in page.splitlines() if line.startswith("| ") and "(`" in line and "](https" in line
    }
    assert set(rows) == set(rules.countries)
    for country, rule in rules.countries.items():
        told = [rule.source, str(rule.sms or rule.email)]
        told += ["e-mail"] * bool(rule.email) + ["Sundays"] * bool(rule.sundays) + ["holidays"] * bool(rule.holidays)
        assert [each for each in told if each not in rows[country]] == []


@pytest.mark.parametrize(
    ("person", "country"),
    [
        ({"country": "FR", "phone": "+12125550123"}, "FR"),
        ({"country": "DE", "phone": "+33612345678"}, ""),
        ({"country": None, "phone": "+33612345678"}, "FR"),
        ({"country": None, "phone": "+4915112345678"}, ""),
        ({"country": None, "phone": "+12125550123", "local_zone": "America/New_York"}, "US"),
        ({"country": None, "phone": "+12125550123", "local_zone": "Europe/Paris"}, "US"),
        ({"country": None, "phone": "+14165550123", "local_zone": "America/Toronto"}, ""),
        ({"country": None, "phone": None}, "US"),  # the shop's
    ],
)
def test_whose_rules_hold(engine: Engine, tmp_path: Path, person: dict[str, Any], country: str) -> None:
    project = _shop(tmp_path)
    with writing(engine) as connection:
        add_customer(connection, "C1", HOLIDAY, **person)
        found = {
            name: connection.scalar(select(country_of(project, each, customers))) for name, each in project.campaigns.items()
        }
    assert found == {"text": country, "service": ""}


def test_of_a_code_with_several_countries_another_one_than_the_main_one_is_found_too(engine: Engine, tmp_path: Path) -> None:
    own = {"quiet_hours": {"countries": {"CA": {"sms": "21:00-09:00"}}}}
    project = _shop(tmp_path, **own)
    with writing(engine) as connection:
        for name, zone in (("TORONTO", "America/Toronto"), ("BOSTON", "America/New_York")):
            add_customer(connection, name, HOLIDAY, phone="+14165550123", local_zone=zone)
        rows = connection.execute(select(customers.c.external_id, country_of(project, project.campaigns["text"], customers)))
        assert {tuple(row) for row in rows} == {("TORONTO", "CA"), ("BOSTON", "")}


def test_preview_and_plan_leave_a_holiday_out(engine: Engine, tmp_path: Path) -> None:
    project = _shop(tmp_path)
    with writing(engine) as connection:
        add_customer(connection, "FRENCH", HOLIDAY, country="FR", **PHONE)
        add_customer(connection, "GERMAN", HOLIDAY, country="DE", **PHONE)
        plan(connection, project, HOLIDAY - timedelta(days=2))
    now = HOLIDAY - timedelta(hours=9)
    with previewing(engine, project, "text", now) as seen:
        shown = {send.customer: (send.due_at, send.due_on) for send in seen.sends() if send.step == "text"}
    with writing(engine) as connection:
        plan(connection, project, now)
    with reading(engine) as connection:
        rows = connection.execute(
            select(customers.c.external_id, messages.c.due_at, messages.c.due_on)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(messages.c.step == "text")
        )
        written = {row[0]: (row[1], row[2]) for row in rows}
        waits = explain(connection, project, "text", "FRENCH", now).enrollments[0].due_at
    french, german = (NEXT_DAY, date(2027, 5, 7)), (HOLIDAY, date(2027, 5, 6))
    assert shown["GERMAN"] == written["GERMAN"] == german
    assert shown["FRENCH"] == french
    assert written.get("FRENCH", french) == french
    assert waits is not None
    assert waits >= NEXT_DAY


@pytest.mark.parametrize(
    ("person", "columns", "now", "expected"),
    [
        ({"country": "FR"}, {}, HOLIDAY, NEXT_DAY.replace(hour=7)),  # nine, when the shop's own night is over
        ({"country": "DE"}, {}, HOLIDAY, None),
        ({"country": None}, {}, HOLIDAY, NEXT_DAY.replace(hour=7)),
        ({"country": "FR"}, {"campaign": "service"}, HOLIDAY, None),
        ({"country": "FR"}, {}, NEXT_DAY, None),
    ],
)
def test_dispatch_puts_off_to_the_next_time_that_is_open(
    engine: Engine, tmp_path: Path, person: dict[str, Any], columns: dict[str, Any], now: datetime, expected: datetime | None
) -> None:
    project = _shop(tmp_path)
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", HOLIDAY, **{**PHONE, **person})
        details = {"campaign": "text", "step": "text", "channel": "sms", "state": "sending", "sent_at": None, **columns}
        message = add_message(connection, customer, now, **details)
        connection.execute(enrollments.update().values(zone="Europe/Paris"))
        verdict = recheck(connection, project, [message], now).get(message)
    assert verdict == (None if expected is None else Verdict(Action.DEFER, "country", "country", until=expected))


def test_what_is_put_off_too_long_is_late(engine: Engine, tmp_path: Path) -> None:
    project = _shop(tmp_path)
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", HOLIDAY, country="FR", **PHONE)
        details = {"campaign": "text", "step": "text", "channel": "sms", "state": "sending", "sent_at": None}
        message = add_message(connection, customer, HOLIDAY, valid_until=HOLIDAY + timedelta(hours=2), **details)
        verdict = recheck(connection, project, [message], HOLIDAY + timedelta(hours=3)).get(message)
    assert verdict == Verdict(Action.SKIP, "late", "late")


@given(
    moment=st.integers(1_767_225_600, 1_893_456_000).map(lambda second: datetime.fromtimestamp(second, UTC)),  # 2026 to 2029
    country=st.sampled_from(sorted(shipped_rules().countries)),
    channel=st.sampled_from(list(Channel)),
)
def test_a_slot_is_open_and_the_first_that_is(moment: datetime, country: str, channel: Channel) -> None:
    countries = QuietHourSettings(country_rules=True).by_country(channel)
    table = Timetable(None, None, None, countries)
    slot = after_moment(moment, timedelta(), table, PARIS, country)
    assert slot.at >= moment
    assert slot.at - moment < timedelta(days=5)
    assert after_moment(slot.at, timedelta(), table, PARIS, country) == slot
    if slot.at > moment:
        assert after_moment(slot.at - timedelta(minutes=1), timedelta(), table, PARIS, country) == slot
