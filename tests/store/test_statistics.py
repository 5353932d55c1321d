"""PostgreSQL sees what a long transaction has written; SQLite has nothing to see."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, insert, text

from tests.rows import add_customer
from winback.store import consents, customers, filled, look_over, writing

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def _known(connection: Connection, name: str) -> float | None:
    if connection.dialect.name == "sqlite":
        return None
    return connection.scalar(text("SELECT reltuples FROM pg_class WHERE oid = CAST(:name AS regclass)"), {"name": name})


def _agree(connection: Connection, count: int) -> None:
    customer = add_customer(connection, "C", NOW)
    row = {"customer_id": customer, "channel": "email", "purpose": "marketing", "granted": True, "at": NOW, "source": "test" * 20}
    connection.execute(insert(consents), [row] * count)


def test_what_a_transaction_has_written_is_seen_where_it_is_much(engine: Engine) -> None:
    with writing(engine) as connection:
        _agree(connection, 50)
        before = _known(connection, "consents")
        filled(connection, consents, 50, many=51)
        assert _known(connection, "consents") == before
        filled(connection, consents, 50, many=50)
        assert _known(connection, "consents") in (50, None)


def test_tables_that_have_grown_are_looked_over(engine: Engine) -> None:
    with writing(engine) as connection:
        for table in (consents, customers):
            filled(connection, table, 1, many=0)
        _agree(connection, 20_000)
        look_over(connection, (consents, customers))
        assert _known(connection, "consents") in (20_000, None)
        assert _known(connection, "customers") in (0, None)  # one row is no growth
