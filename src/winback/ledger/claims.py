"""Take messages that are due, so that no other dispatcher does."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Integer, String, bindparam, insert, literal, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from winback.store import Id, MessageState, UtcDateTime, among, message_history, messages


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

#: The history of messages that were claimed.
_HISTORY = insert(message_history).from_select(
    ("message_id", "from_state", "to_state", "worker", "at"),
    select(
        messages.c.id,
        literal(MessageState.PLANNED.value, String()),
        messages.c.state,
        messages.c.claimed_by,
        messages.c.claimed_at,
    )
    .where(among(messages.c.id, bindparam("ids", type_=String())))
    .order_by(messages.c.id),
)


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
    statement = _claiming(tuple(sorted(channels)), chosen=only is not None, versioned=version is not None)
    values: dict[str, Any] = {"now": now, "worker": worker}
    values |= {"most": limit} if only is None else {"only": json.dumps(only[:limit])}
    values |= {} if version is None else {"version": version}
    claimed = connection.execute(statement, values).all()
    if claimed:
        connection.execute(_HISTORY, {"ids": json.dumps([row.id for row in claimed])})
    # RETURNING has no order.
    return sorted((Claimed(*row) for row in claimed), key=lambda message: (message.due_at, message.id))


@lru_cache(maxsize=64)
def _claiming(channels: tuple[str, ...], *, chosen: bool, versioned: bool) -> ReturningUpdate[Any]:
    """Return what claims the first of what is due, or of what was chosen."""
    now = bindparam("now", type_=UtcDateTime())
    ready = select(messages.c.id).where(
        messages.c.state == MessageState.PLANNED,
        messages.c.next_attempt_at <= now,
        messages.c.channel.in_([literal(channel, String()) for channel in channels]),
    )
    if chosen:
        ready = ready.where(among(messages.c.id, bindparam("only", type_=String())))
    else:
        ready = ready.order_by(messages.c.next_attempt_at, messages.c.id).limit(bindparam("most", type_=Integer()))
    # A common table expression runs once; PostgreSQL may run a subquery again for each row, past the limit.
    due = ready.with_for_update(skip_locked=True).cte("due")
    made_from = {"version_id": bindparam("version", type_=Id)} if versioned else {}
    return (
        update(messages)
        .where(messages.c.id.in_(select(due.c.id)), messages.c.state == MessageState.PLANNED)
        .values(state=MessageState.SENDING, claimed_by=bindparam("worker"), claimed_at=now, **made_from)
        .returning(*_COLUMNS)
    )
