"""Shops for tests of passes and the daemon: files, people, and what came out of the outbox or a server."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, insert, select

from tests.project.builder import campaign, email_step, write_shop
from tests.rows import add_customer
from winback.project import Project, load_project
from winback.store import customers, message_history, messages, orders, reading, writing
from winback.store.aggregates import refresh_customers

#: Everybody who is asleep gets one letter, at once.
WAKE = campaign(
    title="Wake",
    audience={"preset": "sleeping", "inactive": "90d"},
    schedule={"late": "2d"},
    steps=[email_step("hello")],
)

#: A letter to everybody who has ordered, as soon as that is known.
THANKS = campaign(
    title="Thanks",
    purpose="service",
    audience={"preset": "after_order", "delay": "1d"},
    schedule={"late": "12h"},
    steps=[email_step("thanks")],
)


def make_shop(
    folder: Path, database_url: str, campaigns: Mapping[str, Any], *, settings: Mapping[str, Any] | None = None
) -> Project:
    """Write a shop in Berlin and load it."""
    tables = {
        "shop": {"name": "Half Note", "zone": "Europe/Berlin", "email_from": "hello@halfnote.example"},
        **(settings or {}),
    }
    root = write_shop(folder, campaigns=campaigns, settings=tables)
    return load_project(root, environ={**os.environ, "WINBACK_DATABASE_URL": database_url})


def add_sleepers(engine: Engine, count: int, now: datetime, *, days: int = 100, prefix: str = "S", **columns: Any) -> None:
    """Write people in Berlin who consented and ordered last so many days ago."""
    placed = now - timedelta(days=days)
    with writing(engine) as connection:
        for number in range(count):
            name = f"{prefix}{number:04}"
            customer = add_customer(connection, name, now - timedelta(days=400), first_name=f"Ada{number}", **columns)
            order = {"external_id": f"O-{name}", "customer_id": customer, "placed_at": placed, "status": "paid"}
            connection.execute(insert(orders).values(**order, total_minor=2000, currency="USD", attributes={}, updated_at=placed))
        refresh_customers(connection, None)


def states(engine: Engine) -> Counter[str]:
    """Count the ledger's messages by state."""
    with reading(engine) as connection:
        rows = connection.execute(select(messages.c.state, func.count()).group_by(messages.c.state))
        return Counter({row[0]: row[1] for row in rows})


def rows(engine: Engine, *columns: str) -> list[tuple[Any, ...]]:
    """Return columns of the ledger's messages, joined with their customers, by time and customer."""
    wanted = [customers.c[name] if name == "external_id" else messages.c[name] for name in columns]
    with reading(engine) as connection:
        found = connection.execute(
            select(*wanted)
            .join_from(messages, customers, customers.c.id == messages.c.customer_id)
            .order_by(messages.c.due_at, customers.c.external_id, messages.c.step)
        )
        return [tuple(row) for row in found]


def times_sent(engine: Engine) -> Counter[str]:
    """Count how often each message was recorded as sent, by its id."""
    with reading(engine) as connection:
        ids = connection.scalars(select(message_history.c.message_id).where(message_history.c.to_state == "sent"))
        return Counter(ids)


def in_outbox(root: Path) -> Counter[str]:
    """Count what arrived in the outbox, by address."""
    files = (root / "var" / "outbox").glob("*/*.json")
    return Counter(json.loads(file.read_text(encoding="utf-8"))["recipient"] for file in files)
