"""Of a person who asked to be forgotten no trace is left but keyed hashes; what is counted stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from tests.rows import add_customer, add_order
from tests.store.person import TRACES, add_person
from winback.addresses import hash_address
from winback.store import customers, enrollments, message_history, messages, metadata, orders, receipts, suppressions, writing
from winback.store.aggregates import refresh_customers
from winback.store.erasure import erase_customer, erased_hashes, erased_id

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
KEY = b"k" * 32


def everything(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table."""
    return {
        table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
        for table in metadata.sorted_tables
    }


def traces(connection: Connection) -> list[str]:
    """Return where something of the person still stands."""
    return [
        f"{name}.{column}: {value}"
        for name, rows in everything(connection).items()
        for row in rows
        for column, value in row.items()
        if any(trace in str(value).lower() for trace in TRACES)
    ]


def test_no_trace_is_left(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        assert len(traces(connection)) > 20
        assert erase_customer(connection, own, now=NOW, key=KEY, source="test") == ("email", "sms")
        assert traces(connection) == []


def test_what_is_counted_stays(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        before = {name: len(rows) for name, rows in everything(connection).items()}
        kept = connection.execute(select(customers.c.order_count, customers.c.spent_minor)).one()
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        after = {name: len(rows) for name, rows in everything(connection).items()}
        assert after == before | {"suppressions": 2, "segment_members": 0}
        assert connection.execute(select(customers.c.order_count, customers.c.spent_minor)).one() == kept
        states = connection.scalars(select(messages.c.state).order_by(messages.c.state)).all()
        assert states == ["planned", "sent"]


def test_the_last_order_is_still_the_one_it_was(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        last = connection.scalar(select(customers.c.last_order_id))
        assert last == connection.scalar(select(orders.c.external_id))
        refresh_customers(connection, None)
        assert connection.scalar(select(customers.c.last_order_id)) == last
        assert last in connection.scalars(select(enrollments.c.occasion)).all()


def test_hashes_stay_for_comparing(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        ids, hashes = erased_hashes(connection)
        assert ids == {erased_id("anna-1", KEY)}
        assert hashes == {hash_address("anna-1@example.com", KEY), hash_address("+4930901820", KEY)}
        assert set(connection.scalars(select(suppressions.c.reason))) == {"erased"}
        row = connection.execute(select(customers)).one()
        assert row.erased_at == NOW
        assert (row.email_marketing, row.email_service, row.sms_marketing, row.sms_service) == (False,) * 4


def test_nobody_else_is_touched(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        other = add_customer(connection, "bob", NOW, attributes={"pet": "dog"})
        add_order(connection, "B1", other, NOW)
        before = connection.execute(select(customers).where(customers.c.id == other)).one()
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        assert connection.execute(select(customers).where(customers.c.id == other)).one() == before
        assert "B1" in connection.scalars(select(orders.c.external_id)).all()


def test_the_second_time_takes_out_what_came_since_and_nothing_more(engine: Engine) -> None:
    later = NOW + timedelta(days=1)
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        before = everything(connection)
        assert erase_customer(connection, own, now=later, key=KEY, source="test") == ()
        assert everything(connection) == before
        message = connection.scalar(select(messages.c.id).where(messages.c.state == "sent"))
        row = {"message_id": message, "to_state": "delivered", "detail": "to Anna", "at": later}
        connection.execute(insert(message_history), row)
        erase_customer(connection, own, now=later, key=KEY, source="test")
        assert traces(connection) == []
        assert connection.scalar(select(customers.c.erased_at)) == NOW


def test_an_id_that_names_nobody_stays(engine: Engine) -> None:
    """Order numbers of the shop are needed for the books, and name the person only to the shop."""
    with writing(engine) as connection:
        own = add_customer(connection, "C1", NOW)
        add_order(connection, "R-2026-0815", own, NOW)
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        assert connection.scalar(select(orders.c.external_id)) == "R-2026-0815"


def test_a_reply_of_somebody_else_stays(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        row = {"gateway": "sms", "provider_id": "r3", "kind": "replied", "at": NOW, "raw": {"from": "49301111"}}
        connection.execute(insert(receipts), row)
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        raws = connection.scalars(select(receipts.c.raw).order_by(receipts.c.provider_id)).all()
        assert raws == [{}, {}, {"from": "49301111"}]
