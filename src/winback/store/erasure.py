"""Forget a person: what names or reaches them goes, what is counted stays, and a keyed hash keeps them forgotten."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, String, and_, cast, delete, false, func, or_, select, update

from winback.addresses import hash_address
from winback.store import (
    VOID_STATUSES,
    Channel,
    SuppressionReason,
    consents,
    customers,
    enrollments,
    events,
    exclusive,
    interactions,
    message_history,
    messages,
    orders,
    predictions,
    receipts,
    segment_members,
    standings,
    suppressions,
)
from winback.store.consent import suppress

#: How the external id of an erased customer begins; a keyed hash of the former id follows.
ERASED_PREFIX = "erased:"


def erased_id(external_id: str, key: bytes) -> str:
    """Return the external id that an erased customer is kept under: the shop's own id may be a name or an address itself."""
    return ERASED_PREFIX + hash_address(f"customer {external_id}", key)


def erase_customer(connection: Connection, customer_id: int, *, now: datetime, key: bytes, source: str) -> tuple[str, ...]:
    """Erase one customer: leave keyed hashes of the addresses among the suppressions, anonymise every row about the person.

    Orders, lines, messages and interactions stay as rows without anything personal, so that reports count as before. Return the
    channels of the addresses. Erasing an erased customer takes out only what has come since, such as a gateway's late answer.
    """
    # An import that runs now would write the person anew; the next one reads who was erased.
    exclusive(connection)
    person = connection.execute(select(customers).where(customers.c.id == customer_id)).one()
    addresses = {Channel.EMAIL: person.email_hash, Channel.SMS: person.phone_hash}
    suppressed = {channel: found for channel, found in addresses.items() if found is not None}
    for channel, address_hash in suppressed.items():
        suppress(connection, channel, address_hash, SuppressionReason.ERASED, now, source)
    if person.erased_at is None:
        _rename_what_names(connection, person, key)
        _anonymise_profile(connection, person, now, key)
    _empty_what_tells(connection, person)
    return tuple(channel.value for channel in suppressed)


def _anonymise_profile(connection: Connection, person: Row[Any], now: datetime, key: bytes) -> None:
    personal = (
        *("email", "phone", "email_hash", "phone_hash", "first_name", "last_name", "locale", "country", "city", "zone"),
        *("birth_year", "birth_month", "birth_day"),
    )
    allowed = ("email_marketing", "email_service", "sms_marketing", "sms_service")
    connection.execute(
        update(customers)
        .where(customers.c.id == person.id)
        .values(
            **dict.fromkeys(personal),
            **dict.fromkeys(allowed, False),
            external_id=erased_id(person.external_id, key),
            local_zone="UTC",
            attributes={},
            updated_at=now,
            erased_at=now,
        )
    )


def _rename_what_names(connection: Connection, person: Row[Any], key: bytes) -> None:
    """Hide ids of orders and events in which the customer's id or address stands: `00042-2026-01-01-1`, `ann@example.com/7`."""
    names = [name.casefold() for name in (person.external_id, person.email, person.phone) if name]

    def hidden(text: str) -> str:
        return ERASED_PREFIX + hash_address(f"id {text}", key)

    own = orders.c.customer_id == person.id
    for table in (orders, events):
        rows = connection.execute(select(table.c.id, table.c.external_id).where(table.c.customer_id == person.id)).all()
        for row_id, external_id in rows:
            if any(name in external_id.casefold() for name in names):
                connection.execute(update(table).where(table.c.id == row_id).values(external_id=hidden(external_id)))
    # An occasion is often the id of an order or an event.
    occasions = select(enrollments.c.id, enrollments.c.occasion).where(enrollments.c.customer_id == person.id)
    for row_id, occasion in connection.execute(occasions).all():
        if any(name in occasion.casefold() for name in names):
            connection.execute(update(enrollments).where(enrollments.c.id == row_id).values(occasion=hidden(occasion)))
    if person.last_order_id is not None:
        newest = (
            select(orders.c.external_id)
            .where(own, orders.c.status.not_in(VOID_STATUSES))
            .order_by(orders.c.placed_at.desc(), orders.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        connection.execute(update(customers).where(customers.c.id == person.id).values(last_order_id=newest))


def _empty_what_tells(connection: Connection, person: Row[Any]) -> None:
    """Take out free texts: attributes, properties, subjects, replies, and what browsers and gateways told."""
    own = select(messages.c.id).where(messages.c.customer_id == person.id)
    connection.execute(update(orders).where(orders.c.customer_id == person.id).values(attributes={}))
    connection.execute(update(events).where(events.c.customer_id == person.id).values(properties={}))
    connection.execute(update(messages).where(messages.c.customer_id == person.id).values(subject=None))
    connection.execute(update(message_history).where(message_history.c.message_id.in_(own)).values(detail=None))
    connection.execute(update(interactions).where(interactions.c.customer_id == person.id).values(user_agent=None, address=None))
    connection.execute(update(receipts).where(receipts_of(person)).values(raw={}))
    for table in (segment_members, standings, predictions):
        connection.execute(delete(table).where(table.c.customer_id == person.id))
    # Some mail servers repeat the address in why they refuse it.
    for address in _addresses(person):
        for table, column, mine in (
            (messages, messages.c.reason, messages.c.customer_id == person.id),
            (message_history, message_history.c.reason, message_history.c.message_id.in_(own)),
            (consents, consents.c.source, consents.c.customer_id == person.id),
        ):
            told = mine & _holds(column, address)
            connection.execute(update(table).where(told).values({column.name: SuppressionReason.ERASED.value}))


def receipts_of(person: Row[Any]) -> ColumnElement[bool]:
    """Return SQL for what gateways reported of a person: about a message, or a reply to none of ours with an address in it."""
    own = select(messages.c.id).where(messages.c.customer_id == person.id)
    named = [_holds(cast(receipts.c.raw, String), address) for address in _addresses(person)]
    return or_(receipts.c.message_id.in_(own), and_(receipts.c.message_id.is_(None), or_(false(), *named)))


def _addresses(person: Row[Any]) -> list[str]:
    """Return the addresses as others write them; some leave out the + of numbers."""
    return [address for address in (person.email, person.phone and person.phone.removeprefix("+")) if address]


def _holds(column: ColumnElement[str], address: str) -> ColumnElement[bool]:
    return func.lower(column).contains(address, autoescape=True)


def erased_hashes(connection: Connection) -> tuple[frozenset[str], frozenset[str]]:
    """Return the external ids of erased customers, and the hashes of their addresses."""
    ids = connection.scalars(select(customers.c.external_id).where(customers.c.erased_at.is_not(None)))
    hashes = connection.scalars(
        select(suppressions.c.address_hash).where(suppressions.c.reason == SuppressionReason.ERASED.value)
    )
    return frozenset(ids), frozenset(hashes)
