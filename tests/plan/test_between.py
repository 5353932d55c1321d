"""Passes between two thorough ones: they let in at once whom something lets in that they have just done; on both databases."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, select

from tests.plan.conftest import ShopMaker
from tests.rows import add_customer, add_order
from winback import ledger
from winback.dispatch import DispatchResult
from winback.dispatch.taking import take
from winback.ledger import Move
from winback.plan import PlanResult, plan
from winback.project import Project
from winback.store import MessageState, events, plan_funnels, reading, writing

_CAMPAIGN = """
title = "{title}"
{purpose}
[audience]
{audience}
[schedule]
late = "2d"
[[steps]]
name = "hello"
channel = "email"
template = "hello"
subject = "Hello"
"""

SLEEPING = _CAMPAIGN.format(title="Sleeping", purpose="", audience='preset = "sleeping"\ninactive = "90d"')
THANKS = _CAMPAIGN.format(title="Thanks", purpose='purpose = "service"', audience='preset = "after_order"\ndelay = "1h"')
CART = _CAMPAIGN.format(
    title="Cart", purpose="", audience='preset = "event"\nevent = "cart_left"\nunless = "checkout"\ndelay = "1h"'
)
MINUTE = timedelta(minutes=1)


def _pass(engine: Engine, project: Project, at: datetime, *, thorough: bool) -> PlanResult:
    with writing(engine) as connection:
        result = plan(connection, project, at, thorough=thorough)
    assert (result.errors, [each.error for each in result.campaigns if each.error]) == ([], [])
    return result


def _buyer(engine: Engine, name: str, at: datetime) -> int:
    with writing(engine) as connection:
        customer = add_customer(connection, name, at)
        add_order(connection, f"O-{name}", customer, at)
    return customer


def test_who_has_just_ordered_comes_in_at_once_and_who_sleeps_with_the_next_thorough_pass(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(sleeping=SLEEPING, thanks=THANKS)
    _pass(engine, project, now, thorough=True)
    _buyer(engine, "SLEEPS", now - timedelta(days=100))
    _buyer(engine, "BUYS", now)
    between = _pass(engine, project, now + MINUTE, thorough=False)
    assert {each.campaign: each.enrolled for each in between.campaigns} == {"sleeping": 0, "thanks": 1}
    assert _pass(engine, project, now + 2 * MINUTE, thorough=False).enrolled == 0
    thorough = _pass(engine, project, now + timedelta(hours=1), thorough=True)
    assert {each.campaign: each.enrolled for each in thorough.campaigns} == {"sleeping": 1, "thanks": 0}


def test_an_event_that_waits_for_another_comes_in_when_its_time_is_over(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(cart=CART)
    _pass(engine, project, now, thorough=True)
    customer = _buyer(engine, "C1", now - timedelta(days=1))
    with writing(engine) as connection:
        at = now + 30 * MINUTE
        connection.execute(insert(events).values(external_id="E1", customer_id=customer, name="cart_left", at=at, properties={}))
    enrolled = {}
    for minutes in (31, 60, 89, 90, 91, 120):
        enrolled[minutes] = _pass(engine, project, now + minutes * MINUTE, thorough=False).enrolled
    assert {minutes for minutes, count in enrolled.items() if count} == {90}


def test_what_arrives_late_waits_for_the_next_thorough_pass(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(thanks=THANKS)
    _pass(engine, project, now, thorough=True)
    _pass(engine, project, now + timedelta(hours=8), thorough=True)
    _buyer(engine, "LATE", now + timedelta(hours=5))
    assert _pass(engine, project, now + timedelta(hours=8, minutes=1), thorough=False).enrolled == 0
    assert _pass(engine, project, now + timedelta(hours=9), thorough=True).enrolled == 1


def test_a_campaign_that_is_new_or_has_changed_is_asked_thoroughly(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    _buyer(engine, "SLEEPS", now - timedelta(days=100))
    assert _pass(engine, make_shop(sleeping=SLEEPING), now, thorough=False).enrolled == 1
    _buyer(engine, "DOZES", now - timedelta(days=80))
    assert _pass(engine, make_shop(sleeping=SLEEPING), now + MINUTE, thorough=False).enrolled == 0
    changed = make_shop(sleeping=SLEEPING.replace('"90d"', '"60d"'))
    assert _pass(engine, changed, now + 2 * MINUTE, thorough=False).enrolled == 1


def test_the_funnel_that_is_kept_counts_everybody(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(thanks=THANKS)
    for number in range(3):
        _buyer(engine, f"C{number}", now + number * MINUTE)
    _pass(engine, project, now, thorough=True)
    for minutes in (1, 2, 60):
        _pass(engine, project, now + minutes * MINUTE, thorough=minutes == 60)
    with reading(engine) as connection:
        found = dict(connection.execute(select(plan_funnels.c.rule, plan_funnels.c.count)).all())
    assert found["audience"] == 3


def test_a_step_that_is_due_soon_after_another_is_written_in_the_same_pass(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    again = '\n[[steps]]\nname = "again"\nafter = "2h"\nchannel = "email"\ntemplate = "hello"\nsubject = "Again"\n'
    project = make_shop(thanks=THANKS + again)
    _pass(engine, project, now, thorough=True)
    _buyer(engine, "BUYS", now)
    [campaign] = _pass(engine, project, now + MINUTE, thorough=False).campaigns
    assert [(step.step, step.planned) for step in campaign.steps] == [("hello", 1), ("again", 1)]


def test_sqlite_compiles_nothing_anew_in_a_pass_like_the_one_before(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    """A statement that has to be compiled takes several times as long: temporary tables that come and go make it so for all."""
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans each time, and knows a word of ours from a value")
    project = make_shop(sleeping=SLEEPING, thanks=THANKS, cart=CART)
    compiled: list[str] = []

    def noted(action: int, what: str | None, *_: object) -> int:
        compiled.extend([what or ""] if action == sqlite3.SQLITE_READ else [])
        return sqlite3.SQLITE_OK

    def pass_and_dispatch(number: int) -> None:
        at = now + number * timedelta(days=1)
        _buyer(engine, f"C{number}", at - timedelta(hours=2))
        with writing(engine) as connection:
            assert plan(connection, project, at).errors == []
        with writing(engine) as connection:
            result = DispatchResult()
            taken = take(connection, project, "outbox", ["email", "sms"], now=at, worker="test", result=result)
            sent = [Move(each.id, MessageState.SENDING, MessageState.SENT, values={"sent_at": at}) for each in taken.claims]
            assert len(ledger.apply(connection, sent, now=at, worker="test", claimed_by="test")) == (number > 0)

    with engine.connect() as connection:
        driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_authorizer(noted)  # SQLite asks it whenever it compiles something
    try:
        for number in range(3):
            pass_and_dispatch(number)
        assert {"messages", "enrollments"} <= set(compiled)
        compiled.clear()
        pass_and_dispatch(3)
        # What the test itself writes down is not kept.
        assert set(compiled) <= {"orders", "customers"}
    finally:
        driver.set_authorizer(None)
