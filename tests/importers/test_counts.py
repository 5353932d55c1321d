"""Whatever a file holds: every row is counted once, a second time changes nothing, and aggregates are those of a new count."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.importers.conftest import Desk
from winback.store import consents, customers, events, order_lines, orders, writing
from winback.store.aggregates import refresh_customers

TABLES = (customers, consents, orders, order_lines, events)

quickly = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cells(*values: str) -> st.SearchStrategy[str]:
    """Give one of these texts, or a text of any letters; often nothing."""
    anything = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=6)
    return st.one_of(st.sampled_from(["", *values]), st.sampled_from(values), anything)


def tables(**columns: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Give a CSV file with these columns; some rows are too short."""
    whole = st.tuples(*columns.values())
    rows = st.lists(st.one_of(whole, whole, whole.map(lambda row: row[:2])), max_size=12)
    return rows.map(lambda found: written([list(columns), *found]))


def written(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a CSV file."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


PEOPLE = tables(
    customer_id=cells("C1", "C2", "C3", "C4"),
    email=cells("a@example.com", "B@example.com", "a@"),
    phone=cells("030 901820", "+1 212 736 5000", "1"),
    name=cells("Ann Miller", "Miller, Ann"),
    birthday=cells("1980-02-29", "--02-29", "1900-01-01", "31.12.1999", "99"),
    zone=cells("Europe/Rome", "Mars/Base"),
    email_marketing=cells("yes", "no", "pending"),
    consent_at=cells("2026-01-01", "2026-02-01", "2030-01-01"),
    **{"attributes.a": cells("1", "x", "0.1"), "attributes.b": cells("true", "ü")},
)
PURCHASES = tables(
    order_id=cells("A1", "A2", "A3"),
    customer_id=cells("C1", "C2", "C3"),
    placed_at=cells("2026-01-01", "2026-02-01 10:00", "2026-03-01T10:00:00Z", "soon"),
    status=cells("paid", "refunded", "delivered", "lost"),
    total=cells("1.00", "20", "3,50", "-1"),
    currency=cells("EUR", "USD", "JPY", "XXX"),
    **{"attributes.a": cells("1", "x")},
)
LINES = tables(
    order_id=cells("A1", "A2", "A3"),
    customer_id=cells("C1", "C2"),
    placed_at=cells("2026-01-01", "2026-02-01"),
    product_id=cells("P1", "P2"),
    quantity=cells("1", "2", "x"),
    price=cells("1.00", "2", "free"),
)
VISITS = tables(
    event_id=cells("E1", "E2"),
    customer_id=cells("C1", "C2"),
    name=cells("visit", "download"),
    at=cells("2026-01-01", "2026-02-01", "soon"),
    **{"properties.page": cells("/", "1")},
)


def everything(desk: Desk) -> list[list[tuple[Any, ...]]]:
    """Return all rows of all tables that imports write."""
    return [desk.all(table, *table.c.keys()) for table in TABLES]


def holds(desk: Desk, kind: str, text: str, *maps: str) -> None:
    """Import a file twice; `Desk.run` compares the counts with the rows each time."""
    rows = list(csv.reader(io.StringIO(text)))[1:]
    first = desk.run(kind, text, *maps)
    width = text.partition("\n")[0].count(",") + 1
    assert first.rows == sum(len(row) == width or any(cell.strip() for cell in row) for row in rows)
    before = everything(desk)
    second = desk.run(kind, text, *maps)
    assert (second.inserted, second.updated, second.rejected) == (0, 0, first.rejected)
    assert everything(desk) == before


@quickly
@given(files=st.lists(PEOPLE, min_size=1, max_size=3))
def test_customers(desk: Desk, files: list[str]) -> None:
    for text in files:
        holds(desk, "customers", text)


@quickly
@given(files=st.lists(PEOPLE, min_size=1, max_size=2))
def test_customers_with_cells_that_empty(desk: Desk, files: list[str]) -> None:
    for text in files:
        holds(desk, "customers", text, 'empty = "clear"\n')


@quickly
@given(files=st.lists(st.one_of(PURCHASES, LINES), min_size=1, max_size=3))
def test_orders_and_aggregates(desk: Desk, files: list[str]) -> None:
    for text in files:
        holds(desk, "orders", text)
        kept = desk.all(customers, *customers.c.keys())
        with writing(desk.engine) as connection:
            refresh_customers(connection, None)
        assert desk.all(customers, *customers.c.keys()) == kept


@quickly
@given(files=st.lists(VISITS, min_size=1, max_size=3))
def test_events(desk: Desk, files: list[str]) -> None:
    for text in files:
        holds(desk, "events", text)
