"""A person about whom something is kept in every table. What is theirs alone holds the word "anna" or their numbers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, insert

from tests.rows import add_customer
from winback.addresses import hash_address
from winback.ledger import message_id
from winback.store import (
    consents,
    conversions,
    coupons,
    enrollments,
    events,
    interactions,
    links,
    message_history,
    messages,
    order_lines,
    orders,
    receipts,
    score_crossings,
    score_states,
    segment_members,
)
from winback.store.aggregates import refresh_customers

#: What no row may hold once the person is forgotten.
TRACES = ("anna", "30901820")


def add_person(connection: Connection, now: datetime, key: bytes, external_id: str = "anna-1") -> int:
    """Write a customer, all that hangs on her, and return the row's id."""
    email, phone = f"{external_id}@example.com", "+4930901820"
    own = add_customer(
        connection, external_id, now, email=email, phone=phone,
        email_hash=hash_address(email, key), phone_hash=hash_address(phone, key),
        first_name="Anna", last_name="Annable", city="Annaberg", country="DE", locale="de", zone="Europe/Berlin",
        birth_year=1985, birth_month=11, birth_day=24, attributes={"pet": "anna's cat"}, sms_marketing=True,
    )  # fmt: skip

    def add(table: Table, **row: Any) -> Any:
        return connection.execute(insert(table).values(row).returning(*table.primary_key)).scalar_one()

    at = now - timedelta(days=20)
    add(consents, customer_id=own, channel="email", purpose="marketing", granted=True, at=at, source=f"call with {email}")
    order_id = add(
        orders, external_id=f"{external_id}-20261104-1", customer_id=own, placed_at=at, status="paid", total_minor=2050,
        currency="EUR", attributes={"note": "for anna"}, updated_at=at,
    )  # fmt: skip
    add(order_lines, order_id=order_id, position=1, product_id="P1", name="Mug", quantity=2, price_minor=1025)
    add(events, external_id=f"{email}/1", customer_id=own, name="visit", at=at, properties={"page": "/anna"})
    add(segment_members, segment="big", customer_id=own, entered_at=at)
    add(score_states, model="lead", customer_id=own, value=12.5, level="warm", since=at, updated_at=at)
    add(score_crossings, model="lead", customer_id=own, number=1, level="warm", upward=True, value=12.5, at=at)
    refresh_customers(connection, [own])
    for state, due, enrollment_state in (("sent", at, "finished"), ("planned", now + timedelta(days=1), "active")):
        occasion = f"{external_id}-20261104-{'1' if state == 'sent' else '2'}"
        enrolled = add(
            enrollments, campaign="thanks", customer_id=own, occasion=occasion, anchor_at=at, zone="Europe/Berlin", variant="",
            held_out=False, state=enrollment_state, step="thanks" if state == "planned" else None, enrolled_at=at,
            due_at=due if state == "planned" else None,
        )  # fmt: skip
        message = message_id("thanks", external_id, occasion, "thanks")
        add(
            messages, id=message, enrollment_id=enrolled, campaign="thanks", step="thanks", customer_id=own, channel="email",
            purpose="service", variant="", state=state, planned_at=at, due_at=due, due_on=due.date(), next_attempt_at=due,
            valid_until=due + timedelta(days=1), attempts=1, definition_hash="x", subject=f"Anna, {state}",
            reason=f"550 no {email}" if state == "sent" else None, sent_at=at if state == "sent" else None,
        )  # fmt: skip
        add(message_history, message_id=message, to_state=state, detail=f"250 ok {email}", reason=f"to {email}", at=at)
        if state == "sent":
            link = add(links, campaign="thanks", step="thanks", url="https://shop.example/", url_hash="l" * 32)
            add(
                interactions, message_id=message, customer_id=own, campaign="thanks", step="thanks", kind="click", klass="human",
                link_id=link, at=at, user_agent="Anna's browser", address="f" * 32,
            )  # fmt: skip
            add(receipts, gateway="relay", provider_id="r1", kind="replied", message_id=message, at=at, raw={"from": email})
            add(
                conversions, campaign="thanks", kind="order", source_id=order_id, customer_id=own, enrollment_id=enrolled,
                message_id=message, held_out=False, last_touch=True, value_minor=2050, currency="EUR", at=at,
            )  # fmt: skip
            add(coupons, code="WAKE-1", pool="WAKE10", customer_id=own, message_id=message, given_at=at)
    add(
        receipts,
        gateway="sms",
        provider_id="r2",
        kind="replied",
        message_id=None,
        at=at,
        raw={"from": "4930901820", "text": "hi"},
    )
    return own
