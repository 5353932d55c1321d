"""The real orders of the online shop CDNOW, imported as its map says."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.importers.conftest import Desk
from winback.store import customers, orders

MASTER = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdnow" / "CDNOW_master.txt"

pytestmark = pytest.mark.skipif(not MASTER.exists(), reason=f"needs ../shared/data/cdnow/{MASTER.name}")


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """Give the desk of a shop in America in the summer of 1998."""
    settings = replace(desk.settings, zone="America/New_York", region="US", currency="USD")
    return replace(desk, settings=settings, now=datetime(1998, 7, 1, tzinfo=UTC))


def test_all_orders_of_all_customers_go_in_and_the_second_time_changes_nothing(shop: Desk) -> None:
    result = shop.run("orders", MASTER, "cdnow")
    assert (result.rows, result.inserted, result.rejected, result.warnings) == (69_659, 69_659, 0, 0)
    assert result.customers_created == 23_570
    assert (len(shop.all(orders, "id")), len(shop.all(customers, "id"))) == (69_659, 23_570)
    _compare_with_the_file(shop)
    before = shop.all(customers, *customers.c.keys())
    again = replace(shop, now=shop.now + timedelta(days=1)).run("orders", MASTER, "cdnow")
    assert (again.unchanged, again.rejected, again.customers_created) == (69_659, 0, 0)
    assert shop.all(customers, *customers.c.keys()) == before


def _compare_with_the_file(shop: Desk) -> None:
    """Compare what is known of every customer with a count in plain Python."""
    many: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    days: defaultdict[str, set[str]] = defaultdict(set)
    for line in MASTER.read_text().splitlines()[1:]:
        customer, day, _, dollars = line.split()
        many[customer] += 1
        spent[customer] += round(float(dollars) * 100)
        days[customer].add(day)
    kept = shop.all(customers, "external_id", "order_count", "spent_minor", "currency", "first_order_at", "last_order_at")
    assert len(kept) == len(many)
    for customer, count, minor, currency, first, last in kept:
        assert (count, minor, currency) == (many[customer], spent[customer], "USD")
        assert (f"{first - timedelta(hours=4):%Y%m%d}", f"{last - timedelta(hours=4):%Y%m%d}") == (
            min(days[customer]),
            max(days[customer]),
        )
