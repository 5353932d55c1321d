"""From when on a campaign looks for occasions: never into a time in which it was not live."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from tests.plan.conftest import ShopMaker
from tests.rows import add_customer, add_order
from winback.plan import explain, plan
from winback.project import Project
from winback.store import enrollments, reading, writing

THANKS = """
title = "Thank you"
purpose = "service"
[audience]
preset = "after_order"
[[steps]]
name = "thanks"
channel = "email"
template = "thanks"
subject = "Thank you"
[[steps]]
name = "review"
after = "14d"
channel = "email"
template = "review"
subject = "How is it?"
"""


def _order(engine: Engine, name: str, at: datetime) -> None:
    """Let a new customer of that name order something of the same name."""
    with writing(engine) as connection:
        add_order(connection, name, add_customer(connection, name, at), at)


def _plan(engine: Engine, project: Project, now: datetime) -> None:
    with writing(engine) as connection:
        assert not any(campaign.error for campaign in plan(connection, project, now).campaigns)


def _enrolled(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.scalars(select(enrollments.c.occasion).order_by(enrollments.c.occasion)))


def _without(project: Project) -> Project:
    return replace(project, campaigns={})


def _switched_off(project: Project) -> Project:
    off = project.campaigns["thanks"].model_copy(update={"enabled": False})
    return replace(project, campaigns={"thanks": off})


@pytest.mark.parametrize("taken_away", [_without, _switched_off])
def test_what_happened_while_a_campaign_was_away_is_no_moment_to_write(
    engine: Engine, make_shop: ShopMaker, now: datetime, taken_away: object
) -> None:
    project = make_shop(thanks=THANKS)
    away = taken_away(project)  # type: ignore[operator]
    _plan(engine, project, now)
    _order(engine, "BEFORE", now + timedelta(hours=1))
    _plan(engine, project, now + timedelta(hours=2))
    _plan(engine, away, now + timedelta(days=1))
    _order(engine, "MEANWHILE", now + timedelta(days=2))
    _plan(engine, away, now + timedelta(days=3))
    _plan(engine, project, now + timedelta(days=4))
    _order(engine, "AFTER", now + timedelta(days=4, hours=1))
    _plan(engine, project, now + timedelta(days=5))
    assert _enrolled(engine) == ["AFTER", "BEFORE"]


def test_a_pass_in_the_time_to_come_does_not_keep_later_ones_from_looking(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(thanks=THANKS)
    _plan(engine, project, now + timedelta(days=60))  # winback run --now, to see what it does
    _plan(engine, project, now)
    _order(engine, "NEW", now + timedelta(minutes=30))
    _plan(engine, project, now + timedelta(hours=1))
    assert _enrolled(engine) == ["NEW"]


def test_a_pass_in_the_past_brings_back_nothing_from_before_the_campaign_was_live(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    project = make_shop(thanks=THANKS)
    _order(engine, "OLD", now - timedelta(days=20))
    _plan(engine, project, now)
    _plan(engine, project, now - timedelta(days=30))
    _plan(engine, project, now + timedelta(hours=1))
    assert _enrolled(engine) == []


def test_explain_looks_as_far_back_as_a_pass_and_says_how_far(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    project = make_shop(thanks=THANKS)
    _order(engine, "EARLY", now - timedelta(days=1))
    _plan(engine, project, now)
    _order(engine, "LATE", now + timedelta(days=1))
    with reading(engine) as connection:
        early, late = (explain(connection, project, "thanks", name, now + timedelta(days=3)) for name in ("EARLY", "LATE"))
    assert late.chosen
    assert early.first_failure is not None
    assert early.first_failure.rule == "audience"
    assert early.first_failure.values["looked back to"] == now
