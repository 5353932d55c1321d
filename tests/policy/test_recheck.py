"""The rules asked again for what was claimed: what changed since planning is seen, each reason leads to its action."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, update

from tests.project.builder import campaign, email_step, sms_step, write_shop
from tests.rows import add_customer, add_message, add_order
from winback.policy import WITHDRAWN, Action, Verdict, recheck
from winback.project import Project, Schedule, load_project
from winback.store import campaign_states, customers, enrollments, messages, suppressions, writing

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)  # 11:00 in Berlin
HOUR = timedelta(hours=1)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    steps = [
        email_step(fallback={"channel": "sms", "on": ["no_address", "no_consent"]}),
        email_step("again", after="3d", only_if="orders >= 2"),
        sms_step("text", after="9d"),
    ]
    campaigns = {
        "wake": campaign(steps=steps, exit={"when": "ordered"}),
        "strict": campaign(limits={"on_capped": "skip"}),
        "news": campaign(limits={"on_capped": "replace"}),
        "off": campaign(enabled=False),
    }
    return load_project(write_shop(tmp_path, campaigns=campaigns), environ={})


def _verdict(
    engine: Engine, project: Project, *, person: dict[str, Any] | None = None, now: datetime = NOW, **columns: Any
) -> Verdict | None:
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", NOW - 400 * HOUR, **(person or {}))
        details = {"campaign": "wake", "step": "hello", "state": "sending", "sent_at": None, **columns}
        message = add_message(connection, customer, NOW - HOUR, **details)
        return recheck(connection, project, [message], now).get(message)


BY_SMS = {"phone": "+4915112345678", "phone_hash": "f" * 32, "sms_marketing": True}


@pytest.mark.parametrize(
    ("person", "columns", "expected"),
    [
        ({}, {}, None),
        ({"email_marketing": False}, {}, Verdict(Action.SKIP, "no_consent", "no_consent")),
        ({"email": None}, {}, Verdict(Action.SKIP, "no_address", "no_address")),
        ({"erased_at": NOW}, {}, Verdict(Action.SKIP, "erased", "erased")),
        ({"email": None, **BY_SMS}, {}, Verdict(Action.FALLBACK, "fallback", "by sms", channel="sms")),
        ({"email_marketing": False, **BY_SMS}, {}, Verdict(Action.FALLBACK, "fallback", "by sms", channel="sms")),
        ({"email": None, **BY_SMS}, {"channel": "sms"}, None),  # it fell back already
        (
            {"sms_marketing": None, "phone": "+4915112345678"},
            {"channel": "sms"},
            Verdict(Action.SKIP, "no_consent", "no_consent"),
        ),
        ({}, {"step": "again"}, Verdict(Action.SKIP, "only_if", "only_if")),
        ({}, {"step": "gone"}, Verdict(Action.CANCEL, "live", WITHDRAWN)),
        ({}, {"campaign": "gone"}, Verdict(Action.CANCEL, "live", WITHDRAWN)),
        ({}, {"campaign": "off"}, Verdict(Action.CANCEL, "live", WITHDRAWN)),
        ({}, {"valid_until": NOW - HOUR}, Verdict(Action.SKIP, "late", "late")),
        (
            {},
            {"campaign": "strict", "valid_until": NOW - HOUR, "reason": "capped"},
            Verdict(Action.SKIP, "late", "capped"),
        ),
    ],
)
def test_what_changed_since_planning_is_seen(
    engine: Engine, project: Project, person: dict[str, Any], columns: dict[str, Any], expected: Verdict | None
) -> None:
    assert _verdict(engine, project, person=person, **columns) == expected


def test_an_address_that_bounced_meanwhile_is_not_written_to(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        connection.execute(
            insert(suppressions).values(channel="email", address_hash=f"{'c1':0>32}", reason="hard_bounce", at=NOW, source="x")
        )
    assert _verdict(engine, project) == Verdict(Action.SKIP, "suppressed", "suppressed")


def test_an_order_ends_the_campaign_right_before_its_message_goes(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", NOW - 400 * HOUR)
        message = add_message(connection, customer, NOW - HOUR, campaign="wake", state="sending", sent_at=None)
        add_order(connection, "NEW", customer, NOW - HOUR / 2)
        assert recheck(connection, project, [message], NOW) == {message: Verdict(Action.CANCEL, "exit", "exit")}


def test_at_night_a_text_message_waits_for_the_morning_where_the_person_lives(engine: Engine, project: Project) -> None:
    evening = datetime(2026, 11, 24, 20, 30, tzinfo=UTC)  # 21:30 in Berlin
    columns = {"step": "text", "channel": "sms", "valid_until": evening + 24 * HOUR}
    verdict = _verdict(engine, project, person=BY_SMS, now=evening, **columns)
    assert verdict == Verdict(Action.DEFER, "quiet_hours", "quiet_hours", until=datetime(2026, 11, 25, 8, 0, tzinfo=UTC))


@pytest.mark.parametrize(("name", "action"), [("wake", Action.DEFER), ("strict", Action.SKIP)])
def test_too_many_messages_wait_or_are_left_out_as_the_campaign_says(
    engine: Engine, project: Project, name: str, action: Action
) -> None:
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", NOW - 400 * HOUR)
        add_message(connection, customer, NOW - 2 * HOUR, campaign="other")
        message = add_message(connection, customer, NOW - HOUR, campaign=name, state="sending", sent_at=None)
        verdict = recheck(connection, project, [message], NOW)[message]
    assert (verdict.action, verdict.rule) == (action, "capped")
    assert (verdict.until is not None and verdict.until > NOW) is (action is Action.DEFER)


@pytest.mark.parametrize(
    ("name", "newer_due", "older"),
    [
        ("news", NOW - HOUR, Verdict(Action.SKIP, "capped", "replaced")),
        ("news", NOW + HOUR, Verdict(Action.DEFER, "capped", "capped", until=NOW + HOUR)),
        ("wake", NOW - HOUR, Verdict(Action.DEFER, "capped", "capped", until=NOW + HOUR)),
    ],
)
def test_of_several_that_wait_the_newest_takes_the_place_of_the_others(
    engine: Engine, project: Project, name: str, newer_due: datetime, older: Verdict
) -> None:
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", NOW - 400 * HOUR)
        add_message(connection, customer, NOW - 2 * HOUR, campaign="other")
        columns = {"campaign": name, "state": "sending", "sent_at": None}
        first = add_message(connection, customer, NOW - 3 * HOUR, **columns)
        newest = add_message(connection, customer, newer_due, **(columns | {"state": "planned"}))
        verdicts = recheck(connection, project, [first, newest], NOW)
    assert verdicts[first] == older
    assert verdicts[newest].action is Action.DEFER


@pytest.mark.parametrize(
    ("days", "next_step", "expected"),
    [
        (0.5, None, Verdict(Action.DEFER, "late", "capped", until=NOW + 22.5 * HOUR, valid_until=NOW + 34.5 * HOUR)),
        (6, None, Verdict(Action.DEFER, "late", "capped", until=NOW + 22.5 * HOUR, valid_until=NOW + 34.5 * HOUR)),
        (6.5, None, Verdict(Action.SKIP, "late", "capped")),  # a week is enough
        (0.5, 22, Verdict(Action.SKIP, "late", "capped")),  # the step after it comes first
        (0.5, 23, Verdict(Action.DEFER, "late", "capped", until=NOW + 22.5 * HOUR, valid_until=NOW + 34.5 * HOUR)),
    ],
)
def test_a_message_that_others_had_precedence_over_waits_from_day_to_day(
    engine: Engine, project: Project, days: float, next_step: float | None, expected: Verdict
) -> None:
    """It goes at 09:30 in Berlin; now it is 11:00 there."""
    morning = project.campaigns["wake"].model_copy(update={"schedule": Schedule(at=time(9, 30))})
    project = replace(project, campaigns={**project.campaigns, "wake": morning})
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", NOW - 400 * HOUR)
        columns = {"campaign": "wake", "state": "sending", "sent_at": None, "reason": "capped", "valid_until": NOW - HOUR}
        message = add_message(connection, customer, NOW - timedelta(days=days), **columns)
        if next_step is not None:
            connection.execute(update(enrollments).values(step="again", due_at=NOW + next_step * HOUR))
        assert recheck(connection, project, [message], NOW)[message] == expected


def test_of_two_that_are_due_at_once_only_the_first_goes(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", NOW - 400 * HOUR)
        both = [
            add_message(
                connection, customer, NOW - number * HOUR, campaign="wake", occasion=str(number), state="sending", sent_at=None
            )
            for number in (1, 2)
        ]
        verdicts = recheck(connection, project, both, NOW)
    assert set(verdicts) == {both[0]}  # the other one was due an hour before it


def test_a_pause_holds_messages_back_and_loses_none(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        connection.execute(insert(campaign_states).values(name="wake", live_since=NOW, paused_at=NOW, definition_hash="x"))
    verdict = _verdict(engine, project)
    assert verdict is not None
    assert (verdict.action, verdict.rule) == (Action.DEFER, "live")


def test_a_service_message_goes_to_who_said_nothing_and_not_to_who_said_no(engine: Engine, tmp_path: Path) -> None:
    root = write_shop(tmp_path, campaigns={"thanks": campaign(purpose="service")})
    project = load_project(root, environ={})
    said = {}
    with writing(engine) as connection:
        for answer in (True, None, False):
            customer = add_customer(connection, f"C{answer}", NOW - 400 * HOUR, email_service=answer, email_marketing=False)
            message = add_message(
                connection, customer, NOW - HOUR, campaign="thanks", purpose="service", state="sending", sent_at=None
            )
            said[answer] = recheck(connection, project, [message], NOW).get(message)
    assert said == {True: None, None: None, False: Verdict(Action.SKIP, "no_consent", "no_consent")}


def test_many_at_once_are_answered_each_for_itself(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        ids = []
        for number in range(60):
            customer = add_customer(connection, f"C{number}", NOW - 400 * HOUR)
            ids.append(add_message(connection, customer, NOW - HOUR, campaign="wake", state="sending", sent_at=None))
            if number % 3 == 0:
                connection.execute(update(customers).where(customers.c.id == customer).values(email_marketing=False))
        connection.execute(update(messages).where(messages.c.id == ids[1]).values(valid_until=NOW - HOUR))
        verdicts = recheck(connection, project, ids, NOW)
        assert recheck(connection, project, [], NOW) == {}
    assert {ids.index(message): verdict.rule for message, verdict in verdicts.items()} == {
        **dict.fromkeys(range(0, 60, 3), "no_consent"),
        1: "late",
    }


def test_only_the_messages_asked_about_are_read(engine: Engine, project: Project) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("how SQLite, which knows nothing of its tables at first, goes about it")
    with writing(engine) as connection:
        message = add_message(
            connection, add_customer(connection, "C1", NOW), NOW, campaign="wake", step="hello", state="sending"
        )
        ways: list[str] = []

        def explained(_connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
            ways.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        event.listen(connection, "before_cursor_execute", explained)
        recheck(connection, project, [message], NOW)
    read = [way for way in ways if way.split()[:2] in (["SEARCH", "messages"], ["SCAN", "messages"])]
    assert len(read) > 1
    assert all("(id=?)" in way for way in read)
