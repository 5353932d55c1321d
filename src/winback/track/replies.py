"""What people write back: a STOP is a no to marketing on that channel, at once. Everything else is kept for people to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from winback.gateways.base import ReceiptEvent
from winback.store import Channel, Purpose, consents, messages
from winback.store.consent import record_consent
from winback.track import receipt_log, unsubscribe
from winback.track.deliveries import find_messages
from winback.track.receipt_log import Desk, Entry
from winback.track.stop_words import is_start, is_stop


@dataclass(frozen=True)
class _Reply:
    """What somebody wrote, and whose address it came from."""

    event: ReceiptEvent
    people: tuple[tuple[Channel, int], ...]  # channel and customer; families share phones


def take(desk: Desk, events: Sequence[ReceiptEvent]) -> Counter[str]:
    """Write down replies and do what they ask for; return from how many people came a new STOP, or a START after one."""
    answered = find_messages(desk, [event.provider_id for event in events])
    replies: dict[str, _Reply] = {}
    entries = []
    for event in events:
        message = answered.get(event.provider_id)
        reply = _Reply(event, _people(desk, event, message))
        key = _key(desk, event, is_ours=message is not None)
        replies[key] = reply
        entries.append(Entry(event, key, _about(desk, reply) if message is None else message.id))
    counts: Counter[str] = Counter()
    for entry in receipt_log.keep(desk, entries):
        reply = replies[entry.key]
        if is_stop(reply.event.text, desk.project.settings.shop.name):
            counts["stopped"] += sum(_stop(desk, customer_id, channel) for channel, customer_id in reply.people)
        elif is_start(reply.event.text):
            counts["started"] += sum(_start(desk, customer_id, channel) for channel, customer_id in reply.people)
    return counts


def _people(desk: Desk, event: ReceiptEvent, message: Row[Any] | None) -> tuple[tuple[Channel, int], ...]:
    address = desk.address(event.recipient)
    found = [] if address is None else [(address[0], customer_id) for customer_id in desk.people(address)]
    if message is not None and not message.redirected:
        found.append((Channel(message.channel), message.customer_id))
    return tuple(dict.fromkeys(found))


def _key(desk: Desk, event: ReceiptEvent, *, is_ours: bool) -> str:
    """Return the reply's id.

    Some providers name none, others that of the message it answers: a STOP must never pass for a repetition of something that
    the same person wrote before.
    """
    if event.report_id:
        return event.report_id
    if event.provider_id and not is_ours:
        return event.provider_id
    return receipt_log.digest(event.provider_id, event.recipient or "", str(event.at or desk.now.date()), event.text)


def _about(desk: Desk, reply: _Reply) -> str | None:
    """Return the last message that went to the address, so that erasing the person finds the reply too."""
    found = (_last_message(desk, customer_id, channel) for channel, customer_id in reply.people)
    return next((message_id for message_id in found if message_id is not None), None)


def _last_message(desk: Desk, customer_id: int, channel: Channel, purpose: Purpose | None = None) -> str | None:
    query = select(messages.c.id).where(
        messages.c.customer_id == customer_id, messages.c.channel == channel.value, messages.c.sent_at.is_not(None)
    )
    if purpose is not None:
        query = query.where(messages.c.purpose == purpose.value)
    return desk.connection.scalar(query.order_by(messages.c.sent_at.desc(), messages.c.id.desc()).limit(1))


def _stop(desk: Desk, customer_id: int, channel: Channel) -> bool:
    """Take a no from one person; return whether it was new."""
    changed = unsubscribe.withdraw(desk.connection, customer_id, channel, Purpose.MARKETING, desk.now, unsubscribe.STOP_REPLY)
    message_id = _last_message(desk, customer_id, channel, Purpose.MARKETING)
    if changed and message_id is not None:  # the report counts it there
        unsubscribe.unsubscribe(desk.connection, message_id, desk.now, unsubscribe.STOP_REPLY)
    return changed


def _start(desk: Desk, customer_id: int, channel: Channel) -> bool:
    """Take a STOP back; a no that was given in any other way stays. Return whether there was one."""
    newest = desk.connection.execute(
        select(consents.c.granted, consents.c.source)
        .where(
            consents.c.customer_id == customer_id,
            consents.c.channel == channel.value,
            consents.c.purpose == Purpose.MARKETING.value,
        )
        .order_by(consents.c.at.desc(), consents.c.id.desc())
        .limit(1)
    ).first()
    if newest is None or tuple(newest) != (False, unsubscribe.STOP_REPLY):
        return False
    record_consent(desk.connection, customer_id, channel, Purpose.MARKETING, True, desk.now, unsubscribe.START_REPLY)
    return True
