"""The only place where a message is written or changes its state, each time with its history row in the same transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Insert, Select, String, exists, literal, select, true, update
from sqlalchemy import insert as insert_into
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.ledger.states import is_edge
from winback.store import MessageState, UtcDateTime, look_over, message_history, messages
from winback.store.given import given

#: Messages handled by one statement.
_BATCH = 1000

#: Messages written at once, from which on it is asked whether what the database knows of all messages is out of date.
_MANY = 10_000

#: States in which a message may be written; every other is reached by an edge.
_FIRST_STATES = frozenset({MessageState.PLANNED, MessageState.SKIPPED, MessageState.HELD_OUT})

#: An INSERT … SELECT tells how many rows it wrote when it is asked to.
_COUNTED = {"preserve_rowcount": True}

_RAW_REPLY = 2000  # letters of a gateway's reply that are kept
_REASON = 200


@dataclass(slots=True)
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

    All rows have the same columns. A message that exists already, by id or by enrollment and step, is left as it is.
    """
    for row in rows:
        if row["state"] not in _FIRST_STATES:
            raise ValueError(f"no message begins as {row['state']}")
    if not rows:
        return 0
    columns = {name: messages.c[name].type for name in rows[0]}
    table = given(connection, columns, ([row[name] for name in columns] for row in rows))
    return insert_selected(connection, select(table), now=now, worker=worker)


def insert_selected(connection: Connection, rows: Select[Any], *, now: datetime, worker: str) -> int:
    """Write the messages that a SELECT gives, its columns named as theirs, as `insert` does; their states are the caller's care.

    They are written in the order of their ids, which is that in which dispatchers take them and history refers to them.
    """
    new = rows.subquery("new")
    on_postgresql = connection.dialect.name == "postgresql"
    dialect_insert = postgresql_insert if on_postgresql else sqlite_insert
    # ON CONFLICT after FROM needs a WHERE: without one, SQLite takes ON for a part of the join.
    chosen = select(new).where(true()).order_by(new.c.id)
    statement = dialect_insert(messages).from_select(list(new.c.keys()), chosen).on_conflict_do_nothing()
    if on_postgresql:
        # At once: PostgreSQL, when it takes the history for empty, reads for each message all that it has just written there.
        written = statement.returning(messages.c.id, messages.c.state, messages.c.reason).cte("written")
        count = connection.execute(_first_history(select(written), now, worker), execution_options=_COUNTED).rowcount
        if count >= _MANY:
            look_over(connection, (messages,))
        return count
    count = connection.execute(statement, execution_options=_COUNTED).rowcount
    fresh = (
        select(messages.c.id, messages.c.state, messages.c.reason)
        .where(messages.c.id.in_(select(new.c.id)), ~exists().where(message_history.c.message_id == messages.c.id))
        .order_by(messages.c.id)
    )
    connection.execute(_first_history(fresh, now, worker))
    return count


def _first_history(written: Select[Any], now: datetime, worker: str) -> Insert:
    rows = written.add_columns(literal(worker, String()), literal(now, UtcDateTime()))
    return insert_into(message_history).from_select(["message_id", "to_state", "reason", "worker", "at"], rows)


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
        ids = _update(connection, batch, claimed_by)
        _keep_history(connection, [move for move in batch if move.message_id in ids], now, worker)
        moved |= ids
    return moved


def _batches(moves: Sequence[Move]) -> Iterator[list[Move]]:
    """Yield the moves in their order, some at a time, and never two of one message together."""
    batch: dict[str, Move] = {}
    for move in moves:
        if len(batch) == _BATCH or move.message_id in batch:
            yield list(batch.values())
            batch = {}
        batch[move.message_id] = move
    if batch:
        yield list(batch.values())


def _update(connection: Connection, moves: Sequence[Move], claimed_by: str | None) -> set[str]:
    """Run one conditional UPDATE for all moves that change the same columns; return the ids of messages that were changed."""
    groups: dict[tuple[str, ...], list[list[Any]]] = defaultdict(list)
    for move in moves:
        values = {"state": move.target.value, "reason": _cut(move.reason, _REASON), **move.values}
        if move.source is MessageState.SENDING:
            values |= {"claimed_by": None, "claimed_at": None}
        groups[tuple(values)].append([move.message_id, move.source.value, *values.values()])
    moved: set[str] = set()
    for columns, rows in groups.items():
        kinds = {"message": String(), "source": String(), **{f"new_{name}": messages.c[name].type for name in columns}}
        table = given(connection, kinds, rows)
        statement = (
            update(messages)
            .where(messages.c.id == table.c.message, messages.c.state == table.c.source)
            .values({name: table.c[f"new_{name}"] for name in columns})
            .returning(messages.c.id)
        )
        if claimed_by is not None:
            statement = statement.where(messages.c.claimed_by == claimed_by)
        moved.update(connection.scalars(statement))
    return moved


def _keep_history(connection: Connection, moves: Sequence[Move], now: datetime, worker: str) -> None:
    if not moves:
        return
    columns = ("message_id", "from_state", "to_state", "reason", "detail", "worker", "at")
    rows = (
        (
            move.message_id,
            move.source.value,
            move.target.value,
            _cut(move.reason, _REASON),
            _cut(move.detail, _RAW_REPLY),
            worker,
            now,
        )
        for move in moves
    )
    table = given(connection, {name: message_history.c[name].type for name in columns}, rows)
    connection.execute(insert_into(message_history).from_select(columns, select(table)))


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]
