"""Rows for tests: customers and orders as the importers would leave them, with sensible defaults."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from winback.store import customers, orders
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
