"""Rows for tests, with sensible defaults: customers and orders as imports leave them, messages as the planner does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from winback.ledger import message_id
from winback.store import customers, enrollments, messages, orders
from winback.store.aggregates import refresh_customers


def add_customer(connection: Connection, external_id: str, at: datetime, **columns: Any) -> int:
    """Write a reachable customer in Berlin who consented to everything; return the row's id."""
    row = {
        "external_id": external_id,
        "email": f"{external_id.lower()}@example.com",
        "email_hash": f"{external_id.lower():0>32}",
        "local_zone": "Europe/Berlin",
        "attributes": {},
        "email_marketing": True,
        "email_service": True,
        "created_at": at,
        "updated_at": at,
        **columns,
    }
    result = connection.execute(insert(customers).values(row).returning(customers.c.id))
    return int(result.scalar_one())


def add_order(connection: Connection, external_id: str, customer_id: int, placed_at: datetime, **columns: Any) -> int:
    """Write a paid order of 20.00 USD and refresh the customer's aggregates; return the row's id."""
    row = {
        "external_id": external_id,
        "customer_id": customer_id,
        "placed_at": placed_at,
        "status": "paid",
        "total_minor": 2000,
        "currency": "USD",
        "attributes": {},
        "updated_at": placed_at,
        **columns,
    }
    result = connection.execute(insert(orders).values(row).returning(orders.c.id))
    refresh_customers(connection, [customer_id])
    return int(result.scalar_one())


def add_message(connection: Connection, customer_id: int, at: datetime, **columns: Any) -> str:
    """Write an enrollment and its message, a marketing e-mail sent at a moment; return the message's id.

    `held_out=True` makes it the holdout's virtual one.
    """
    campaign, step = columns.pop("campaign", "sleeping"), columns.pop("step", "hello")
    held_out = columns.pop("held_out", False)
    occasion = columns.pop("occasion", f"{at.isoformat()} {step}")
    enrollment = connection.execute(
        insert(enrollments)
        .values(
            campaign=campaign,
            customer_id=customer_id,
            occasion=occasion,
            anchor_at=at,
            zone="Europe/Berlin",
            variant="",
            held_out=held_out,
            state="active",
            enrolled_at=at,
        )
        .returning(enrollments.c.id)
    ).scalar_one()
    row = {
        "id": message_id(campaign, str(customer_id), occasion, step),
        "enrollment_id": enrollment,
        "campaign": campaign,
        "step": step,
        "customer_id": customer_id,
        "channel": "email",
        "purpose": "marketing",
        "variant": "",
        "state": "held_out" if held_out else "sent",
        "planned_at": at,
        "due_at": at,
        "due_on": at.date(),
        "next_attempt_at": at,
        "valid_until": at + timedelta(hours=12),
        "sent_at": None if held_out else at,
        "definition_hash": "x",
        **columns,
    }
    connection.execute(insert(messages).values(row))
    return str(row["id"])
