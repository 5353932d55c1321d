"""What is kept of a customer's orders is what a plain count of them gives."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, select, update

from tests.rows import add_customer, add_order
from winback.store import VOID_STATUSES, OrderStatus, customers, orders, reading, writing
from winback.store.aggregates import refresh_customers

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEPT = ("order_count", "spent_minor", "currency", "first_order_at", "last_order_at", "last_order_id", "median_gap_days")


@dataclass(frozen=True)
class Purchase:
    """An order of one of three customers."""

    customer: int
    placed_at: datetime
    status: str
    total_minor: int
    currency: str


MOMENTS = st.datetimes(datetime(1968, 1, 1), datetime(2026, 11, 1), timezones=st.just(UTC))  # noqa: DTZ001
NEAR = st.integers(0, 40).map(lambda hours: datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(hours=6 * hours))
PURCHASES = st.builds(
    Purchase,
    customer=st.integers(0, 2),
    placed_at=st.one_of(MOMENTS, NEAR),
    status=st.sampled_from(list(OrderStatus)).map(str),
    total_minor=st.integers(-(10**9), 10**9),
    currency=st.sampled_from(["EUR", "USD"]),
)


def counted(found: list[tuple[int, Purchase]]) -> dict[str, Any]:
    """Count one customer's orders (numbered in the order of writing) in plain Python."""
    valid = sorted((each.placed_at, number, each) for number, each in found if each.status not in VOID_STATUSES)
    if not valid:
        return dict.fromkeys(KEPT) | {"order_count": 0, "spent_minor": 0}
    newest = valid[-1][2]
    days = sorted({at.date() for at, _, _ in valid})
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    return {
        "order_count": len(valid),
        "spent_minor": sum(each.total_minor for _, _, each in valid if each.currency == newest.currency),
        "currency": newest.currency,
        "first_order_at": valid[0][0],
        "last_order_at": valid[-1][0],
        "last_order_id": f"A{valid[-1][1]}",
        "median_gap_days": float(median(gaps)) if gaps else None,
    }


def write(connection: Connection, purchases: list[Purchase]) -> list[int]:
    """Write three customers and their orders, as they are; return the customers' ids."""
    tag = len(connection.execute(select(customers.c.id)).all())
    ids = [add_customer(connection, f"C{tag + number}", NOW) for number in range(3)]
    rows = [
        {
            "external_id": f"{tag}:A{number}",
            "customer_id": ids[each.customer],
            "placed_at": each.placed_at,
            "status": each.status,
            "total_minor": each.total_minor,
            "currency": each.currency,
            "attributes": {},
            "updated_at": NOW,
        }
        for number, each in enumerate(purchases)
    ]
    if rows:
        connection.execute(insert(orders), rows)
    return ids


def kept(connection: Connection, customer_id: int) -> dict[str, Any]:
    """Return what is kept of a customer's orders."""
    row = connection.execute(select(*(customers.c[name] for name in KEPT)).where(customers.c.id == customer_id)).one()
    found = dict(row._mapping)
    if found["last_order_id"] is not None:
        found["last_order_id"] = found["last_order_id"].partition(":")[2]
    return found


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(purchases=st.lists(PURCHASES, max_size=15))
def test_aggregates_are_those_of_a_plain_count(engine: Engine, purchases: list[Purchase]) -> None:
    with writing(engine) as connection:
        ids = write(connection, purchases)
        refresh_customers(connection, ids)
        own: defaultdict[int, list[tuple[int, Purchase]]] = defaultdict(list)
        for number, each in enumerate(purchases):
            own[each.customer].append((number, each))
        assert [kept(connection, each) for each in ids] == [counted(own[number]) for number in range(3)]


def test_only_the_customers_named_are_counted_anew(engine: Engine) -> None:
    purchase = Purchase(0, NOW, "paid", 100, "EUR")
    with writing(engine) as connection:
        first, second, _ = write(connection, [purchase, Purchase(1, NOW, "paid", 100, "EUR")])
        refresh_customers(connection, [])
        refresh_customers(connection, [first])
        assert [kept(connection, each)["order_count"] for each in (first, second)] == [1, 0]
        refresh_customers(connection, None)
        assert [kept(connection, each)["order_count"] for each in (first, second)] == [1, 1]


def test_an_order_that_is_sent_back_no_longer_counts(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_customer(connection, "C1", NOW)
        for number in range(3):
            add_order(connection, f"A{number}", own, NOW + timedelta(days=10 * number))
        assert kept(connection, own)["order_count"] == 3
        connection.execute(update(orders).where(orders.c.external_id == "A2").values(status="returned"))
        refresh_customers(connection, [own])
        found = kept(connection, own)
    assert (found["order_count"], found["last_order_at"], found["median_gap_days"]) == (2, NOW + timedelta(days=10), 10.0)


@pytest.mark.parametrize("many", [1, 5000])
def test_any_number_of_customers_is_one_statement(engine: Engine, many: int) -> None:
    with writing(engine) as connection:
        own = add_customer(connection, "C1", NOW)
        add_order(connection, "A1", own, NOW)
        connection.execute(update(customers).values(order_count=0))
        refresh_customers(connection, [own, *range(10**6, 10**6 + many - 1)])
    with reading(engine) as connection:
        assert connection.scalar(select(customers.c.order_count)) == 1
