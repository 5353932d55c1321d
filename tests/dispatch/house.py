"""A shop with people whose messages are due: what dispatchers are given to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select, text, update

from tests.project.builder import write_shop
from tests.rows import add_customer
from winback import ledger
from winback.dispatch import DispatchResult, dispatch
from winback.gateways.base import Gateway
from winback.project import Project, load_project
from winback.store import customers, enrollments, gateway_states, message_history, messages, reading, writing

LETTER = """\
<p>Hello {{ customer.first_name | default("you", true) }}</p>
<p><a href="https://halfnote.example/new">New records</a></p>
<p><a href="{{ unsubscribe_url }}">No more</a></p>
"""

#: The campaign that most tests use: marketing, by e-mail, with a way out by SMS.
WAKE: dict[str, Any] = {
    "title": "Wake sleeping customers",
    "priority": 40,
    "audience": {"preset": "sleeping", "inactive": "90d"},
    "limits": {"on_capped": "skip"},
    "exit": {"when": "ordered"},
    "steps": [
        {
            "name": "hello",
            "channel": "email",
            "template": "wake",
            "subject": "Hello {{ customer.first_name | default('you', true) }}",
            "fallback": {"channel": "sms", "on": ["no_address", "no_consent", "hard_bounce"]},
        }
    ],
}

#: A text message about an order, to whoever did not say no.
CARE: dict[str, Any] = {
    "title": "How to care for records",
    "priority": 10,
    "purpose": "service",
    "audience": {"preset": "after_order", "delay": "1d"},
    "steps": [{"name": "care", "channel": "sms", "template": "care"}],
}

#: An e-mail with a code of one's own.
GIFT: dict[str, Any] = {
    "title": "A gift",
    "priority": 30,
    "audience": {"preset": "sleeping", "inactive": "90d"},
    "steps": [
        {
            "name": "gift",
            "channel": "email",
            "template": "gift",
            "subject": "For you",
            "coupon": {"pool": "WAKE10", "expires": "14d"},
        }
    ],
}

TEMPLATES = {
    "wake.email.html": LETTER,
    "gift.email.html": LETTER + "<p>{{ coupon.code }} until {{ coupon.expires_on | date }}</p>\n",
    "care.sms.txt": "Keep records upright. Half Note, +49 30 1234567. Reply STOP for no more\n",
}


class House:
    """A shop, its database, and short ways to fill it, to run a dispatcher, and to look at the ledger."""

    def __init__(self, engine: Engine, project: Project, now: datetime) -> None:
        self.engine = engine
        self.project = project
        self.now = now
        self._numbers = count(1)

    def due(self, number: int = 1, campaign: str = "wake", step: str = "", **columns: Any) -> list[str]:
        """Write messages that are due now, each to a person of its own; return their ids.

        `columns` are those of the customer; with `message_` before, those of the message.
        """
        with writing(self.engine) as connection:
            return [self._plan(connection, campaign, step, columns) for _ in range(number)]

    def due_to(self, external_ids: Iterable[str], campaign: str = "wake", **columns: Any) -> list[str]:
        """Write a message that is due now to each of these people, whose columns are those; return their ids."""
        with writing(self.engine) as connection:
            return [self._plan(connection, campaign, "", {**columns, "external_id": each}) for each in external_ids]

    def person(self, external_id: str = "", **columns: Any) -> int:
        """Write a customer whom every channel reaches; return the row's id."""
        with writing(self.engine) as connection:
            return self._person(connection, external_id or f"C{next(self._numbers):04}", columns)

    def run(
        self, gateway: Gateway | Mapping[str, Gateway] | None = None, *, at: datetime | None = None, **options: Any
    ) -> DispatchResult:
        """Dispatch everything that is due, through a gateway named "outbox" or through those given by name."""
        gateways = {"outbox": gateway} if isinstance(gateway, Gateway) else gateway
        clock = options.pop("clock", lambda: at or self.now)
        return dispatch(self.engine, self.project, worker="test", clock=clock, gateways=gateways, **options)

    def states(self) -> dict[str, int]:
        """Count the messages by state."""
        with reading(self.engine) as connection:
            return dict(Counter(connection.scalars(select(messages.c.state))))

    def row(self, message_id: str) -> Any:
        """Return a message."""
        with reading(self.engine) as connection:
            return connection.execute(select(messages).where(messages.c.id == message_id)).one()

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return columns of all messages, in the order in which they were written."""
        with reading(self.engine) as connection:
            query = select(*(messages.c[name] for name in columns)).order_by(messages.c.enrollment_id, messages.c.step)
            return [tuple(row) for row in connection.execute(query)]

    def pause(self) -> tuple[datetime | None, str, int] | None:
        """Return until when the one gateway in trouble is left alone, why, and after how many failures in a row."""
        with reading(self.engine) as connection:
            query = select(gateway_states.c.paused_until, gateway_states.c.reason, gateway_states.c.failures)
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.paused_until, row.reason, row.failures)

    def history(self, message_id: str) -> list[tuple[str | None, str, str | None]]:
        """Return the edges that a message took, with their reasons."""
        with reading(self.engine) as connection:
            query = (
                select(message_history.c.from_state, message_history.c.to_state, message_history.c.reason)
                .where(message_history.c.message_id == message_id)
                .order_by(message_history.c.id)
            )
            return [tuple(row) for row in connection.execute(query)]

    def details(self, message_id: str) -> list[str]:
        """Return the raw replies that the history of a message keeps."""
        with reading(self.engine) as connection:
            query = select(message_history.c.detail).where(
                message_history.c.message_id == message_id, message_history.c.detail.is_not(None)
            )
            return list(connection.scalars(query.order_by(message_history.c.id)))

    def change(self, table: Any, **values: Any) -> None:
        """Set columns of every row of a table."""
        with writing(self.engine) as connection:
            connection.execute(update(table).values(**values))

    def renew(self, at: datetime) -> None:
        """Let what is planned be in time at a later moment."""
        self.change(messages, valid_until=at + timedelta(hours=12))

    @contextmanager
    def losing(self, table: str) -> Iterator[Callable[[], None]]:
        """Give a function that takes a table out of the way, as a broken database would; it is back at the end."""

        def rename(before: str, after: str) -> None:
            with self.engine.begin() as connection:
                connection.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

        done: list[bool] = []

        def take_away() -> None:
            rename(table, "out_of_the_way")
            done.append(True)

        try:
            yield take_away
        finally:
            if done:
                rename("out_of_the_way", table)

    def _person(self, connection: Any, external_id: str, columns: Mapping[str, Any]) -> int:
        reached = {
            "phone": f"+49151{next(self._numbers):08}",
            "phone_hash": f"{external_id.lower():p>32}",
            "sms_marketing": True,
            "sms_service": True,
        }
        return add_customer(connection, external_id, self.now - timedelta(days=400), **{**reached, **columns})

    def _plan(self, connection: Any, campaign: str, step: str, columns: Mapping[str, Any]) -> str:
        about = {name: value for name, value in columns.items() if not name.startswith("message_")}
        external_id = about.pop("external_id", None) or f"C{next(self._numbers):04}"
        customer = connection.scalar(select(customers.c.id).where(customers.c.external_id == external_id))
        if customer is None:
            customer = self._person(connection, external_id, about)
        found = self.project.campaigns[campaign]
        first = found.find_step(step) or found.steps[0]
        occasion = f"o{next(self._numbers)}"
        enrollment = connection.execute(
            insert(enrollments)
            .values(
                campaign=campaign,
                customer_id=customer,
                occasion=occasion,
                anchor_at=self.now - timedelta(days=1),
                zone="Europe/Berlin",
                variant="",
                held_out=False,
                state="finished",
                enrolled_at=self.now,
            )
            .returning(enrollments.c.id)
        ).scalar_one()
        message_id = ledger.message_id(campaign, external_id, occasion, first.name)
        row = {
            "id": message_id,
            "enrollment_id": enrollment,
            "campaign": campaign,
            "step": first.name,
            "customer_id": customer,
            "channel": first.channel.value,
            "purpose": found.purpose.value,
            "variant": "",
            "state": "planned",
            "planned_at": self.now,
            "due_at": self.now,
            "due_on": date(2026, 11, 24),
            "next_attempt_at": self.now,
            "valid_until": self.now + timedelta(hours=12),
            "definition_hash": found.definition_hash,
            **{name.removeprefix("message_"): value for name, value in columns.items() if name.startswith("message_")},
        }
        assert ledger.insert(connection, [row], now=self.now, worker="test") == 1
        return message_id


def build(
    folder: Path,
    engine: Engine,
    now: datetime,
    *,
    settings: Mapping[str, Any] | None = None,
    templates: Mapping[str, str] | None = None,
    segments: Mapping[str, Any] | None = None,
    **campaigns: Mapping[str, Any],
) -> House:
    """Make a shop with the campaigns above, and others given by name."""
    tables: dict[str, Any] = {
        "shop": {"name": "Half Note", "zone": "Europe/Berlin", "region": "DE", "website": "https://halfnote.example"}
    }
    root = write_shop(
        folder,
        campaigns={"wake": WAKE, "care": CARE, "gift": GIFT, **campaigns},
        templates={**TEMPLATES, **(templates or {})},
        settings={**tables, **(settings or {})},
        segments=segments,
    )
    return House(engine, load_project(root, environ={}), now)
