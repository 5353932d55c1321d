"""Everything that is kept about one person can be handed over, and only about that person."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, select

from tests.rows import add_customer
from tests.store.person import add_person
from winback.addresses import hash_address
from winback.errors import InputError
from winback.store import customers, metadata, reading, writing
from winback.store.dossier import dossier, find_person
from winback.store.erasure import erase_customer

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
KEY = b"k" * 32

#: Columns that tell nothing about a person: keys of rows, and how winback works.
INWARD = {
    *("id", "customer_id", "enrollment_id", "order_id", "link_id", "source_id", "email_hash", "phone_hash", "number"),
    *("next_attempt_at", "valid_until", "attempts", "claimed_by", "claimed_at", "definition_hash", "planned_at", "due_on"),
    *("worker", "url_hash", "label", "address", "updated_at", "zone", "waiting", "deferred_from", "last_touch", "provider_id"),
    *("source_id", "held_out", "enrolled_at", "anchor_on"),
}


def test_everything_kept_about_a_person_is_in_the_dossier(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        person = connection.execute(select(customers).where(customers.c.id == own)).one()
        text = json.dumps(dossier(connection, person), default=str, ensure_ascii=False)
        missing = []
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                for column, value in row.items():
                    if column in INWARD or value is None or value in ("", {}, False, True) or column.endswith("_minor"):
                        continue
                    shown = json.dumps(value, default=str, ensure_ascii=False).strip('"')
                    if shown not in text and str(value) not in text:
                        missing.append(f"{table.name}.{column}: {shown}")
    assert missing == []


def test_what_it_looks_like(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        person = connection.execute(select(customers).where(customers.c.id == own)).one()
        found = dossier(connection, person)
    assert found["customer"]["id"] == "anna-1"
    assert found["customer"]["birthday"] == "1985-11-24"
    assert found["consent"]["email_marketing"] is True
    assert found["consent_log"][0]["source"] == "call with anna-1@example.com"
    assert found["orders"][0]["total"] == "20.50"
    assert found["orders"][0]["lines"][0]["price"] == "10.25"
    assert found["orders_in_short"]["spent"] == "20.50"
    sent, planned = found["messages"]
    assert (sent["state"], planned["state"]) == ("sent", "planned")
    assert sent["history"][0]["detail"] == "250 ok anna-1@example.com"
    assert sent["interactions"][0]["url"] == "https://shop.example/"
    assert planned["interactions"] == []
    assert [each["raw"]["from"] for each in found["receipts"]] == ["anna-1@example.com", "4930901820"]


def test_nothing_of_anybody_else(engine: Engine) -> None:
    with writing(engine) as connection:
        add_person(connection, NOW, KEY)
        other = add_customer(connection, "bob", NOW)
        person = connection.execute(select(customers).where(customers.c.id == other)).one()
        found = dossier(connection, person)
    assert "anna" not in json.dumps(found, default=str).lower()
    assert found["orders"] == found["messages"] == found["events"] == []


@pytest.mark.parametrize("given", ["anna-1", " anna-1 ", "ANNA-1@Example.com", "030 901820", "+49 30 901820"])
def test_a_person_is_found_by_id_and_addresses(engine: Engine, given: str) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        assert find_person(connection, given, key=KEY, region="DE").id == own


@pytest.mark.parametrize("given", ["anna-2", "", "bob@example.com", "030 901821", "a\x00b", "%"])
def test_nobody_is_told_with_what_to_do(engine: Engine, given: str) -> None:
    with writing(engine) as connection:
        add_person(connection, NOW, KEY)
    with reading(engine) as connection, pytest.raises(InputError, match="there is no customer") as caught:
        find_person(connection, given, key=KEY, region="DE")
    assert "e-mail address" in caught.value.remedy


def test_an_address_of_several_people_asks_which(engine: Engine) -> None:
    with writing(engine) as connection:
        for name in ("C1", "C2"):
            add_customer(connection, name, NOW, email_hash=hash_address("a@example.com", KEY))
        with pytest.raises(InputError, match="2 customers have the address") as caught:
            find_person(connection, "a@example.com", key=KEY, region="DE")
    assert "C1, C2" in caught.value.remedy


def test_somebody_who_was_forgotten_is_found_by_the_former_id(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        erase_customer(connection, own, now=NOW, key=KEY, source="test")
        assert find_person(connection, "anna-1", key=KEY, region="DE").id == own
        with pytest.raises(InputError):
            find_person(connection, "anna-1@example.com", key=KEY, region="DE")
