"""Forget a person: what names or reaches them goes, what is counted stays, and a keyed hash keeps them forgotten."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from winback.addresses import hash_address
from winback.store import (
    Channel,
    SuppressionReason,
    customers,
    events,
    interactions,
    message_history,
    messages,
    orders,
    receipts,
    segment_members,
    suppressions,
)
from winback.store.consent import suppress

#: How the external id of an erased customer begins; a keyed hash of the former id follows.
ERASED_PREFIX = "erased:"


def erased_id(external_id: str, key: bytes) -> str:
    """Return the external id that an erased customer is kept under: the shop's own id may be a name or an address itself."""
    return ERASED_PREFIX + hash_address(f"customer {external_id}", key)


def erase_customer(connection: Connection, customer_id: int, *, now: datetime, key: bytes, source: str) -> None:
    """Erase one customer: leave keyed hashes of the addresses among the suppressions, anonymise every row about the person.

    Orders, lines, messages and interactions stay as rows without anything personal, so that reports count as before.
    Erasing an erased customer changes nothing.
    """
    person = connection.execute(select(customers).where(customers.c.id == customer_id)).one()
    if person.erased_at is not None:
        return
    for channel, address_hash in ((Channel.EMAIL, person.email_hash), (Channel.SMS, person.phone_hash)):
        if address_hash is not None:
            suppress(connection, channel, address_hash, SuppressionReason.ERASED, now, source)
    personal = (
        *("email", "phone", "email_hash", "phone_hash", "first_name", "last_name", "locale", "country", "city", "zone"),
        *("birth_year", "birth_month", "birth_day"),
    )
    allowed = ("email_marketing", "email_service", "sms_marketing", "sms_service")
    connection.execute(
        update(customers)
        .where(customers.c.id == customer_id)
        .values(
            **dict.fromkeys(personal),
            **dict.fromkeys(allowed, False),
            external_id=erased_id(person.external_id, key),
            attributes={},
            updated_at=now,
            erased_at=now,
        )
    )
    own = select(messages.c.id).where(messages.c.customer_id == customer_id)
    connection.execute(update(orders).where(orders.c.customer_id == customer_id).values(attributes={}))
    connection.execute(update(events).where(events.c.customer_id == customer_id).values(properties={}))
    connection.execute(update(messages).where(messages.c.customer_id == customer_id).values(subject=None))
    connection.execute(update(message_history).where(message_history.c.message_id.in_(own)).values(detail=None))
    connection.execute(
        update(interactions).where(interactions.c.customer_id == customer_id).values(user_agent=None, address=None)
    )
    connection.execute(update(receipts).where(receipts.c.message_id.in_(own)).values(raw={}))
    connection.execute(delete(segment_members).where(segment_members.c.customer_id == customer_id))


def erased_hashes(connection: Connection) -> tuple[frozenset[str], frozenset[str]]:
    """Return the external ids of erased customers, and the hashes of their addresses."""
    ids = connection.scalars(select(customers.c.external_id).where(customers.c.erased_at.is_not(None)))
    hashes = connection.scalars(
        select(suppressions.c.address_hash).where(suppressions.c.reason == SuppressionReason.ERASED.value)
    )
    return frozenset(ids), frozenset(hashes)
