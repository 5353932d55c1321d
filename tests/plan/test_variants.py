"""The lottery draws the same number in SQL and in Python, evenly and independently."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from winback.plan.variants import WHOLE, Lottery, arm, held_out
from winback.store import customers, reading, writing

KEY = b"k" * 32
NOW_ROW = {"local_zone": "Europe/Berlin", "attributes": {}}


@dataclass
class _Measure:
    holdout: int = 1_000


@dataclass
class _Campaign:
    name: str = "sleeping"
    measure: _Measure = field(default_factory=_Measure)
    variants: dict[str, int] = field(default_factory=lambda: {"b": 2_500, "c": 2_500})


@pytest.fixture
def people(engine: Engine, now: Any) -> Engine:
    rows = [{"id": n, "external_id": f"C{n}", "created_at": now, "updated_at": now, **NOW_ROW} for n in range(1, 2_001)]
    with writing(engine) as connection:
        connection.execute(customers.insert(), rows)
    return engine


def test_sql_and_python_draw_the_same(people: Engine) -> None:
    lottery = Lottery.of(KEY, "holdout", "sleeping")
    with reading(people) as connection:
        rows = connection.execute(select(customers.c.id, lottery.sql(customers.c.id))).all()
    assert len(rows) == 2_000
    assert all(number == lottery.draw(customer) for customer, number in rows)


def test_shares_come_out_as_asked(people: Engine) -> None:
    campaign: Any = _Campaign()
    with reading(people) as connection:
        rows = connection.execute(select(held_out(campaign, KEY, customers.c.id), arm(campaign, KEY, customers.c.id))).all()
    held = sum(bool(row[0]) for row in rows)
    assert 150 < held < 250  # 200 ± 3.7 standard deviations
    arms = [row[1] for row in rows]
    for name, share in {"a": 0.5, "b": 0.25, "c": 0.25}.items():
        assert arms.count(name) / 2_000 == pytest.approx(share, abs=0.04)


def test_no_test_has_no_arm(people: Engine) -> None:
    campaign: Any = _Campaign(variants={})
    with reading(people) as connection:
        assert connection.scalars(select(arm(campaign, KEY, customers.c.id)).distinct()).all() == [""]


def test_holdouts_of_two_campaigns_are_independent() -> None:
    one, other = Lottery.of(KEY, "holdout", "sleeping"), Lottery.of(KEY, "holdout", "birthday")
    both = sum(one.draw(n) < 1_000 and other.draw(n) < 1_000 for n in range(20_000))
    assert 140 < both < 260  # 1 % of 20 000, ± 4 standard deviations


@given(st.integers(1, 2**62))
def test_a_draw_is_in_range_and_sticky(customer: int) -> None:
    lottery = Lottery.of(KEY, "variant", "x")
    assert 0 <= lottery.draw(customer) < WHOLE
    assert lottery.draw(customer) == Lottery.of(KEY, "variant", "x").draw(customer)
