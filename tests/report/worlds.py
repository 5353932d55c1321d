"""Small shops for reports, written row by row: people, enrollments, messages with their history, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Table, insert, select

from tests.project.builder import campaign, email_step, write_shop
from tests.rows import add_customer, add_order
from winback.ledger import message_id
from winback.project import Project, load_project
from winback.store import (
    InteractionClass,
    InteractionKind,
    MessageState,
    customers,
    enrollments,
    events,
    interactions,
    links,
    message_history,
    messages,
    orders,
)
from winback.store.aggregates import refresh_customers
from winback.track.conversions import attribute

_DAY = timedelta(days=1)

#: States in which a message begins; it comes to every other one by way of `planned`.
_FIRST = (MessageState.PLANNED, MessageState.SKIPPED, MessageState.HELD_OUT)


def make_project(folder: Path, settings: Mapping[str, Any] | None = None, **campaigns: Mapping[str, Any]) -> Project:
    """Return a shop in New York with campaigns; without any, one with two steps and a holdout."""
    shop = {"shop": {"name": "Half Note", "zone": "America/New_York", "locale": "en-US", "currency": "USD"}, **(settings or {})}
    return load_project(write_shop(folder, campaigns=campaigns or {"wake": waking()}, settings=shop))


def waking(**changes: Any) -> dict[str, Any]:
    """Return a campaign with two steps, a holdout of a tenth and a window of ten days, with keys changed."""
    return (
        campaign(
            title="Wake sleeping customers",
            goal="An order",
            measure={"holdout": "10%", "window": "10d"},
            steps=[email_step("hello"), email_step("offer", after="7d")],
        )
        | changes
    )


class World:
    """Write rows for one project; every moment is said, or follows from another one."""

    def __init__(self, connection: Connection, project: Project, now: datetime) -> None:
        self.connection = connection
        self.project = project
        self.now = now
        self._numbers = 0

    def person(self, **columns: Any) -> int:
        """Write a customer; return the row's id."""
        return add_customer(self.connection, f"P{self._number()}", self.now - 400 * _DAY, **columns)

    def enroll(self, at: datetime, *, customer: int | None = None, campaign: str = "wake", **columns: Any) -> int:
        """Write an enrollment, of a new customer when none is given; return the row's id."""
        row = {
            "campaign": campaign,
            "customer_id": customer or self.person(),
            "occasion": f"occasion {self._number()}",
            "anchor_at": at - 90 * _DAY,
            "zone": "Europe/Berlin",
            "variant": "",
            "held_out": False,
            "state": "active",
            "enrolled_at": at,
            **columns,
        }
        return int(self.connection.execute(insert(enrollments).values(row).returning(enrollments.c.id)).scalar_one())

    def message(self, enrollment: int, at: datetime, *, state: str = "sent", step: str = "hello", **columns: Any) -> str:
        """Write a message that was due at a moment, with its history; return its id. `began` is its first state."""
        owner = self.connection.execute(select(enrollments).where(enrollments.c.id == enrollment)).one()
        began = columns.pop("began", state if state in _FIRST else MessageState.PLANNED)
        written = message_id(owner.campaign, str(owner.customer_id), owner.occasion, step)
        gone = state in (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED)
        row = {
            "id": written,
            "enrollment_id": enrollment,
            "campaign": owner.campaign,
            "step": step,
            "customer_id": owner.customer_id,
            "channel": "email",
            "purpose": "marketing",
            "variant": owner.variant,
            "state": state,
            "planned_at": at - timedelta(hours=20),
            "due_at": at,
            "due_on": at.date(),
            "next_attempt_at": at,
            "valid_until": at + timedelta(hours=12),
            "sent_at": at if gone else None,
            "definition_hash": "0" * 64,
            **columns,
        }
        self.connection.execute(insert(messages).values(row))
        self._history(written, None, str(began), row["planned_at"])
        if began != state:
            self._history(written, str(began), str(state), at)
        return written

    def _history(self, message: str, source: str | None, target: str, at: datetime) -> None:
        self.connection.execute(
            insert(message_history).values(message_id=message, from_state=source, to_state=target, worker="test", at=at)
        )

    def reach(self, at: datetime, **columns: Any) -> tuple[int, str]:
        """Write somebody who came in and got a message, or was held out; return the customer and the message."""
        enrollment = self.enroll(at, **columns)
        owner = self.connection.execute(select(enrollments).where(enrollments.c.id == enrollment)).one()
        state = MessageState.HELD_OUT if owner.held_out else MessageState.SENT
        return owner.customer_id, self.message(enrollment, at, state=state)

    def came_back(
        self, message: str, kind: InteractionKind, at: datetime, klass: InteractionClass = InteractionClass.HUMAN, **columns: Any
    ) -> None:
        """Write an interaction with a message."""
        about = self.connection.execute(select(messages).where(messages.c.id == message)).one()
        row = {"message_id": message, "customer_id": about.customer_id, "campaign": about.campaign, "step": about.step}
        self.connection.execute(insert(interactions).values(**row, kind=kind, klass=klass, at=at, **columns))

    def link(self, url: str, label: str | None = None, *, campaign: str = "wake", step: str = "hello") -> int:
        """Write a link; return the row's id."""
        row = {"campaign": campaign, "step": step, "url": url, "url_hash": f"{self._number():032}", "label": label}
        return int(self.connection.execute(insert(links).values(row).returning(links.c.id)).scalar_one())

    def order(self, customer: int, at: datetime, minor: int = 2000, **columns: Any) -> int:
        """Write an order; return the row's id."""
        return add_order(self.connection, f"O{self._number()}", customer, at, total_minor=minor, **columns)

    def event(self, customer: int, name: str, at: datetime) -> None:
        """Write an event."""
        row = {"external_id": f"E{self._number()}", "customer_id": customer, "name": name, "at": at, "properties": {}}
        self.connection.execute(insert(events).values(row))

    def crowd(self, count: int, ordering: int, at: datetime, *, minor: int = 2000, **columns: Any) -> None:
        """Write many people who came in at one moment, the first of whom ordered a day later."""
        first = self._numbers
        self._numbers += count
        names = [f"crowd {number}" for number in range(first, first + count)]
        person = {"local_zone": "Europe/Berlin", "attributes": {}, "created_at": at, "updated_at": at}
        people = self._insert(customers, [{"external_id": name, **person} for name in names])
        enrolled = {
            "campaign": "wake",
            "anchor_at": at - 90 * _DAY,
            "zone": "Europe/Berlin",
            "variant": "",
            "held_out": False,
            "state": "active",
            "enrolled_at": at,
            **columns,
        }
        into = self._insert(enrollments, [{"customer_id": person, "occasion": "crowd", **enrolled} for person in people])
        state = MessageState.HELD_OUT if enrolled["held_out"] else MessageState.SENT
        message = {
            "campaign": enrolled["campaign"],
            "step": "hello",
            "channel": "email",
            "purpose": "marketing",
            "state": state,
            "variant": enrolled["variant"],
            "planned_at": at,
            "due_at": at,
            "due_on": at.date(),
            "next_attempt_at": at,
            "valid_until": at + _DAY,
            "sent_at": None if enrolled["held_out"] else at,
            "definition_hash": "x",
        }
        pairs = zip(people, into, strict=True)
        rows = [{"id": str(uuid4()), "customer_id": person, "enrollment_id": each, **message} for person, each in pairs]
        self.connection.execute(insert(messages), rows)
        order = {
            "placed_at": at + _DAY,
            "status": "paid",
            "total_minor": minor,
            "currency": "USD",
            "attributes": {},
            "updated_at": at,
        }
        bought = [{"external_id": f"order of {person}", "customer_id": person, **order} for person in people[:ordering]]
        if bought:
            self.connection.execute(insert(orders), bought)

    def _insert(self, table: Table, rows: list[dict[str, Any]]) -> list[int]:
        return list(self.connection.scalars(insert(table).returning(table.c.id, sort_by_parameter_order=True), rows))

    def attribute(self) -> None:
        """Attribute the orders to messages, as the scheduler does."""
        refresh_customers(self.connection, None)
        attribute(self.connection, self.project, self.now, everything=True)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers
