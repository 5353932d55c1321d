"""One pass: who comes in, which messages are written, and why the others get none; on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, event, func, insert, select, text, update

from tests.plan.conftest import ShopMaker
from tests.rows import add_customer, add_order
from winback.audience import Segment
from winback.audience.presets import EnteredSegment
from winback.plan import explain, forecast, plan, previewing
from winback.plan.steps import _PEOPLE
from winback.plan.tables import own_tables
from winback.project import Project
from winback.store import (
    campaign_states,
    customers,
    enrollments,
    interactions,
    messages,
    orders,
    plan_funnels,
    reading,
    segment_members,
    suppressions,
    writing,
)

BERLIN = ZoneInfo("Europe/Berlin")

SLEEPING = """
title = "Wake sleeping customers"
goal = "An order"
purpose = "marketing"
priority = 40
[audience]
preset = "sleeping"
inactive = "90d..365d"
[schedule]
at = "09:30"
[limits]
cooldown = "120d"
[exit]
when = "ordered"
[[steps]]
name = "hello"
channel = "email"
template = "sleeping/hello"
subject = "Hello"
[[steps]]
name = "offer"
after = "7d"
only_if = "not clicked('hello')"
channel = "email"
template = "sleeping/offer"
subject = "An offer"
"""

BIRTHDAY = """
title = "Birthday"
goal = "An order"
purpose = "marketing"
priority = 20
[audience]
preset = "birthday"
[schedule]
at = "09:00"
late = "12h"
[[steps]]
name = "greeting"
channel = "email"
template = "birthday/greeting"
subject = "Happy birthday"
"""


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def _sleeper(engine: Engine, external_id: str, now: datetime, days: int = 100, **columns: object) -> int:
    with writing(engine) as connection:
        customer = add_customer(connection, external_id, now - timedelta(days=400), **columns)
        add_order(connection, f"O-{external_id}", customer, now - timedelta(days=days))
    return customer


def _messages(engine: Engine, *columns: str) -> list[tuple[object, ...]]:
    wanted = [customers.c[name] if name in customers.c and name not in messages.c else messages.c[name] for name in columns]
    with reading(engine) as connection:
        rows = connection.execute(
            select(*wanted)
            .join_from(messages, customers, customers.c.id == messages.c.customer_id)
            .order_by(messages.c.due_at, customers.c.external_id, messages.c.step)
        )
        return [tuple(row) for row in rows]


def _plan(engine: Engine, project: Project, now: datetime):  # type: ignore[no-untyped-def]
    with writing(engine) as connection:
        result = plan(connection, project, now)
    assert [campaign.error for campaign in result.campaigns] == [None] * len(result.campaigns)
    return result


def test_an_enrollment_about_the_last_order_knows_its_row(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    """The audience does not look the orders up: only those who come in need theirs."""
    project = make_shop(sleeping=SLEEPING)
    with writing(engine) as connection:
        for name in ("ANNA", "BEN"):
            customer = add_customer(connection, name, now - timedelta(days=500), email_marketing=True)
            for days in (300, 100):
                add_order(connection, f"{name}-{days}", customer, now - timedelta(days=days))
        plan(connection, project, now)
        about = select(enrollments.c.occasion, orders.c.external_id).join(orders, orders.c.id == enrollments.c.order_id)
        assert sorted(map(tuple, connection.execute(about))) == [("ANNA-100", "ANNA-100"), ("BEN-100", "BEN-100")]


def test_postgresql_begins_each_part_of_the_people_where_the_one_before_ended(engine: Engine) -> None:
    """It read all enrollments from the first on for each part: of a million people most of a pass."""
    if engine.dialect.name == "sqlite":
        pytest.skip("it looks each enrollment up")
    with writing(engine) as connection, own_tables(connection):
        asked = _PEOPLE.params(last=7).compile(engine, compile_kwargs={"literal_binds": True})
        steps = str(connection.exec_driver_sql(f"EXPLAIN {asked}").all())
    assert "(enrollment_id > 7)" in steps
    assert "(id > 7)" in steps


def test_postgresql_sorts_a_pass_in_memory(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("it has its memory from when the file is opened")
    with writing(engine) as connection:
        plan(connection, make_shop(sleeping=SLEEPING), now)
        assert connection.scalar(text("SHOW work_mem")) == "32MB"
    with reading(engine) as connection:
        assert connection.scalar(text("SHOW work_mem")) == "4MB"


def test_a_sleeper_comes_in_once_and_gets_a_message_a_day_ahead(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    _sleeper(engine, "C1", now)
    first = _plan(engine, project, now)  # Tuesday 11:00 in Berlin: due on Wednesday at 09:30
    assert (first.enrolled, first.planned) == (1, 1)
    assert _messages(engine, "external_id", "step", "state", "due_at", "valid_until") == [
        ("C1", "hello", "planned", _at("2026-11-25T09:30"), _at("2026-11-25T21:30"))
    ]
    again = _plan(engine, project, now + timedelta(minutes=1))
    assert (again.enrolled, again.planned) == (0, 0)
    assert again.campaigns[0].already == 1


def test_the_ages_are_inclusive_and_nobody_else_comes_in(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    for days in (89, 90, 200, 365, 366):
        _sleeper(engine, f"D{days:03}", now, days)
    _plan(engine, project, now)
    assert [row[0] for row in _messages(engine, "external_id")] == ["D090", "D200", "D365"]


def test_the_funnel_counts_the_first_rule_that_turns_each_away(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    _sleeper(engine, "OK", now)
    _sleeper(engine, "NEVER-ASKED", now, email_marketing=None)
    _sleeper(engine, "SAID-NO", now, email_marketing=False)
    _sleeper(engine, "NO-ADDRESS", now, email=None, email_hash=None)
    _sleeper(engine, "ERASED", now, erased_at=now)
    _sleeper(engine, "BOUNCED", now, email_hash="b" * 32)
    with writing(engine) as connection:
        connection.execute(
            insert(suppressions).values(channel="email", address_hash="b" * 32, reason="hard_bounce", at=now, source="test")
        )
    [outcome] = _plan(engine, project, now).campaigns
    assert outcome.audience == 6
    assert outcome.turned_away == {"no_consent": 2, "no_address": 1, "erased": 1, "suppressed": 1}
    assert outcome.enrolled == 1
    with reading(engine) as connection:
        stored = dict(
            connection.execute(select(plan_funnels.c.rule, plan_funnels.c.count).where(plan_funnels.c.stage == "enroll")).all()
        )
    assert stored == {"audience": 6, "enrolled": 1, **outcome.turned_away}


def test_the_next_step_is_planned_when_its_time_comes_and_only_if_its_condition_holds(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(sleeping=SLEEPING)
    for name in ("CLICKER", "SILENT"):
        _sleeper(engine, name, now)
    _plan(engine, project, now)
    sent = _at("2026-11-25T09:30")
    with writing(engine) as connection:
        connection.execute(update(messages).values(state="sent", sent_at=sent))
        clicked = connection.execute(
            select(messages.c.id, messages.c.customer_id)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(customers.c.external_id == "CLICKER")
        ).one()
        connection.execute(
            insert(interactions).values(
                message_id=clicked.id,
                customer_id=clicked.customer_id,
                campaign="sleeping",
                step="hello",
                kind="click",
                klass="human",
                at=sent + timedelta(hours=1),
            )
        )
    early = _plan(engine, project, _at("2026-12-02T09:29"))
    assert early.planned == 0  # a step with only_if is asked when it is due, not a day ahead
    due = _plan(engine, project, _at("2026-12-02T09:30"))
    assert (due.planned, due.skipped) == (1, 1)
    assert _messages(engine, "external_id", "step", "state", "reason")[2:] == [
        ("CLICKER", "offer", "skipped", "only_if"),
        ("SILENT", "offer", "planned", None),
    ]
    with reading(engine) as connection:
        assert connection.scalars(select(enrollments.c.state)).all() == ["finished", "finished"]


def test_an_order_ends_the_campaign_for_the_person(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    customer = _sleeper(engine, "C1", now)
    _plan(engine, project, now)
    with writing(engine) as connection:
        add_order(connection, "O-NEW", customer, now + timedelta(days=2))
    result = _plan(engine, project, _at("2026-12-02T09:30"))
    assert result.planned == 0
    with reading(engine) as connection:
        assert connection.execute(select(enrollments.c.state, enrollments.c.exit_reason)).all() == [("exited", "exit")]


def test_what_is_too_late_is_skipped_with_the_reason(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    """The daemon was away for three days: no backlog."""
    project = make_shop(sleeping=SLEEPING)
    _sleeper(engine, "C1", now)
    with writing(engine) as connection:
        plan(connection, project, now)
    result = _plan(engine, project, now + timedelta(days=11))
    assert result.planned == 0
    assert ("offer", "skipped", "late") in _messages(engine, "step", "state", "reason")


def test_a_birthday_is_greeted_on_the_day_in_every_zone(engine: Engine, make_shop: ShopMaker) -> None:
    project = make_shop(birthday=BIRTHDAY)
    start = datetime(2026, 11, 24, 0, 0, tzinfo=UTC)
    zones = {"AUCKLAND": "Pacific/Auckland", "BERLIN": "Europe/Berlin", "HONOLULU": "Pacific/Honolulu"}
    with writing(engine) as connection:
        for name, zone in zones.items():
            add_customer(connection, name, start, local_zone=zone, birth_month=11, birth_day=26)
        add_customer(connection, "OTHER-DAY", start, birth_month=11, birth_day=30)
    for hours in range(0, 24 * 4, 6):
        _plan(engine, project, start + timedelta(hours=hours))
    rows = _messages(engine, "external_id", "due_at")
    assert sorted(rows) == sorted(
        (name, datetime(2026, 11, 26, 9, tzinfo=ZoneInfo(zone)).astimezone(UTC)) for name, zone in zones.items()
    )


def test_the_campaign_that_goes_first_wins_the_place_under_the_cap(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    """Both want the same Wednesday morning; e-mail is capped at one in sixteen hours."""
    project = make_shop(sleeping=SLEEPING, birthday=BIRTHDAY)
    _sleeper(engine, "C1", now, birth_month=11, birth_day=25)
    result = _plan(engine, project, now)
    assert _messages(engine, "campaign", "state") == [("birthday", "planned")]
    assert next(step.deferred for outcome in result.campaigns if outcome.campaign == "sleeping" for step in outcome.steps) == 1
    with reading(engine) as connection:
        waiting = connection.execute(
            select(enrollments.c.due_at, enrollments.c.waiting).where(enrollments.c.campaign == "sleeping")
        ).one()
    assert waiting == (_at("2026-11-26T09:30"), "capped")
    _plan(engine, project, now + timedelta(days=1))
    assert _messages(engine, "campaign", "state", "due_at")[1] == ("sleeping", "planned", _at("2026-11-26T09:30"))


def test_a_holdout_gets_virtual_messages_only(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING + '\n[measure]\nholdout = "50%"\n')
    for number in range(40):
        _sleeper(engine, f"C{number:02}", now)
    result = _plan(engine, project, now)
    assert result.planned + result.held_out == 40
    assert 8 <= result.held_out <= 32
    states = {row[0] for row in _messages(engine, "state")}
    assert states == {"planned", "held_out"}


def test_a_fallback_reaches_by_sms_who_has_no_address(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    with_fallback = SLEEPING.replace(
        'subject = "Hello"', 'subject = "Hello"\nfallback = { channel = "sms", on = ["no_address", "no_consent"] }'
    )
    project = make_shop(sleeping=with_fallback)
    _sleeper(engine, "BY-SMS", now, email=None, email_hash=None, phone="+4915112345678", phone_hash="p" * 32, sms_marketing=True)
    _sleeper(engine, "NEITHER", now, email=None, email_hash=None, phone="+4915112345679", phone_hash="q" * 32)
    [outcome] = _plan(engine, project, now).campaigns
    assert _messages(engine, "external_id", "channel", "state") == [("BY-SMS", "sms", "planned")]
    assert outcome.turned_away == {"no_address": 1}


def test_a_pause_stops_the_campaign_and_a_step_gone_from_the_file_lets_people_go(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(sleeping=SLEEPING)
    _sleeper(engine, "C1", now)
    _plan(engine, project, now)
    with writing(engine) as connection:
        connection.execute(update(campaign_states).values(paused_at=now))
    _sleeper(engine, "C2", now)
    [outcome] = _plan(engine, project, now).campaigns
    assert (outcome.paused, outcome.enrolled) == (True, 0)
    with writing(engine) as connection:
        connection.execute(update(campaign_states).values(paused_at=None))
    shorter = make_shop(sleeping=SLEEPING[: SLEEPING.rindex("[[steps]]")])
    [outcome] = _plan(engine, shorter, now).campaigns
    assert (outcome.enrolled, outcome.removed) == (1, 1)


def test_a_preview_writes_nothing_and_shows_what_a_pass_then_does(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    for number in range(5):
        _sleeper(engine, f"C{number}", now, email_marketing=number < 3)
    with previewing(engine, project, "sleeping", now) as seen:
        people = list(seen.people())
        sends = seen.sends(10)
    assert [person.customer for person in people if person.chosen] == ["C0", "C1", "C2"]
    assert {person.reason for person in people if not person.chosen} == {"no_consent"}
    with reading(engine) as connection:
        counts = [
            connection.scalar(select(func.count()).select_from(table))
            for table in (enrollments, messages, plan_funnels, campaign_states)
        ]
    assert counts == [0, 0, 0, 0]
    _plan(engine, project, now)
    written = [(send.customer, send.step, send.due_at) for send in sends if send.message_id]
    assert written == _messages(engine, "external_id", "step", "due_at")


@pytest.mark.parametrize(
    ("columns", "failure"),
    [
        ({}, None),
        ({"email_marketing": None}, "no_consent"),
        ({"email": None}, "no_address"),
        ({"erased_at": datetime(2026, 1, 1, tzinfo=UTC)}, "erased"),
    ],
)
def test_explain_agrees_with_the_planner(
    engine: Engine, make_shop: ShopMaker, now: datetime, columns: dict[str, object], failure: str | None
) -> None:
    project = make_shop(sleeping=SLEEPING)
    _sleeper(engine, "C1", now, **columns)
    with reading(engine) as connection:
        answer = explain(connection, project, "sleeping", "C1", now)
    assert answer.chosen is (failure is None)
    assert (answer.first_failure and answer.first_failure.rule) == failure
    [outcome] = _plan(engine, project, now).campaigns
    assert outcome.turned_away == ({failure: 1} if failure else {})


def test_explain_tells_what_was_sent_before(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    _sleeper(engine, "C1", now)
    _plan(engine, project, now)
    with reading(engine) as connection:
        answer = explain(connection, project, "sleeping", "C1", now)
    assert answer.first_failure is not None
    assert answer.first_failure.rule == "already"
    [note] = answer.enrollments
    assert (note.state, note.next_step) == ("active", "offer")
    assert [(step.step, step.state) for step in note.steps] == [("hello", "planned")]


def test_only_the_last_funnel_is_kept(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    for number in range(2):
        _sleeper(engine, f"C{number}", now)
        _plan(engine, project, now + timedelta(minutes=number))
    with reading(engine) as connection:
        kept = connection.execute(select(plan_funnels.c.at, plan_funnels.c.count).where(plan_funnels.c.rule == "enrolled")).all()
    assert [tuple(row) for row in kept] == [(now + timedelta(minutes=1), 1)]


def _beginning_with(project: Project, segment: Segment, *others: Segment) -> Project:
    """Return a shop with one more campaign, which people enter by a segment."""
    audience = EnteredSegment(preset="segment", segment=segment.name)
    entered = project.campaigns["sleeping"].model_copy(update={"name": "entered", "audience": audience})
    segments = {each.name: each for each in (segment, *others)}
    return replace(project, campaigns={**project.campaigns, "entered": entered}, segments=segments)


def test_a_segment_that_cannot_be_asked_holds_nobody_up(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    broken = Segment(name="broken", title="Broken", where="no_such_field = 1")  # files like this are refused; a plan survives it
    project = _beginning_with(make_shop(sleeping=SLEEPING), broken)
    _sleeper(engine, "C1", now)
    with writing(engine) as connection:
        result = plan(connection, project, now)
    assert result.planned == 1
    assert [error.partition(":")[0] for error in result.errors] == ["segments could not be kept up"]


def test_a_campaign_that_fails_in_any_way_holds_up_no_other(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    endless = project.campaigns["sleeping"].steps[0].model_copy(update={"after": timedelta(days=4_000_000)})
    broken = project.campaigns["sleeping"].model_copy(update={"name": "broken", "steps": (endless,)})
    _sleeper(engine, "C1", now)
    with writing(engine) as connection:
        result = plan(connection, replace(project, campaigns={"broken": broken, **project.campaigns}), now)
    assert [(campaign.campaign, campaign.error) for campaign in result.campaigns] == [
        ("broken", "StatementError: date value out of range"),
        ("sleeping", None),
    ]
    assert _messages(engine, "external_id", "campaign") == [("C1", "sleeping")]


def test_a_time_zone_that_means_nothing_is_taken_for_the_shops(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    for name, zone in (("C1", "Mars/Olympus"), ("C2", project.settings.shop.zone)):
        _sleeper(engine, name, now, local_zone=zone)
    _plan(engine, project, now)
    (first, due), (second, same) = _messages(engine, "external_id", "due_at")
    assert (first, second, due) == ("C1", "C2", same)
    for due in (now + timedelta(days=1), now + timedelta(days=8)):  # the next step is counted from there
        _plan(engine, project, due)
    assert [row[0] for row in _messages(engine, "step")] == ["hello", "hello", "offer", "offer"]


def test_who_enters_is_noted_for_segments_that_a_campaign_begins_with_only(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    german = Segment(name="german", title="German", where="in_segment('european') and country = 'DE'")
    european = Segment(name="european", title="European", where="country in ('DE', 'FR')")
    project = _beginning_with(make_shop(sleeping=SLEEPING), german, european)
    _plan(engine, project, now)
    _sleeper(engine, "C1", now, days=10, country="DE")
    _sleeper(engine, "C2", now, days=10, country="FR")
    _plan(engine, project, now + timedelta(minutes=1))
    with reading(engine) as connection:
        assert set(connection.scalars(select(segment_members.c.segment))) == {"german"}
        assert connection.scalars(select(enrollments.c.campaign)).all() == ["entered"]


def test_the_forecast_counts_what_comes(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(sleeping=SLEEPING)
    for number in range(3):
        _sleeper(engine, f"C{number}", now)
    _plan(engine, project, now)
    with reading(engine) as connection:
        coming = forecast(connection, project, now)
    assert [(item.step, item.first_at, item.count) for item in coming] == [
        ("hello", _at("2026-11-25T09:30"), 3),
        ("offer", _at("2026-12-02T09:30"), 3),
    ]


@pytest.mark.parametrize("table", ["segment_members", "message_history"])
def test_postgresql_reads_no_table_for_each_row_that_it_adds_to_it(
    engine: Engine, make_shop: ShopMaker, now: datetime, table: str
) -> None:
    """A table that it takes for empty it reads from end to end each time, with all that the statement has added so far."""
    if engine.dialect.name == "sqlite":
        pytest.skip("it looks each of them up by an index")
    german = Segment(name="german", title="German", where="country = 'DE'")
    project = _beginning_with(make_shop(sleeping=SLEEPING), german)
    _sleeper(engine, "C1", now)
    said: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
        said.append(statement)

    _plan(engine, project, now)
    written = [statement for statement in said if f"INSERT INTO {table} " in statement]
    assert written
    assert not any(f"FROM {table}" in statement for statement in written)
