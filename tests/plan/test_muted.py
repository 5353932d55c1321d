"""Who is left in peace by a campaign: muted by another one, or silent for so long that marketing stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Engine, insert, select

from tests.plan.conftest import ShopMaker
from tests.rows import add_customer, add_message, add_order
from winback.plan import explain, plan
from winback.project import Project
from winback.project.values import Cap
from winback.store import customers, enrollments, events, messages, reading, writing

THANKS = """
title = "Thank you"
purpose = "service"
priority = 10
[audience]
preset = "after_order"
[[steps]]
name = "thanks"
channel = "email"
template = "thanks"
subject = "Thank you"
"""

NEWS = """
title = "News"
[audience]
preset = "everyone"
on = [2026-11-25]
[limits]
muted_by = { thanks = "14d" }
[[steps]]
name = "news"
channel = "email"
template = "news"
subject = "News"
[[steps]]
name = "more"
after = "3d"
channel = "email"
template = "more"
subject = "More"
"""


def _enrolled(engine: Engine, campaign: str) -> list[str]:
    with reading(engine) as connection:
        return list(
            connection.scalars(
                select(customers.c.external_id)
                .join(enrollments, enrollments.c.customer_id == customers.c.id)
                .where(enrollments.c.campaign == campaign)
                .order_by(customers.c.external_id)
            )
        )


def _pass(engine: Engine, project: Project, at: datetime) -> None:
    with writing(engine) as connection:
        plan(connection, project, at)


def test_a_campaign_is_muted_by_another(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(thanks=THANKS, news=NEWS)
    with writing(engine) as connection:
        for name in ("ORDERS", "ORDERS-LATER", "QUIET"):
            add_customer(connection, name, now - timedelta(days=90))
    _pass(engine, project, now - timedelta(days=1))
    with writing(engine) as connection:
        add_order(connection, "O1", 1, now - timedelta(hours=1))
    _pass(engine, project, now)
    assert _enrolled(engine, "thanks") == ["ORDERS"]
    assert _enrolled(engine, "news") == ["ORDERS-LATER", "QUIET"]
    with reading(engine) as connection:
        check = explain(connection, project, "news", "ORDERS", now).first_failure
    assert check is not None
    assert check.rule == "muted"
    with writing(engine) as connection:
        add_order(connection, "O2", 2, now + timedelta(days=1))
    for days in (2, 4):
        _pass(engine, project, now + timedelta(days=days))
    with reading(engine) as connection:
        rows = connection.execute(
            select(customers.c.external_id, messages.c.step, messages.c.reason)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(messages.c.campaign == "news")
            .order_by(customers.c.external_id, messages.c.step.desc())
        ).all()
    assert [tuple(row) for row in rows] == [
        ("ORDERS-LATER", "news", None),
        ("ORDERS-LATER", "more", "muted"),
        ("QUIET", "news", None),
        ("QUIET", "more", None),
    ]


def test_marketing_stops_for_who_never_answers(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    shop = make_shop(news=NEWS.replace('muted_by = { thanks = "14d" }', ""))
    limits = shop.settings.limits.model_copy(update={"sunset": Cap(3, timedelta(days=60))})
    project = replace(shop, settings=shop.settings.model_copy(update={"limits": limits}))
    with writing(engine) as connection:
        for name, days in (("SILENT", (90, 80, 70)), ("FEW", (90, 80)), ("RECENT", (50, 40, 30)), ("ORDERED", (90, 80, 70))):
            customer = add_customer(connection, name, now - timedelta(days=200))
            for each in days:
                add_message(connection, customer, now - timedelta(days=each))
        add_order(connection, "O1", 4, now - timedelta(days=60))
        visited = add_customer(connection, "VISITED", now - timedelta(days=200))
        for each in (90, 80, 70):
            add_message(connection, visited, now - timedelta(days=each))
        visit = {"external_id": "V1", "customer_id": visited, "name": "visit", "at": now - timedelta(days=1), "properties": {}}
        connection.execute(insert(events).values(visit))
    for at in (now - timedelta(days=1), now):
        _pass(engine, project, at)
    assert _enrolled(engine, "news") == ["FEW", "ORDERED", "RECENT", "VISITED"]
    with reading(engine) as connection:
        check = explain(connection, project, "news", "SILENT", now).first_failure
    assert check is not None
    assert check.rule == "sunset"


def test_marketing_rests_for_who_was_dissatisfied_lately(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    shop = make_shop(news=NEWS.replace('muted_by = { thanks = "14d" }', ""))
    limits = shop.settings.limits.model_copy(update={"mute_detractors": timedelta(days=90)})
    project = replace(shop, settings=shop.settings.model_copy(update={"limits": limits}))
    answers = {
        "BAD": [(6, 80)],
        "LONG-AGO": [(0, 100)],
        "BETTER": [(2, 20), (9, 10)],
        "WORSE": [(9, 20), (2, 10)],
        "GOOD": [(7, 5)],
    }
    with writing(engine) as connection:
        add_customer(connection, "NEVER-ASKED", now - timedelta(days=200))
        for name, given in answers.items():
            customer = add_customer(connection, name, now - timedelta(days=200))
            for score, days in given:
                answer = {"name": "nps", "at": now - timedelta(days=days), "properties": {"score": score}}
                connection.execute(insert(events).values(external_id=f"{name}-{days}", customer_id=customer, **answer))
    for at in (now - timedelta(days=1), now):
        _pass(engine, project, at)
    assert _enrolled(engine, "news") == ["BETTER", "GOOD", "LONG-AGO", "NEVER-ASKED"]
    with reading(engine) as connection:
        check = explain(connection, project, "news", "WORSE", now).first_failure
    assert check is not None
    assert (check.rule, check.values) == ("detractor", {"newest answer": 2, "marketing rests for": "90d"})
