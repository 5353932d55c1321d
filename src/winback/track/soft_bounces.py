"""Count soft bounces: a mailbox that takes nothing for a week and more is given up.

A full mailbox is emptied, a server comes back. So a row only counts when it is long, in number and in time, and when nothing in
between shows that somebody is there: a message that arrived, an opening, a click.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from winback.store import BounceReason, Channel, MessageState, interactions, messages
from winback.store.consent import unblocked

#: So many in a row, the first and the last sent at least so long apart.
IN_A_ROW = 5
OVER = timedelta(days=7)

#: Mail servers give up after five days at most (RFC 5321 section 4.5.4.1): what has not come back by then has arrived.
_RETURNS_WITHIN = timedelta(days=5)

#: So many of a person's newest messages are looked at.
_NEWEST = 200


def is_too_many(connection: Connection, customer_id: int, channel: Channel, address_hash: str, *, now: datetime) -> bool:
    """Say whether so many of a customer's newest messages came back, over such a time, that the address is to be given up."""
    sent = list(_row_of_bounces(connection, customer_id, channel, address_hash, now))
    return len(sent) >= IN_A_ROW and max(sent) - min(sent) >= OVER


def _row_of_bounces(
    connection: Connection, customer_id: int, channel: Channel, address_hash: str, now: datetime
) -> Iterator[datetime]:
    """Give when the messages were sent that bounced softly since the last sign of life, the newest first."""
    begin = _last_sign(connection, customer_id, channel, address_hash)
    rows = connection.execute(
        select(messages.c.state, messages.c.reason, messages.c.sent_at)
        .where(
            messages.c.customer_id == customer_id,
            messages.c.channel == channel.value,
            messages.c.sent_at.is_not(None),
            messages.c.redirected.is_(False),
        )
        .order_by(messages.c.sent_at.desc(), messages.c.id.desc())
        .limit(_NEWEST)
    ).all()
    for state, reason, sent_at in rows:
        arrived = state == MessageState.DELIVERED or (state == MessageState.SENT and sent_at < now - _RETURNS_WITHIN)
        if arrived or (begin is not None and sent_at <= begin):
            return
        if state == MessageState.BOUNCED and reason == BounceReason.SOFT:
            yield sent_at


def _last_sign(connection: Connection, customer_id: int, channel: Channel, address_hash: str) -> datetime | None:
    """Return when somebody last did something with a message, or said that the address is good after all."""
    did: datetime | None = connection.scalar(
        select(func.max(interactions.c.at, type_=interactions.c.at.type))
        .join(messages, messages.c.id == interactions.c.message_id)
        .where(interactions.c.customer_id == customer_id, messages.c.channel == channel.value)
    )
    taken_back = unblocked(connection, channel, address_hash)
    signs = [at for at in (did, None if taken_back is None else taken_back.at) if at is not None]
    return max(signs, default=None)
