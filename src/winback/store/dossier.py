"""Everything that is kept about one person, as the law lets them ask for it (GDPR, articles 15 and 20)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, or_, select

from winback.addresses import hash_address, normalise_email, normalise_phone
from winback.errors import AddressError, InputError
from winback.store import (
    Channel,
    Purpose,
    consents,
    conversions,
    coupons,
    customers,
    enrollments,
    events,
    interactions,
    links,
    message_history,
    messages,
    order_lines,
    orders,
    predictions,
    receipts,
    score_crossings,
    score_states,
    segment_members,
    standings,
    suppressions,
)
from winback.store.consent import unblocked
from winback.store.erasure import erased_id, receipts_of

_PROFILE = ("email", "phone", "first_name", "last_name", "locale", "country", "city", "zone", "local_zone")

#: What a message's row tells the person; the rest is how winback works.
_MESSAGE = (
    *("id", "campaign", "step", "channel", "purpose", "variant", "state", "reason", "subject"),
    *("due_at", "sent_at", "delivered_at", "gateway", "provider_id", "segments", "version_id"),
)


def find_person(connection: Connection, given: str, *, key: bytes, region: str) -> Row[Any]:
    """Return a customer's row by the shop's own id, else by e-mail address or phone number; `key` hides addresses in hashes.

    Somebody who was forgotten is found by the id they had. Raise InputError for nobody, and for an address of several people.
    """
    given = given.strip()
    if "\x00" not in given:
        by_id = select(customers).where(customers.c.external_id.in_([given, erased_id(given, key)]))
        person = connection.execute(by_id.order_by(customers.c.erased_at.is_not(None))).first()
        if person is not None:
            return person
    column, address = _address(given, region)
    if address is not None:
        found = connection.execute(select(customers).where(column == hash_address(address, key)).order_by(customers.c.id)).all()
        if len(found) > 1:
            ids = ", ".join(each.external_id for each in found[:10])
            raise InputError(f"{len(found)} customers have the address {given}", f"say which one: {ids}")
        if found:
            return found[0]
    raise InputError(
        f"there is no customer {given!r}",
        "give the id that they have in your own system, their e-mail address, or their phone number with its country code",
    )


def _address(given: str, region: str) -> tuple[ColumnElement[str | None], str | None]:
    try:
        if "@" in given:
            return customers.c.email_hash, normalise_email(given)
        return customers.c.phone_hash, normalise_phone(given, region)
    except AddressError:
        return customers.c.email_hash, None


def dossier(connection: Connection, person: Row[Any]) -> dict[str, Any]:
    """Return everything that is kept about a person: plain values, moments in UTC, amounts as decimal texts."""
    found = _messages(connection, person.id)
    return {
        "customer": profile(person),
        "consent": consent(person),
        "consent_log": _plain_rows(
            connection, consents, person.id, ("channel", "purpose", "granted", "at", "source", "wording"), consents.c.at
        ),
        "suppressed": suppressed(connection, person),
        "unblocked": unblocked_addresses(connection, person),
        "orders_in_short": orders_in_short(person),
        "orders": _orders(connection, person.id),
        "events": _plain_rows(connection, events, person.id, ("external_id", "name", "at", "properties"), events.c.at),
        "segments": _plain_rows(
            connection, segment_members, person.id, ("segment", "entered_at", "left_at"), segment_members.c.entered_at
        ),
        "standing": _plain_rows(
            connection,
            standings,
            person.id,
            ("recency", "frequency", "monetary", "rfm_group", "group_before", "abc", "since"),
            standings.c.customer_id,
        ),
        "prediction": _plain_rows(
            connection, predictions, person.id, ("p_alive", "expected_orders", "updated_at"), predictions.c.customer_id
        ),
        "scores": _plain_rows(
            connection, score_states, person.id, ("model", "value", "level", "since", "updated_at"), score_states.c.model
        ),
        "score_changes": _plain_rows(
            connection, score_crossings, person.id, ("model", "level", "upward", "value", "at"), score_crossings.c.id
        ),
        "enrollments": campaigns(connection, person.id),
        "messages": found,
        "coupons": _plain_rows(
            connection, coupons, person.id, ("code", "pool", "message_id", "given_at", "expires_at"), coupons.c.given_at
        ),
        "conversions": _conversions(connection, person.id),
        "receipts": _receipts(connection, person),
    }


def profile(person: Row[Any]) -> dict[str, Any]:
    """Return who the person is."""
    return {
        "id": person.external_id,
        **{name: getattr(person, name) for name in _PROFILE},
        "birthday": birthday(person),
        "attributes": person.attributes,
        "created_at": person.created_at,
        "updated_at": person.updated_at,
        "erased_at": person.erased_at,
    }


def birthday(person: Row[Any]) -> str | None:
    """Return the birthday as it is imported: `1985-11-24`, or `--11-24` where the year is unknown."""
    if person.birth_month is None or person.birth_day is None:
        return None
    year = "-" if person.birth_year is None else f"{person.birth_year:04}"
    return f"{year}-{person.birth_month:02}-{person.birth_day:02}"


def consent(person: Row[Any]) -> dict[str, bool | None]:
    """Return the consent in force; empty where nobody asked."""
    return {name: getattr(person, name) for name in (f"{channel}_{purpose}" for channel in Channel for purpose in Purpose)}


def suppressed(connection: Connection, person: Row[Any]) -> list[dict[str, Any]]:
    """Return which of the person's addresses are never written to, and why."""
    own = or_(
        and_(suppressions.c.channel == Channel.EMAIL.value, suppressions.c.address_hash == person.email_hash),
        and_(suppressions.c.channel == Channel.SMS.value, suppressions.c.address_hash == person.phone_hash),
    )
    names = ("channel", "reason", "at", "source")
    return _dicts(connection, select(*(suppressions.c[name] for name in names)).where(own).order_by(suppressions.c.id))


def unblocked_addresses(connection: Connection, person: Row[Any]) -> list[dict[str, Any]]:
    """Return which of the person's addresses were taken off that list, when, and by whom."""
    hashes = {Channel.EMAIL.value: person.email_hash, Channel.SMS.value: person.phone_hash}
    found = {channel: unblocked(connection, channel, each) for channel, each in hashes.items() if each is not None}
    return [{"channel": channel, **asdict(each)} for channel, each in found.items() if each is not None]


def orders_in_short(person: Row[Any]) -> dict[str, Any]:
    """Return what is known of the person's orders as a whole; those that were cancelled or sent back do not count."""
    return {
        "count": person.order_count,
        "spent": money(person.spent_minor, person.currency),
        "currency": person.currency,
        "first_at": person.first_order_at,
        "last_at": person.last_order_at,
        "last_id": person.last_order_id,
        "median_gap_days": person.median_gap_days,
    }


def campaigns(connection: Connection, customer_id: int) -> list[dict[str, Any]]:
    """Return the campaigns the person is or was in, the oldest first."""
    names = ("campaign", "occasion", "anchor_at", "anchor_on", "variant", "held_out", "state", "exit_reason", "step", "due_at")
    return _plain_rows(connection, enrollments, customer_id, (*names, "enrolled_at"), enrollments.c.enrolled_at)


def message_rows(connection: Connection, customer_id: int) -> list[dict[str, Any]]:
    """Return the person's messages without what came of them, the oldest first."""
    return _plain_rows(connection, messages, customer_id, _MESSAGE, messages.c.due_at)


def money(minor: int, currency: str | None) -> str | None:
    """Return an amount of minor units as a decimal text, `1177` USD as `11.77`; nothing without a currency."""
    from babel.numbers import get_currency_precision

    return None if currency is None else f"{Decimal(minor).scaleb(-get_currency_precision(currency)):f}"


def _orders(connection: Connection, customer_id: int) -> list[dict[str, Any]]:
    own = orders.c.customer_id == customer_id
    currencies: dict[int, str] = {}
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(select(orders).where(own).order_by(orders.c.placed_at, orders.c.id)):
        currencies[row.id] = row.currency
        found[row.id] = {
            "id": row.external_id,
            "placed_at": row.placed_at,
            "status": row.status,
            "total": money(row.total_minor, row.currency),
            "currency": row.currency,
            "delivered_at": row.delivered_at,
            "voided_at": row.voided_at,
            "attributes": row.attributes,
            "lines": [],
        }
    lines = select(order_lines).join(orders, orders.c.id == order_lines.c.order_id).where(own).order_by(order_lines.c.position)
    for row in connection.execute(lines):
        found[row.order_id]["lines"].append(
            {name: getattr(row, name) for name in ("position", "product_id", "name", "category", "quantity", "url")}
            | {"price": money(row.price_minor, currencies[row.order_id])}
        )
    return list(found.values())


def _messages(connection: Connection, customer_id: int) -> list[dict[str, Any]]:
    own = messages.c.customer_id == customer_id
    history = select(message_history).join(messages, messages.c.id == message_history.c.message_id)
    done = select(interactions, links.c.url).outerjoin(links, links.c.id == interactions.c.link_id)
    by_message: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: {"history": [], "interactions": []})
    for row in connection.execute(history.where(own).order_by(message_history.c.id)):
        names = ("from_state", "to_state", "reason", "detail", "at")
        by_message[row.message_id]["history"].append({name: getattr(row, name) for name in names})
    for row in connection.execute(
        done.where(interactions.c.customer_id == customer_id).order_by(interactions.c.at, interactions.c.id)
    ):
        by_message[row.message_id]["interactions"].append(
            {"kind": row.kind, "by": row.klass, "at": row.at, "url": row.url, "user_agent": row.user_agent}
        )
    return [{**row, **by_message[row["id"]]} for row in message_rows(connection, customer_id)]


def _conversions(connection: Connection, customer_id: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(conversions).where(conversions.c.customer_id == customer_id).order_by(conversions.c.at, conversions.c.id)
    )
    return [
        {
            "campaign": row.campaign,
            "kind": row.kind,
            "message_id": row.message_id,
            "value": money(row.value_minor, row.currency),
            "currency": row.currency,
            "at": row.at,
        }
        for row in rows
    ]


def _receipts(connection: Connection, person: Row[Any]) -> list[dict[str, Any]]:
    names = ("gateway", "kind", "message_id", "at", "raw")
    return _dicts(
        connection,
        select(*(receipts.c[name] for name in names)).where(receipts_of(person)).order_by(receipts.c.id),
    )


def _plain_rows(
    connection: Connection, table: Table, customer_id: int, names: Iterable[str], order: ColumnElement[Any]
) -> list[dict[str, Any]]:
    columns = [table.c[name] for name in names]
    found = _dicts(connection, select(*columns).where(table.c.customer_id == customer_id).order_by(order, *table.primary_key))
    return [{"id": row.pop("external_id"), **row} if "external_id" in row else row for row in found]


def _dicts(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in connection.execute(query).mappings()]
