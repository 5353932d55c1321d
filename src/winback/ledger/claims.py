"""Take messages that are due, so that no other dispatcher does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, String, insert, literal, select, update

from winback.store import MessageState, message_history, messages


@dataclass(slots=True)
class Claimed:
    """A message that this dispatcher holds, as far as sending needs to know it."""

    id: str
    campaign: str
    step: str
    customer_id: int
    enrollment_id: int
    channel: str
    purpose: str
    variant: str
    attempts: int
    due_at: datetime
    valid_until: datetime


_COLUMNS = [messages.c[name] for name in Claimed.__dataclass_fields__]


def claim(
    connection: Connection,
    *,
    worker: str,
    now: datetime,
    limit: int,
    channels: Collection[str],
    only: Sequence[str] | None = None,
    version: int | None = None,
) -> list[Claimed]:
    """Move up to `limit` due messages of these channels to sending, in the order in which they are due, and return them.

    Where `only` names messages, they are the first of these, as far as they are due. Commit before the first byte leaves. Two
    dispatchers never get the same one: on PostgreSQL they pass over each other's rows, on SQLite writing transactions come one
    after the other. They are made from the files of the applied `version`, where that is known.
    """
    ready = select(messages.c.id).where(
        messages.c.state == MessageState.PLANNED,
        messages.c.next_attempt_at <= now,
        messages.c.channel.in_(sorted(channels)),
    )
    if only is None:
        ready = ready.order_by(messages.c.next_attempt_at, messages.c.id).limit(limit)
    else:
        ready = ready.where(messages.c.id.in_(only[:limit]))
    # A common table expression runs once; PostgreSQL may run a subquery again for each row, past the limit.
    due = ready.with_for_update(skip_locked=True).cte("due")
    made_from = {} if version is None else {"version_id": version}
    claimed = connection.execute(
        update(messages)
        .where(messages.c.id.in_(select(due.c.id)), messages.c.state == MessageState.PLANNED)
        .values(state=MessageState.SENDING, claimed_by=worker, claimed_at=now, **made_from)
        .returning(*_COLUMNS)
    ).all()
    columns = ("message_id", "from_state", "to_state", "worker", "at")
    taken = select(
        messages.c.id,
        literal(MessageState.PLANNED.value, String()),
        messages.c.state,
        messages.c.claimed_by,
        messages.c.claimed_at,
    ).where(messages.c.id.in_([row.id for row in claimed]))
    connection.execute(insert(message_history).from_select(columns, taken.order_by(messages.c.id)))
    # RETURNING has no order.
    return sorted((Claimed(*row) for row in claimed), key=lambda message: (message.due_at, message.id))
