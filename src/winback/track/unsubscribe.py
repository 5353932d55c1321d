"""Take a no at once: the consent log, the customer's consent in force, and the message it answers, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from winback.store import Channel, InteractionClass, InteractionKind, Purpose, customers, interactions, messages
from winback.store.consent import record_consent

#: Where a yes or a no came from, as the consent log says it.
ONE_CLICK = "one-click"
PAGE = "unsubscribe page"
COMPLAINT = "complaint"
STOP_REPLY = "stop reply"
START_REPLY = "start reply"


@dataclass(frozen=True)
class Subscription:
    """What one message's link is about: whose consent, for what, and how it stands."""

    message_id: str
    customer_id: int
    channel: Channel
    purpose: Purpose
    granted: bool | None
    locale: str | None


def subscription(connection: Connection, message_id: str) -> Subscription | None:
    """Return what a message's unsubscribe link is about, None for a message that is not in the ledger."""
    row = _find(connection, message_id)
    return None if row is None else _about(row)


def withdraw(connection: Connection, customer_id: int, channel: Channel, purpose: Purpose, now: datetime, source: str) -> bool:
    """Record a no; return whether it is new. A no on top of a no changes nothing."""
    column = customers.c[f"{channel}_{purpose}"]
    # Two noes at the same moment wait for each other; SQLite's transactions do anyway.
    granted = connection.execute(select(column).where(customers.c.id == customer_id).with_for_update()).scalar_one_or_none()
    if granted is False:
        return False
    record_consent(connection, customer_id, channel, purpose, False, now, source)
    return True


def unsubscribe(connection: Connection, message_id: str, now: datetime, source: str) -> bool:
    """Withdraw consent for the message's channel and purpose; return whether anything changed. Unknown messages change nothing.

    Doing it twice is doing it once. A message of purpose marketing withdraws marketing only, so service messages (about an order
    of the customer's) still go; policy asks for consent again at every dispatch, so a message already planned does not go.
    A message that somebody else got, in a shop that is tried out, changes nothing: the no is not the customer's.
    """
    row = _find(connection, message_id, lock=True)
    if row is None or row.redirected:
        return False
    about = _about(row)
    changed = withdraw(connection, about.customer_id, about.channel, about.purpose, now, source)
    if not _answered(connection, message_id):
        connection.execute(
            insert(interactions).values(
                message_id=message_id,
                customer_id=about.customer_id,
                campaign=row.campaign,
                step=row.step,
                kind=InteractionKind.UNSUBSCRIBE.value,
                klass=InteractionClass.HUMAN.value,
                at=now,
            )
        )
        changed = True
    return changed


def resubscribe(connection: Connection, message_id: str, now: datetime, source: str = PAGE) -> bool:
    """Record a yes again for somebody who had just said no through this message's link; return whether anything changed.

    Only a recorded no is turned: the link of a message is no way to give a consent that was never asked for. Who was forgotten
    stays so.
    """
    row = _find(connection, message_id, lock=True)
    if row is None or row.erased_at is not None or row.redirected:
        return False
    about = _about(row)
    if about.granted is not False:
        return False
    record_consent(connection, about.customer_id, about.channel, about.purpose, True, now, source)
    return True


def _find(connection: Connection, message_id: str, *, lock: bool = False) -> Row[*tuple[Any, ...]] | None:
    query = (
        select(
            messages.c.id,
            messages.c.campaign,
            messages.c.step,
            messages.c.channel,
            messages.c.purpose,
            messages.c.redirected,
            customers.c.id.label("customer_id"),
            customers.c.locale,
            customers.c.erased_at,
            customers.c.email_marketing,
            customers.c.email_service,
            customers.c.sms_marketing,
            customers.c.sms_service,
        )
        .join(customers, customers.c.id == messages.c.customer_id)
        .where(messages.c.id == message_id)
    )
    # Two presses at the same moment wait for each other; SQLite's transactions do anyway.
    return connection.execute(query.with_for_update(of=customers) if lock else query).one_or_none()


def _about(row: Row[*tuple[Any, ...]]) -> Subscription:
    return Subscription(
        message_id=row.id,
        customer_id=row.customer_id,
        channel=Channel(row.channel),
        purpose=Purpose(row.purpose),
        granted=row._mapping[f"{row.channel}_{row.purpose}"],
        locale=row.locale,
    )


def _answered(connection: Connection, message_id: str) -> bool:
    return (
        connection.execute(
            select(interactions.c.id)
            .where(interactions.c.message_id == message_id, interactions.c.kind == InteractionKind.UNSUBSCRIBE.value)
            .limit(1)
        ).first()
        is not None
    )
