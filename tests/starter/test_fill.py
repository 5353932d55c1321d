"""Filling a shop: through the real importers, whole or not at all, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select

from tests.rows import add_customer
from winback.audience import AudienceContext, Clock, update_scores
from winback.errors import InputError
from winback.importers import Kind, write_rows
from winback.project import Project
from winback.starter import fill, story_of
from winback.store import (
    consents,
    customers,
    events,
    import_runs,
    metadata,
    order_lines,
    orders,
    reading,
    score_crossings,
    suppressions,
    writing,
)

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


def counted(engine: Engine) -> dict[str, int]:
    with reading(engine) as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in metadata.sorted_tables
        }  # fmt: skip


def facts(engine: Engine) -> list[tuple[Any, ...]]:
    """Return what is known of every order and customer, apart from row numbers and times of writing."""
    with reading(engine) as connection:
        of_orders = select(
            orders.c.external_id, customers.c.external_id, orders.c.placed_at, orders.c.status, orders.c.total_minor,
            orders.c.delivered_at, orders.c.voided_at,
        ).join(customers, customers.c.id == orders.c.customer_id)  # fmt: skip
        of_customers = select(
            customers.c.external_id, customers.c.email, customers.c.phone, customers.c.first_name, customers.c.local_zone,
            customers.c.birth_month, customers.c.birth_day, customers.c.email_marketing, customers.c.order_count,
            customers.c.spent_minor, customers.c.last_order_at, customers.c.median_gap_days,
        )  # fmt: skip
        return sorted(tuple(map(str, row)) for query in (of_orders, of_customers) for row in connection.execute(query))


def test_a_shop_is_filled_with_the_real_orders_and_their_people(engine: Engine, project: Project) -> None:
    filled = fill(engine, project, now=NOW)
    assert filled is not None
    assert (filled.customers, filled.orders) == (2357 + 150, 6919)
    with reading(engine) as connection:
        with_orders = select(func.count(func.distinct(orders.c.customer_id)))
        assert connection.scalar(with_orders) == 2357
        newest = connection.scalar(select(func.max(orders.c.placed_at)))
        assert newest is not None
        zone = ZoneInfo(project.settings.shop.zone)
        assert newest.astimezone(zone).date() == NOW.astimezone(zone).date() - timedelta(days=1)
        assert connection.scalar(select(func.sum(order_lines.c.quantity))) == 16479  # CDs of the sample
        assert connection.scalar(select(func.count()).select_from(consents)) > 2000
        assert connection.scalar(select(func.count()).select_from(suppressions)) == 13
        assert connection.scalar(select(func.count()).select_from(events)) == filled.events > 400
        # Placeholders are no birthdays.
        assert connection.scalar(select(func.count()).where(customers.c.birth_year < 1920)) == 0
        names = set(connection.scalars(select(customers.c.first_name)))
        assert {"Anna", "Jürgen", "נועה", "محمد", "葵"} <= names
        assert connection.scalar(select(func.count()).select_from(import_runs)) == 3


def test_filling_again_changes_nothing(engine: Engine, project: Project) -> None:
    fill(engine, project, now=NOW)
    before, known = counted(engine), facts(engine)
    assert fill(engine, project, now=NOW + timedelta(days=3)) is None
    assert counted(engine) == before
    assert facts(engine) == known


def test_what_was_left_out_can_be_told_later(engine: Engine, project: Project) -> None:
    opening = NOW - timedelta(days=28)
    fill(engine, project, now=NOW, until=opening)
    with reading(engine) as connection:
        assert connection.scalar(select(func.max(orders.c.placed_at))) <= opening  # type: ignore[operator]
        assert connection.scalar(select(func.max(events.c.at))) <= opening  # type: ignore[operator]
    story = story_of(engine, project)
    for kind in Kind:
        with writing(engine) as connection:
            told = write_rows(connection, project.import_settings(), kind, story.rows(kind, opening, NOW), NOW, "test")
        assert told.rejected == 0
        assert told.inserted > 0
    in_parts = facts(engine)
    assert len(in_parts) == 6919 + 2357 + 150
    whole = dict.fromkeys(in_parts)
    with writing(engine) as connection:
        for kind in Kind:
            # Told at once, it is the same: nothing is left to change.
            again = write_rows(
                connection, project.import_settings(), kind, story.rows(kind, NOW - timedelta(days=9999), NOW), NOW, "test"
            )
            assert (again.inserted, again.updated, again.rejected) == (0, 0, 0)
    assert dict.fromkeys(facts(engine)) == whole


def test_a_shop_with_customers_of_its_own_is_left_alone(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        add_customer(connection, "C1", NOW)
    before = counted(engine)
    with pytest.raises(InputError, match="customers of its own"):
        fill(engine, project, now=NOW)
    assert counted(engine) == before


def test_only_a_filled_shop_has_a_story(engine: Engine, project: Project) -> None:
    with pytest.raises(InputError, match="is not the demo shop"):
        story_of(engine, project)


def test_leads_become_warm_in_these_days(engine: Engine, project: Project) -> None:
    fill(engine, project, now=NOW)
    for days in range(28, -1, -1):
        at = NOW - timedelta(days=days)
        with writing(engine) as connection:
            context = AudienceContext(Clock(at, at, at), project.settings.shop.zone)
            update_scores(connection, project.scores, context)
    crossing = select(func.count()).where(score_crossings.c.model == "lead", score_crossings.c.upward)
    lately = score_crossings.c.at > NOW - timedelta(days=12)
    with reading(engine) as connection:
        assert connection.scalar(crossing.where(score_crossings.c.level == "warm", lately)) >= 10  # type: ignore[operator]
        assert connection.scalar(crossing.where(score_crossings.c.level == "ready")) >= 3  # type: ignore[operator]
