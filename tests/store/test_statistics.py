"""PostgreSQL sees what a long transaction has written; SQLite has nothing to see."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, delete, insert, text

from tests.rows import add_customer
from winback.store import consents, customers, filled, look_over, orders, writing
from winback.store.aggregates import refresh_customers

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def _known(connection: Connection, name: str) -> float | None:
    if connection.dialect.name == "sqlite":
        return None
    return connection.scalar(text("SELECT reltuples FROM pg_class WHERE oid = CAST(:name AS regclass)"), {"name": name})


def _agree(connection: Connection, count: int, customer: int | None = None) -> int:
    customer = customer or add_customer(connection, "C", NOW)
    row = {"customer_id": customer, "channel": "email", "purpose": "marketing", "granted": True, "at": NOW, "source": "test" * 20}
    connection.execute(insert(consents), [row] * count)
    return customer


def test_what_a_transaction_has_written_is_seen_where_it_is_much(engine: Engine) -> None:
    with writing(engine) as connection:
        _agree(connection, 50)
        before = _known(connection, "consents")
        filled(connection, consents, 50, many=51)
        assert _known(connection, "consents") == before
        filled(connection, consents, 50, many=50)
        assert _known(connection, "consents") in (50, None)


def test_a_table_of_the_transaction_is_looked_at_briefly(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("it has nothing to see")
    numbers = Table("numbers", MetaData(), Column("number", Integer), prefixes=["TEMPORARY"])
    with writing(engine) as connection:
        numbers.create(connection)
        connection.execute(text("INSERT INTO numbers SELECT generate_series(1, 5000)"))
        filled(connection, numbers, 5000)
        assert _known(connection, "numbers") == 5000
        bounds = text(
            "SELECT array_length(CAST(CAST(histogram_bounds AS text) AS integer[]), 1) FROM pg_stats WHERE tablename = 'numbers'"
        )
        assert connection.scalar(bounds) == 11
        assert connection.scalar(text("SHOW default_statistics_target")) == "100"  # of the other tables it is to know more


def test_tables_that_have_grown_are_looked_over(engine: Engine) -> None:
    with writing(engine) as connection:
        filled(connection, consents, 1, many=0)
        customer = _agree(connection, 20_000)
        look_over(connection, (customers, consents))
        assert _known(connection, "consents") in (20_000, None)
        _agree(connection, 1, customer)
        look_over(connection, (customers, consents))
        assert _known(connection, "consents") in (20_000, None)  # one row is no growth


def test_tables_that_were_empty_when_they_were_looked_at_are_looked_over(engine: Engine) -> None:
    with writing(engine) as connection:
        _agree(connection, 1_000)
        connection.execute(delete(consents))
        filled(connection, consents, 0, many=0)  # empty pages: by them the next rows would be taken for none
        connection.execute(delete(customers))
        _agree(connection, 1_000)
        look_over(connection, (consents, customers))
        assert _known(connection, "consents") in (1_000, None)


@pytest.mark.parametrize("named", [False, True])
def test_the_orders_of_many_are_counted_in_a_table_that_was_empty_when_it_was_looked_at(engine: Engine, named: bool) -> None:
    """The plan for no rows is cubic in their number: of 2 000 customers it took longer than a quarter of an hour."""
    person = {"local_zone": "Europe/Berlin", "attributes": {}, "created_at": NOW, "updated_at": NOW}
    order = {"placed_at": NOW, "status": "paid", "total_minor": 2000, "currency": "USD", "attributes": {}, "updated_at": NOW}
    many = range(1, 2_001)
    people = [{"id": each, "external_id": f"C{each}", **person} for each in many]
    bought = [{"external_id": f"O{each}", "customer_id": each, **order} for each in many]
    with writing(engine) as connection:
        for _ in range(2):
            connection.execute(delete(orders))
            connection.execute(delete(customers))
            for table in (customers, orders):
                filled(connection, table, 0, many=0)
            connection.execute(insert(customers), people)
            connection.execute(insert(orders), bought)
        refresh_customers(connection, many if named else None)
        assert connection.scalar(text("SELECT SUM(order_count) FROM customers")) == len(many)
        assert _known(connection, "orders") in (len(many), None)
