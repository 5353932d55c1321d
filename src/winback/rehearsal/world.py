"""The made-up shop of one test: its customers, what they have done, and what they do as time passes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from babel.numbers import get_currency_precision
from sqlalchemy import Connection, insert, select, update

from winback.addresses import hash_address, is_zone, normalise_email, normalise_phone, zone_of_phone
from winback.clock import local_instant
from winback.errors import InputError, WinbackError
from winback.project import Project
from winback.project.casefile import Case, CaseCustomer, CaseEvent, CaseFile, CaseOrder, Change, Reaction
from winback.store import (
    Channel,
    InteractionClass,
    Purpose,
    SuppressionReason,
    customers,
    events,
    interactions,
    order_lines,
    orders,
)
from winback.store.aggregates import refresh_customers
from winback.store.consent import record_consent, suppress

_SOURCE = "test"

_PROFILE = ("first_name", "last_name", "country", "city", "locale")


class World:
    """Everybody in a test. What happens before the test begins has happened; the rest happens in `live`."""

    def __init__(self, connection: Connection, project: Project, file: CaseFile, case: Case, start: datetime) -> None:
        self._connection = connection
        self._project = project
        self._start = start
        self._reactions = list(case.reactions)
        self._coming: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._number = 0
        self.ids: dict[str, int] = {}
        self.zones: dict[str, ZoneInfo] = {}
        for name, customer in {**file.customers, **case.customers}.items():
            self._add_customer(name, customer)
        for number, order in enumerate((*file.orders, *case.orders), 1):
            self._expect_order(number, order)
        for number, event in enumerate((*file.events, *case.events), 1):
            self._at(self.instant(event.customer, event.at), partial(self._do, number, event))
        for change in case.changes:
            self._at(self.instant(change.customer, change.at), partial(self._change, change))

    def instant(self, customer: str, moment: datetime) -> datetime:
        """Return a wall-clock moment where a customer lives, in UTC."""
        return local_instant(moment.date(), moment.time(), self.zones[customer])

    def next(self) -> datetime | None:
        """Return when something happens next."""
        return self._coming[0][0] if self._coming else None

    def live(self, until: datetime) -> bool:
        """Let everything happen up to a moment; return whether there was anything."""
        before = len(self._coming)
        while self._coming and self._coming[0][0] <= until:
            at, _, happen = heapq.heappop(self._coming)
            happen(at)
        return len(self._coming) < before

    def receive(self, message_id: str, customer: str, campaign: str, step: str, at: datetime) -> None:
        """Let a customer have a message; they do with it what the test says."""
        for reaction in self._reactions:
            if (reaction.customer, reaction.step) == (customer, step) and reaction.campaign in (None, campaign):
                self._at(at + reaction.after, partial(self._react, reaction, message_id, campaign))

    def _at(self, at: datetime, happen: Callable[[datetime], None]) -> None:
        self._number += 1
        heapq.heappush(self._coming, (at, self._number, happen))

    def _add_customer(self, name: str, customer: CaseCustomer) -> None:
        shop, key = self._project.settings.shop, self._project.key("address")
        email = f"{name}@example.com" if customer.email is None else customer.email
        try:
            email = normalise_email(email) if email else ""
            phone = normalise_phone(customer.phone, shop.region) if customer.phone else ""
        except WinbackError as error:
            raise InputError(f"customer {name}: {error.message}", error.remedy) from None
        zone = customer.zone or (zone_of_phone(phone) if phone else None) or shop.zone
        if not is_zone(zone):
            raise InputError(f"customer {name}: {zone!r} is not a time zone", 'write its IANA name, like "Europe/Berlin"')
        hashes = {
            Channel.EMAIL: hash_address(email, key) if email else None,
            Channel.SMS: hash_address(phone, key) if phone else None,
        }
        row = {
            "external_id": name,
            "email": email or None,
            "phone": phone or None,
            "email_hash": hashes[Channel.EMAIL],
            "phone_hash": hashes[Channel.SMS],
            **{column: getattr(customer, column) for column in _PROFILE},
            "zone": customer.zone,
            "local_zone": zone,
            **_birthday(customer.birthday),
            "attributes": customer.attributes,
            "created_at": self._start,
            "updated_at": self._start,
        }
        self.ids[name] = self._connection.execute(insert(customers).values(row).returning(customers.c.id)).scalar_one()
        self.zones[name] = ZoneInfo(zone)
        self._say(name, customer.consent, customer.refused, self._start)
        for channel in customer.blocked:
            address_hash = hashes[channel]
            if address_hash is not None:
                suppress(self._connection, channel, address_hash, SuppressionReason.HARD_BOUNCE, self._start, _SOURCE)

    def _say(self, name: str, consent: tuple[str, ...], refused: tuple[str, ...], at: datetime) -> None:
        for said, granted in (*((each, True) for each in consent), *((each, False) for each in refused)):
            channel, _, purpose = said.partition(" ")
            about = Channel(channel), Purpose(purpose or Purpose.MARKETING)
            record_consent(self._connection, self.ids[name], *about, granted, at, _SOURCE)

    def _expect_order(self, number: int, order: CaseOrder) -> None:
        who = order.customer
        self._at(self.instant(who, order.placed), partial(self._place, number, order))
        number_of = order.id or f"O{number}"
        if order.delivered is not None:
            values = {"status": "delivered"}
            self._at(self.instant(who, order.delivered), partial(self._move, number_of, who, values, "delivered_at"))
        if order.cancelled is not None:
            values = {"status": "cancelled"}
            self._at(self.instant(who, order.cancelled), partial(self._move, number_of, who, values, "voided_at"))

    def _place(self, number: int, order: CaseOrder, at: datetime) -> None:
        currency = order.currency or self._project.settings.shop.currency
        row = {
            "external_id": order.id or f"O{number}",
            "customer_id": self.ids[order.customer],
            "placed_at": at,
            "status": order.status,
            "total_minor": _minor(order.total, currency),
            "currency": currency,
            "attributes": {},
            "updated_at": at,
        }
        order_id = self._connection.execute(insert(orders).values(row).returning(orders.c.id)).scalar_one()
        for position, line in enumerate(order.lines, 1):
            self._connection.execute(
                insert(order_lines).values(
                    order_id=order_id,
                    position=position,
                    product_id=line.id or line.name,
                    name=line.name,
                    category=line.category,
                    quantity=line.quantity,
                    price_minor=_minor(line.price, currency),
                    url=line.url,
                )
            )
        refresh_customers(self._connection, [self.ids[order.customer]])

    def _move(self, number: str, customer: str, values: Mapping[str, Any], when: str, at: datetime) -> None:
        self._connection.execute(
            update(orders).where(orders.c.external_id == number).values({**values, when: at, "updated_at": at})
        )
        refresh_customers(self._connection, [self.ids[customer]])

    def _do(self, number: int, event: CaseEvent, at: datetime) -> None:
        row = {"external_id": event.key or f"E{number}", "customer_id": self.ids[event.customer], "name": event.name}
        self._connection.execute(insert(events).values(**row, at=at, properties=event.properties))

    def _change(self, change: Change, at: datetime) -> None:
        own = customers.c.external_id == change.customer
        values: dict[str, Any] = {"updated_at": at}
        if change.birthday is not None:
            values |= _birthday(change.birthday)
        if change.attributes:
            known = self._connection.scalar(select(customers.c.attributes).where(own))
            values["attributes"] = {**(known or {}), **change.attributes}
        self._connection.execute(update(customers).where(own).values(values))
        self._say(change.customer, change.consent, change.refused, at)

    def _react(self, reaction: Reaction, message_id: str, campaign: str, at: datetime) -> None:
        if reaction.does == "order":
            self._number += 1
            now = at.astimezone(self.zones[reaction.customer]).replace(tzinfo=None)
            self._place(0, CaseOrder(customer=reaction.customer, id=f"R{self._number}", placed=now), at)
            return
        self._connection.execute(
            insert(interactions).values(
                message_id=message_id,
                customer_id=self.ids[reaction.customer],
                campaign=campaign,
                step=reaction.step,
                kind=reaction.does,
                klass=InteractionClass.HUMAN.value,
                at=at,
            )
        )
        if reaction.does == "unsubscribe":
            self._say(reaction.customer, (), ("email", "sms"), at)


def _birthday(written: str | None) -> dict[str, int | None]:
    """Return the columns for `1985-03-14`, `03-14` or nothing."""
    if written is None:
        return {"birth_year": None, "birth_month": None, "birth_day": None}
    *year, month, day = (int(part) for part in written.split("-"))
    return {"birth_year": year[0] if year else None, "birth_month": month, "birth_day": day}


def _minor(amount: Decimal, currency: str) -> int:
    return int(amount.scaleb(get_currency_precision(currency)))
