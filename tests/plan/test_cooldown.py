"""Whoever a cooldown turned away is turned away for good: what happened in it brings nobody in when it is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, insert, select

from tests.plan.conftest import ShopMaker
from tests.rows import add_customer, add_order
from winback.plan import explain, plan
from winback.project import Project
from winback.store import customers, enrollments, events, messages, reading, writing

THANKS = """
title = "Thank you"
purpose = "service"
[audience]
preset = "after_order"
delay = "2d"
[schedule]
late = "24h"
[limits]
cooldown = "6d"
[[steps]]
name = "thanks"
channel = "email"
template = "thanks"
subject = "Thank you"
[[steps]]
name = "review"
after = "11d"
channel = "email"
template = "review"
subject = "How is it?"
"""

HOLIDAYS = """
title = "Holidays"
[audience]
preset = "everyone"
on = [2026-12-20, 2026-12-23]
[limits]
cooldown = "5d"
[[steps]]
name = "wishes"
channel = "email"
template = "wishes"
subject = "Happy holidays"
"""

CART = """
title = "Your cart"
[audience]
preset = "event"
event = "cart_left"
delay = "1h"
unless = "checkout"
within = "3d"
[limits]
cooldown = "2d"
[[steps]]
name = "cart"
channel = "email"
template = "cart"
subject = "Your cart"
"""


def _pass_every_half_day(engine: Engine, project: Project, since: datetime, days: float) -> None:
    for number in range(int(days * 2) + 1):
        with writing(engine) as connection:
            result = plan(connection, project, since + number * timedelta(hours=12))
        assert [campaign.error for campaign in result.campaigns] == [None]


def _occasions(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.scalars(select(enrollments.c.occasion).order_by(enrollments.c.enrolled_at, enrollments.c.id)))


def test_an_order_within_the_cooldown_is_not_thanked_for_when_it_is_over(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(thanks=THANKS)
    with writing(engine) as connection:
        anna = add_customer(connection, "ANNA", now)
        plan(connection, project, now)  # the campaign goes live
        for day in (1, 4, 12):  # known beforehand, which makes the passes easier to write
            add_order(connection, f"O-{day}", anna, now + timedelta(days=day))
    _pass_every_half_day(engine, project, now, 16)
    assert _occasions(engine) == ["O-1", "O-12"]


def test_a_date_within_the_cooldown_is_let_go_for_good(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(holidays=HOLIDAYS)
    with writing(engine) as connection:
        add_customer(connection, "ANNA", now)
    _pass_every_half_day(engine, project, datetime.fromisoformat("2026-12-18T10:00:00+00:00"), 11)
    assert _occasions(engine) == ["2026-12-20"]


def test_an_event_that_is_waited_on_counts_from_when_the_wait_is_over(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(cart=CART)
    with writing(engine) as connection:
        anna = add_customer(connection, "ANNA", now)
        plan(connection, project, now)
        for name, hours in (("first", 1), ("second", 24), ("third", 66)):
            row = {"external_id": name, "customer_id": anna, "name": "cart_left", "at": now + timedelta(hours=hours)}
            connection.execute(insert(events).values(properties={}, **row))
    _pass_every_half_day(engine, project, now, 9)
    # The first comes in on the third day; when the wait for the third is over, its cooldown is too.
    assert _occasions(engine) == ["first", "third"]
    with reading(engine) as connection:
        assert connection.execute(select(messages.c.state, messages.c.due_at).order_by(messages.c.due_at)).all() == [
            ("planned", now + timedelta(days=3, hours=hours)) for hours in (1, 66)
        ]


def test_of_several_orders_at_once_the_first_that_is_not_too_late_comes_in(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(thanks=THANKS)
    with writing(engine) as connection:
        anna = add_customer(connection, "ANNA", now)
        plan(connection, project, now - timedelta(days=6))
        plan(connection, project, now)
        # An import once a week: the first order was thanked for three days ago, had it been known; ids say nothing of time.
        for name, days in (("O-10", 5), ("O-9", 2.5), ("O-8", 2)):
            add_order(connection, name, anna, now - timedelta(days=days))
        plan(connection, project, now)
    assert _occasions(engine) == ["O-9"]


def test_who_got_nothing_because_it_was_late_is_thanked_for_the_next_order(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(thanks=THANKS.partition('[[steps]]\nname = "review"')[0])
    with writing(engine) as connection:
        anna = add_customer(connection, "ANNA", now)
        plan(connection, project, now)
        add_order(connection, "O-1", anna, now + timedelta(days=1))
        add_order(connection, "O-2", anna, now + timedelta(days=5))
        add_order(connection, "O-3", anna, now + timedelta(days=6))
        plan(connection, project, now + timedelta(days=4, hours=12))  # a day and a half after the thanks for the first were due
        plan(connection, project, now + timedelta(days=6, hours=12))
        plan(connection, project, now + timedelta(days=7, hours=12))
        states = connection.execute(select(messages.c.state, messages.c.reason).order_by(messages.c.due_at)).all()
    assert _occasions(engine) == ["O-1", "O-2"]  # and the thanks for the second begin the cooldown
    assert states == [("skipped", "late"), ("planned", None)]


def test_explain_asks_the_cooldown_as_the_planner_does(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(thanks=THANKS)
    with writing(engine) as connection:
        anna = add_customer(connection, "ANNA", now)
        plan(connection, project, now)
        for day in (1, 4):
            add_order(connection, f"O-{day}", anna, now + timedelta(days=day))
    _pass_every_half_day(engine, project, now, 9)
    with reading(engine) as connection:
        assert connection.scalar(select(customers.c.id)) == anna
        answer = explain(connection, project, "thanks", "ANNA", now + timedelta(days=9))
    assert {check.rule: check.passed for check in answer.checks if not check.passed} == {"cooldown": False}
