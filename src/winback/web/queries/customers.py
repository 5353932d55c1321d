"""What the customer pages show: people found by a word, and everything that happened with one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from winback.store import (
    AnyRow,
    Channel,
    InteractionKind,
    Purpose,
    consents,
    conversions,
    customers,
    enrollments,
    events,
    interactions,
    links,
    message_history,
    messages,
    order_lines,
    orders,
    score_crossings,
    score_states,
    suppressions,
)
from winback.web.words import DOERS, channel_name, reason_text, state_word

#: How many people a search lists.
FOUND = 50

#: How much of each kind a timeline shows, the newest.
NEWEST = 200

_SHOWN = (
    customers.c.external_id,
    customers.c.first_name,
    customers.c.last_name,
    customers.c.email,
    customers.c.phone,
    customers.c.city,
    customers.c.country,
    customers.c.order_count,
    customers.c.spent_minor,
    customers.c.currency,
    customers.c.last_order_at,
    customers.c.erased_at,
)


@dataclass(frozen=True)
class Moment:
    """One entry of a timeline: what happened, how it is marked, and where to read more."""

    at: datetime
    icon: str
    tone: str
    text: str
    detail: str = ""
    link: str = ""
    money: tuple[int, str | None] | None = None


def find(connection: Connection, words: str) -> list[AnyRow]:
    """Return people whose id, address or name holds every word, without words those who ordered last."""
    query = select(*_SHOWN).limit(FOUND)
    wanted = [_holds(word) for word in words.lower().split()[:6]]
    if not wanted:
        latest = customers.c.last_order_at.is_not(None)
        return list(connection.execute(query.where(latest).order_by(customers.c.last_order_at.desc(), customers.c.id))) or list(
            connection.execute(query.order_by(customers.c.id))
        )
    exact = connection.execute(query.where(customers.c.external_id == words.strip())).all()
    return [*exact] or list(connection.execute(query.where(and_(*wanted)).order_by(customers.c.last_name, customers.c.id)))


def _holds(word: str) -> Any:
    columns = (customers.c.external_id, customers.c.email, customers.c.phone, customers.c.first_name, customers.c.last_name)
    # SQLite folds only ASCII letters, so the word is looked for as it was typed as well.
    return or_(*(func.lower(column).contains(word, autoescape=True) for column in columns))


def one(connection: Connection, external_id: str) -> AnyRow | None:
    """Return a customer's row."""
    return connection.execute(select(customers).where(customers.c.external_id == external_id)).one_or_none()


def scores(connection: Connection, customer_id: int) -> list[AnyRow]:
    """Return where the customer stands in each score model."""
    return list(connection.execute(select(score_states).where(score_states.c.customer_id == customer_id)))


def suppressed(connection: Connection, person: AnyRow) -> dict[str, str]:
    """Return why each of the customer's addresses must not be written to, by channel."""
    found = connection.execute(
        select(suppressions.c.channel, suppressions.c.reason).where(
            or_(
                and_(suppressions.c.channel == Channel.EMAIL.value, suppressions.c.address_hash == person.email_hash),
                and_(suppressions.c.channel == Channel.SMS.value, suppressions.c.address_hash == person.phone_hash),
            )
        )
    )
    return {channel: reason_text(reason) for channel, reason in found}


def consent(person: AnyRow) -> list[tuple[str, str, bool | None]]:
    """Return the consent in force: channel, purpose, and the answer (nothing where nobody asked)."""
    return [
        (channel_name(channel), purpose.value, getattr(person, f"{channel}_{purpose}"))
        for channel in Channel
        for purpose in Purpose
    ]


def timeline(connection: Connection, customer_id: int) -> list[Moment]:
    """Return what happened with a customer, the newest first, at most the newest of each kind."""
    parts = (_orders, _events, _messages, _interactions, _consents, _conversions, _levels, _enrollments)
    found = [moment for part in parts for moment in part(connection, customer_id)]
    return sorted(found, key=lambda moment: moment.at, reverse=True)[:NEWEST]


def _orders(connection: Connection, customer_id: int) -> Iterator[Moment]:
    rows = connection.execute(
        select(orders).where(orders.c.customer_id == customer_id).order_by(orders.c.placed_at.desc()).limit(NEWEST)
    ).all()
    bought: dict[int, list[str]] = {}
    names = select(order_lines.c.order_id, order_lines.c.name, order_lines.c.quantity).order_by(order_lines.c.position)
    for order_id, name, quantity in connection.execute(names.where(order_lines.c.order_id.in_([row.id for row in rows]))):
        bought.setdefault(order_id, []).append(f"{quantity} × {name}" if quantity != 1 else name)
    for row in rows:
        detail = ", ".join(bought.get(row.id, []))
        yield Moment(
            row.placed_at, "order", "accent", f"Ordered {row.external_id}", detail, money=(row.total_minor, row.currency)
        )
        if row.delivered_at:
            yield Moment(row.delivered_at, "order", "quiet", f"Order {row.external_id} was delivered")
        if row.voided_at:
            yield Moment(row.voided_at, "order", "bad", f"Order {row.external_id} was {row.status}")


def _events(connection: Connection, customer_id: int) -> Iterator[Moment]:
    query = select(events).where(events.c.customer_id == customer_id).order_by(events.c.at.desc()).limit(NEWEST)
    for row in connection.execute(query):
        detail = ", ".join(f"{key}: {value}" for key, value in row.properties.items())
        yield Moment(row.at, "event", "quiet", row.name.replace("_", " ").capitalize(), detail)


def _messages(connection: Connection, customer_id: int) -> Iterator[Moment]:
    latest = (
        select(message_history.c.message_id, func.max(message_history.c.id).label("id"))
        .group_by(message_history.c.message_id)
        .join_from(message_history, messages, messages.c.id == message_history.c.message_id)
        .where(messages.c.customer_id == customer_id)
        .subquery()
    )
    query = (
        select(messages, message_history.c.at.label("moved_at"), message_history.c.detail)
        .outerjoin(latest, latest.c.message_id == messages.c.id)
        .outerjoin(message_history, message_history.c.id == latest.c.id)
        .where(messages.c.customer_id == customer_id)
        .order_by(messages.c.due_at.desc())
        .limit(NEWEST)
    )
    for row in connection.execute(query):
        word = state_word(row.state)
        icon = "mail" if row.channel == Channel.EMAIL else "sms"
        text = f"{channel_name(row.channel)} {word.text}: {row.subject or row.step}"
        said = [f"{row.campaign}, step {row.step}", reason_text(row.reason)]
        at = row.sent_at or (row.next_attempt_at if row.state == "planned" else row.moved_at or row.due_at)
        address = f"/outbox/{row.id}" if row.sent_at else ""
        yield Moment(at, icon, word.tone, text, " · ".join(part for part in said if part), address)


def _interactions(connection: Connection, customer_id: int) -> Iterator[Moment]:
    texts = {InteractionKind.OPEN: "Opened", InteractionKind.CLICK: "Clicked", InteractionKind.UNSUBSCRIBE: "Unsubscribed from"}
    query = (
        select(interactions, messages.c.subject, links.c.label)
        .join(messages, messages.c.id == interactions.c.message_id)
        .outerjoin(links, links.c.id == interactions.c.link_id)
        .where(interactions.c.customer_id == customer_id)
        .order_by(interactions.c.at.desc())
        .limit(NEWEST)
    )
    for row in connection.execute(query):
        clicked = row.kind == InteractionKind.CLICK
        what = f"“{row.label}” in {row.subject or row.step}" if clicked and row.label else row.subject or row.step
        tone = {"click": "good", "unsubscribe": "warn"}.get(row.kind, "quiet")
        icon = {"click": "click", "unsubscribe": "blocked"}.get(row.kind, "open")
        text = f"{texts.get(row.kind, row.kind)} {what}"
        detail = " · ".join(part for part in (f"{row.campaign}, step {row.step}", DOERS.get(row.klass, "")) if part)
        yield Moment(row.at, icon, tone if row.klass == "human" else "quiet", text, detail, f"/outbox/{row.message_id}")


def _consents(connection: Connection, customer_id: int) -> Iterator[Moment]:
    query = select(consents).where(consents.c.customer_id == customer_id).order_by(consents.c.at.desc()).limit(NEWEST)
    for row in connection.execute(query):
        said = "Agreed to" if row.granted else "Withdrew consent to"
        text = f"{said} {row.purpose} by {channel_name(row.channel)}"
        detail = f"by {row.source}" + (f", wording {row.wording}" if row.wording else "")
        yield Moment(row.at, "consent", "good" if row.granted else "warn", text, detail)


def _conversions(connection: Connection, customer_id: int) -> Iterator[Moment]:
    query = select(conversions).where(conversions.c.customer_id == customer_id, conversions.c.kind == "order")
    for row in connection.execute(query.order_by(conversions.c.at.desc()).limit(NEWEST)):
        by = "while held out of" if row.held_out else "after a message of"
        money = (row.value_minor, row.currency)
        yield Moment(row.at, "money", "good", f"The order counts {by} {row.campaign}", money=money)


def _levels(connection: Connection, customer_id: int) -> Iterator[Moment]:
    query = select(score_crossings).where(score_crossings.c.customer_id == customer_id)
    for row in connection.execute(query.order_by(score_crossings.c.at.desc()).limit(NEWEST)):
        way = "Rose" if row.upward else "Fell"
        yield Moment(row.at, "level", "wait", f"{way} to {row.level} in {row.model}", f"at {row.value:.1f} points")


def _enrollments(connection: Connection, customer_id: int) -> Iterator[Moment]:
    query = select(enrollments).where(enrollments.c.customer_id == customer_id)
    for row in connection.execute(query.order_by(enrollments.c.enrolled_at.desc()).limit(NEWEST)):
        held = "held out, to measure what the campaign causes" if row.held_out else ""
        ended = f"left it: {reason_text(row.exit_reason)}" if row.exit_reason else ""
        detail = " · ".join(part for part in (f"for {row.occasion}", held, ended) if part)
        yield Moment(row.enrolled_at, "person", "quiet", f"Came into {row.campaign}", detail)
