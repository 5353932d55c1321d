"""The only place where a message is written or changes its state, each time with its history row in the same transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, String, bindparam, exists, literal, select, true, update
from sqlalchemy import insert as insert_into
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.ledger.states import is_edge
from winback.store import MessageState, UtcDateTime, message_history, messages

_Item = TypeVar("_Item")

#: Rows handled by one statement; SQLite binds at most 32 766 values at once.
_BATCH = 500

#: States in which a message may be written; every other is reached by an edge.
_FIRST_STATES = frozenset({MessageState.PLANNED, MessageState.SKIPPED, MessageState.HELD_OUT})

_RAW_REPLY = 2000  # letters of a gateway's reply that are kept
_REASON = 200


@dataclass(frozen=True)
class Move:
    """One edge for one message: why, the gateway's raw reply, and columns that change with it."""

    message_id: str
    source: MessageState
    target: MessageState
    reason: str | None = None
    detail: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def insert(connection: Connection, rows: Sequence[Mapping[str, Any]], *, now: datetime, worker: str) -> int:
    """Write messages that are not there yet, each with its first history row; return how many were written.

    A message that exists already, by id or by enrollment and step, is left as it is.
    """
    for row in rows:
        if row["state"] not in _FIRST_STATES:
            raise ValueError(f"no message begins as {row['state']}")
    dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = dialect_insert(messages).on_conflict_do_nothing().returning(messages.c.id)
    written = 0
    for batch in _batches(rows):
        ids = set(connection.scalars(statement, [dict(row) for row in batch]))
        written += len(ids)
        _keep_history(
            connection,
            [
                {"message_id": row["id"], "to_state": row["state"], "reason": row.get("reason"), "worker": worker, "at": now}
                for row in batch
                if row["id"] in ids
            ],
        )
    return written


def insert_selected(connection: Connection, rows: Select[Any], *, now: datetime, worker: str) -> None:
    """Write the messages that a SELECT gives, its columns named as theirs, as `insert` does; their states are the caller's care.

    They are written in the order of their ids, which is that in which dispatchers take them and history refers to them.
    """
    given = rows.subquery("given")
    dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    # ON CONFLICT after FROM needs a WHERE: without one, SQLite takes ON for a part of the join.
    chosen = select(given).where(true()).order_by(given.c.id)
    connection.execute(dialect_insert(messages).from_select(list(given.c.keys()), chosen).on_conflict_do_nothing())
    first = (
        select(messages.c.id, messages.c.state, messages.c.reason, literal(worker, String()), literal(now, UtcDateTime()))
        .where(messages.c.id.in_(select(given.c.id)), ~exists().where(message_history.c.message_id == messages.c.id))
        .order_by(messages.c.id)
    )
    columns = ["message_id", "to_state", "reason", "worker", "at"]
    connection.execute(insert_into(message_history).from_select(columns, first))


def apply(
    connection: Connection, moves: Sequence[Move], *, now: datetime, worker: str, claimed_by: str | None = None
) -> set[str]:
    """Take each message along its edge if it is still in the source state; return the ids of those that moved.

    With `claimed_by`, only messages that this dispatcher holds move. Raise ValueError for an edge that does not exist.
    """
    for move in moves:
        if not is_edge(move.source, move.target):
            raise ValueError(f"a message never goes from {move.source} to {move.target}")
    moved: set[str] = set()
    for batch in _batches(moves):
        there = _still_there(connection, batch, claimed_by)
        going = [move for move in batch if there.get(move.message_id) == move.source]
        _update(connection, going)
        _keep_history(connection, [_history(move, now, worker) for move in going])
        moved.update(move.message_id for move in going)
    return moved


def _still_there(connection: Connection, batch: Sequence[Move], claimed_by: str | None) -> dict[str, str]:
    """Return the present state of the batch's messages, their rows locked until the transaction ends."""
    query = select(messages.c.id, messages.c.state).where(messages.c.id.in_([move.message_id for move in batch]))
    if claimed_by is not None:
        query = query.where(messages.c.claimed_by == claimed_by)
    # SQLite ignores FOR UPDATE: its writing transactions are alone from their beginning.
    return {row.id: row.state for row in connection.execute(query.with_for_update())}


def _update(connection: Connection, moves: Sequence[Move]) -> None:
    """Run one conditional UPDATE for all moves that change the same columns."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for move in moves:
        values = {"state": move.target.value, "reason": _cut(move.reason, _REASON), **move.values}
        if move.source is MessageState.SENDING:
            values |= {"claimed_by": None, "claimed_at": None}
        groups[tuple(sorted(values))].append({"message": move.message_id, "source": move.source.value, **_prefixed(values)})
    for columns, parameters in groups.items():
        connection.execute(
            update(messages)
            .where(messages.c.id == bindparam("message"), messages.c.state == bindparam("source"))
            .values({name: bindparam(f"new_{name}", type_=messages.c[name].type) for name in columns}),
            parameters,
        )


def _prefixed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in values.items()}


def _history(move: Move, now: datetime, worker: str) -> dict[str, Any]:
    return {
        "message_id": move.message_id,
        "from_state": move.source.value,
        "to_state": move.target.value,
        "reason": _cut(move.reason, _REASON),
        "detail": _cut(move.detail, _RAW_REPLY),
        "worker": worker,
        "at": now,
    }


def _keep_history(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert_into(message_history), [dict(row) for row in rows])


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
