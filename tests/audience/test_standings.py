"""Where buyers stand among all: marks by fifths, or by thresholds where there are few; groups, and the one before."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, select, update

from tests.audience import cdnow
from tests.audience.world import NOW, ago, context, names
from tests.rows import add_customer, add_order
from winback.audience import Segment, Standing, compile_condition, update_segments, update_standings
from winback.store import customers, orders, reading, segment_members, standings, writing

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audiences.md"


def _marks(connection: Connection) -> dict[str, tuple[int, int, int, str, str]]:
    rows = connection.execute(
        select(
            customers.c.external_id,
            standings.c.recency,
            standings.c.frequency,
            standings.c.monetary,
            standings.c.rfm_group,
            standings.c.abc,
        ).join(standings, standings.c.customer_id == customers.c.id)
    )
    return {row[0]: tuple(row[1:]) for row in rows}


def test_few_buyers_are_marked_by_thresholds(engine: Engine) -> None:
    with writing(engine) as connection:
        for name, days, many, cents in (
            ("BEST", 10, 7, 10_000),
            ("NEW", 20, 1, 2000),
            ("RARE", 100, 2, 3000),
            ("GONE", 300, 5, 8000),
            ("LOST", 340, 1, 1000),
            ("LONG-AGO", 400, 3, 9000),
        ):
            customer = add_customer(connection, name, ago(900))
            for place in range(many):
                add_order(connection, f"{name}-{place}", customer, ago(days + place), total_minor=cents)
        yen = add_customer(connection, "YEN", ago(900))
        add_order(connection, "YEN-0", yen, ago(10), total_minor=5_000, currency="JPY")
        add_order(connection, "VOID", add_customer(connection, "VOID", ago(900)), ago(1), status="returned", voided_at=NOW)
        add_customer(connection, "NEVER", ago(900))
        update_standings(connection, Standing(), NOW, "Europe/Berlin")
        assert _marks(connection) == {
            "BEST": (5, 5, 5, "champions", "A"),  # 700 of 1190, a mean of 238
            "NEW": (5, 1, 1, "new", "C"),
            "RARE": (3, 2, 1, "about to sleep", "B"),
            "GONE": (1, 4, 4, "at risk", "A"),  # 700 above it are not 80 %
            "LOST": (1, 1, 1, "hibernating", "C"),
            "YEN": (5, 1, 3, "promising", "A"),  # money is compared within a currency
        }


def test_equals_get_the_same_mark_and_the_group_before_is_kept(engine: Engine) -> None:
    with writing(engine) as connection:
        for number in range(100):
            customer = add_customer(connection, f"C{number:03}", ago(900))
            for place in range(3 if number < 20 else 1):
                add_order(connection, f"O{number}-{place}", customer, ago(200 - number), total_minor=1000)
        update_standings(connection, Standing(monetary="average"), NOW, "Europe/Berlin")
        marks = _marks(connection)
        assert Counter(mark[0] for mark in marks.values()) == {1: 20, 2: 20, 3: 20, 4: 20, 5: 20}
        assert Counter(mark[1] for mark in marks.values()) == {1: 80, 5: 20}
        assert Counter(mark[2] for mark in marks.values()) == {1: 100}  # all orders are worth the same
        assert marks["C000"] == (1, 5, 1, "at risk", "A")
        add_order(connection, "AGAIN", 1, NOW, total_minor=1000)
        update_standings(connection, Standing(monetary="average"), NOW + timedelta(hours=1), "Europe/Berlin")
        assert _marks(connection) == marks  # once a day is enough
        tomorrow = NOW + timedelta(days=1)
        update_standings(connection, Standing(monetary="average"), tomorrow, "Europe/Berlin")
        assert _marks(connection)["C000"][:4] == (5, 5, 1, "promising")
        before = compile_condition(
            "rfm_group = 'promising' and rfm_group_before = 'at risk'", context(tomorrow), scope="customer", customer=customers
        )
        assert names(connection, before) == ["C000"]
        update_standings(connection, Standing(monetary="total"), tomorrow, "Europe/Berlin")
        assert connection.scalars(select(standings.c.group_before).where(standings.c.group_before.is_not(None))).all() == []


def test_becoming_at_risk_is_entering_a_segment(engine: Engine) -> None:
    segment = Segment(name="lapsing", title="Lapsing", where="rfm_group = 'at risk' and rfm_group_before = 'loyal'")

    def day(connection: Connection, days: int, standing: Standing) -> None:
        at = NOW + timedelta(days=days)
        update_standings(connection, standing, at, "Europe/Berlin")
        update_segments(connection, {"lapsing": segment}, replace(context(at), standing=standing))

    with writing(engine) as connection:
        customer = add_customer(connection, "C", ago(900))
        for place in range(5):
            add_order(connection, f"O{place}", customer, ago(100 + 20 * place))
        for days in (0, 10, 21):
            day(connection, days, Standing())
        entered = connection.scalars(select(segment_members.c.entered_at)).all()
        assert entered == [NOW + timedelta(days=21)]  # 121 days without an order
        connection.execute(update(segment_members).values(left_at=NOW, entered_at=ago(90)))
        day(connection, 22, Standing(window=timedelta(days=300)))
        assert connection.scalars(select(segment_members.c.entered_at).where(segment_members.c.left_at.is_(None))).all() == []


def test_the_groups_of_cdnow_are_those_of_the_docs(engine: Engine) -> None:
    table = re.findall(r"^\| `([a-z ]+)` \| [^|]* \| (\d+) \| (\d+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(table) == 8
    cdnow.fill(engine)
    found: dict[str, Counter[str]] = {}
    for monetary in ("total", "average"):
        with writing(engine) as connection:
            update_standings(connection, Standing(timedelta(days=546), monetary), cdnow.END, "America/New_York")
        with reading(engine) as connection:
            found[monetary] = Counter(connection.scalars(select(standings.c.rfm_group)))
            classes = Counter(connection.scalars(select(standings.c.abc)))
    assert {name: (int(total), int(average)) for name, total, average in table} == {
        name: (found["total"][name], found["average"][name]) for name, *_ in table
    }
    assert sum(found["total"].values()) == 2357
    with reading(engine) as connection:
        revenue = {
            abc: sum(
                connection.scalars(
                    select(orders.c.total_minor)
                    .join(standings, standings.c.customer_id == orders.c.customer_id)
                    .where(standings.c.abc == abc)
                )
            )
            for abc in classes
        }
    assert 0.80 <= revenue["A"] / sum(revenue.values()) < 0.801
