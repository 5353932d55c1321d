"""Forget a person: nothing planned goes to them any more, and nothing that names or reaches them stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from winback.ledger.moves import Move, apply
from winback.store import EnrollmentState, MessageState, SuppressionReason, enrollments, events, exclusive, messages, orders
from winback.store.erasure import erase_customer

#: Why a message was cancelled and an enrollment ended.
ERASED = SuppressionReason.ERASED.value


@dataclass(frozen=True)
class Forgotten:
    """What was done. Orders, events and messages stay as rows without the person, so that reports count as before."""

    suppressed: tuple[str, ...]  # channels whose address is never written to again
    cancelled: int  # messages that were planned
    in_flight: int  # messages in a dispatcher's hands: it asks again before the last step, but one may just be going out
    left: int  # enrollments that were running
    orders: int
    events: int
    message_ids: tuple[str, ...]  # of every message of the person: files may be kept under these names


def forget_customer(
    connection: Connection, customer_id: int, *, now: datetime, key: bytes, source: str, worker: str
) -> Forgotten:
    """Cancel what is planned for a customer, end their enrollments, and erase the person, in the caller's transaction.

    `key` hides addresses in hashes, `source` says who asked (cli, api), `worker` is the name in the messages' history.
    Doing it again takes out what has come since.
    """
    exclusive(connection)  # before any row is held, as planning and importing do: so nobody waits for each other
    own = connection.execute(select(messages.c.id, messages.c.state).where(messages.c.customer_id == customer_id))
    states: dict[str, str] = {row.id: row.state for row in own}
    planned = [message_id for message_id, state in states.items() if state == MessageState.PLANNED]
    moves = [Move(message_id, MessageState.PLANNED, MessageState.CANCELLED, reason=ERASED) for message_id in planned]
    cancelled = apply(connection, moves, now=now, worker=worker)
    running = (enrollments.c.customer_id == customer_id) & (enrollments.c.state == EnrollmentState.ACTIVE.value)
    left = connection.execute(
        update(enrollments)
        .where(running)
        .values(state=EnrollmentState.EXITED.value, exit_reason=ERASED, step=None, due_at=None, due_on=None, waiting=None)
    ).rowcount
    suppressed = erase_customer(connection, customer_id, now=now, key=key, source=source)
    counts = [
        connection.scalar(select(func.count()).select_from(table).where(table.c.customer_id == customer_id)) or 0
        for table in (orders, events)
    ]
    return Forgotten(
        suppressed=suppressed,
        cancelled=len(cancelled),
        in_flight=sum(state == MessageState.SENDING for state in states.values()),
        left=left,
        orders=counts[0],
        events=counts[1],
        message_ids=tuple(states),
    )
