"""People who asked to be forgotten stay forgotten, whatever is imported afterwards."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from tests.importers.conftest import Desk
from winback.importers import ImportResult
from winback.store import consents, customers, events, orders, reading, writing
from winback.store.erasure import erase_customer

PEOPLE = "customer_id,email,phone,email_marketing,consent_at\nC1,ann@example.com,030 901820,yes,2026-01-01\n"
ORDERS = "order_id,customer_id,customer_email,placed_at,total\nA1,C1,ann@example.com,2026-11-01,5\n"
EVENTS = "event_id,customer_id,customer_email,name,at\nE1,C1,ann@example.com,visit,2026-11-01\n"


def erase(desk: Desk, external_id: str) -> None:
    """Forget a customer."""
    with writing(desk.engine) as connection:
        erase_customer(connection, desk.customer(external_id).id, now=desk.now, key=desk.settings.address_key, source="test")


def is_left_alone(result: ImportResult, rows: int = 1) -> bool:
    """Say whether all rows of an import were left alone, and told."""
    told = f"{rows} rows of people who asked to be forgotten were left alone"
    return (result.unchanged, result.inserted, result.updated, result.rejected) == (rows, 0, 0, 0) and told in result.notes


@pytest.fixture
def forgotten(desk: Desk) -> Desk:
    """Give a desk where C1 was imported with an order and an event, and then forgotten."""
    desk.run("customers", PEOPLE)
    desk.run("orders", ORDERS)
    desk.run("events", EVENTS)
    erase(desk, "C1")
    return desk


@pytest.mark.parametrize(("kind", "text"), [("customers", PEOPLE), ("orders", ORDERS), ("events", EVENTS)])
def test_the_same_files_bring_nobody_back(forgotten: Desk, kind: str, text: str) -> None:
    before = [forgotten.all(table, *table.c.keys()) for table in (customers, consents, orders, events)]
    assert is_left_alone(forgotten.run(kind, text))
    assert [forgotten.all(table, *table.c.keys()) for table in (customers, consents, orders, events)] == before


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("customers", "customer_id,email\nC9,ANN@example.com\n"),  # another id, the same address
        ("customers", "email,first_name\nann@example.com,Ann\n"),
        ("customers", "customer_id,phone\nC9,+49 30 901820\n"),  # only the number
        ("customers", "customer_id,first_name\nC1,Ann\n"),  # only the id
        ("orders", "order_id,customer_email,placed_at,total\nA9,Ann@Example.com,2026-11-02,5\n"),
        ("orders", "order_id,customer_id,placed_at,total\nA9,C1,2026-11-02,5\n"),
        ("events", "customer_email,name,at\nann@example.com,visit,2026-11-02\n"),
    ],
)
def test_neither_does_another_id_or_one_of_the_addresses(forgotten: Desk, kind: str, text: str) -> None:
    assert is_left_alone(forgotten.run(kind, text))
    assert len(forgotten.all(customers, "id")) == 1


def test_somebody_else_with_the_same_phone_is_imported(forgotten: Desk) -> None:
    """Families share phones; the number itself stays blocked."""
    result = forgotten.run("customers", "customer_id,email,phone\nC2,bob@example.com,030 901820\n")
    assert result.inserted == 1
    assert forgotten.customer("C2").email == "bob@example.com"


def test_orders_of_the_forgotten_still_count(forgotten: Desk) -> None:
    assert len(forgotten.all(orders, "id")) == 1
    assert forgotten.all(customers, "order_count", "spent_minor") == [(1, 500)]


@pytest.mark.parametrize(("kind", "text"), [("customers", PEOPLE), ("orders", ORDERS), ("events", EVENTS)])
def test_somebody_who_is_forgotten_while_a_file_is_read_is_not_written(desk: Desk, kind: str, text: str) -> None:
    desk.run("customers", PEOPLE)
    erasing = threading.Thread(target=erase, args=(desk, "C1"))

    def when_all_is_read(*_: object) -> None:
        if erasing.ident is None:
            erasing.start()
            erasing.join(timeout=30)
            assert not erasing.is_alive()

    assert is_left_alone(desk.run(kind, text, progress=when_all_is_read))
    with reading(desk.engine) as connection:
        kept = connection.execute(select(customers.c.email, customers.c.erased_at)).all()
    assert [tuple(row) for row in kept] == [(None, desk.now)]
    assert desk.all(orders, "id") == []
    assert desk.all(events, "id") == []
