"""The only place where a message is written or changes its state, each time with its history row in the same transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, Select, String, bindparam, exists, select, true, update
from sqlalchemy import insert as insert_into
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import ReturningUpdate

from winback.ledger.states import is_edge
from winback.store import COUNTED, MessageState, UtcDateTime, look_over, message_history, messages
from winback.store.given import as_given, given, given_as

#: Messages handled by one statement.
_BATCH = 1000

#: Messages written at once, from which on it is asked whether what the database knows of all messages is out of date.
_MANY = 10_000

#: States in which a message may be written; every other is reached by an edge.
_FIRST_STATES = frozenset({MessageState.PLANNED, MessageState.SKIPPED, MessageState.HELD_OUT})

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
    """Write the messages that a SELECT gives, its columns named as theirs, as `insert` does; their states are for the caller."""
    return Selected(rows).write(connection, now=now, worker=worker)


class Selected:
    """The messages that a SELECT gives, to be written again and again with the statements for it written down once.

    They are written in the order of their ids, which is that in which dispatchers take them and history refers to them.
    """

    def __init__(self, rows: Select[Any]) -> None:
        self._new = rows.subquery("new")
        # ON CONFLICT after FROM needs a WHERE: without one, SQLite takes ON for a part of the join.
        self._chosen = select(self._new).where(true()).order_by(self._new.c.id)

    def write(self, connection: Connection, *, now: datetime, worker: str) -> int:
        """Write those that are not there yet, each with its first history row; return how many were written."""
        about = {"history_worker": worker, "history_at": now}
        if connection.dialect.name == "postgresql":
            count = connection.execute(self._at_once, about, execution_options=COUNTED).rowcount
            if count >= _MANY:
                look_over(connection, (messages,))
            return count
        count = connection.execute(self._messages, execution_options=COUNTED).rowcount
        connection.execute(self._history, about)
        return count

    @cached_property
    def _at_once(self) -> Insert:
        """PostgreSQL, when it takes the history for empty, reads for each message all that it has just written there."""
        statement = postgresql_insert(messages).from_select(list(self._new.c.keys()), self._chosen).on_conflict_do_nothing()
        return _first_history(select(statement.returning(messages.c.id, messages.c.state, messages.c.reason).cte("written")))

    @cached_property
    def _messages(self) -> Insert:
        return sqlite_insert(messages).from_select(list(self._new.c.keys()), self._chosen).on_conflict_do_nothing()

    @cached_property
    def _history(self) -> Insert:
        fresh = (
            select(messages.c.id, messages.c.state, messages.c.reason)
            .where(messages.c.id.in_(select(self._new.c.id)), ~exists().where(message_history.c.message_id == messages.c.id))
            .order_by(messages.c.id)
        )
        return _first_history(fresh)


def _first_history(written: Select[Any]) -> Insert:
    rows = written.add_columns(bindparam("history_worker", type_=String()), bindparam("history_at", type_=UtcDateTime()))
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
        values = {"moves": as_given(connection, rows)} | ({} if claimed_by is None else {"holder": claimed_by})
        statement = _moving(connection.dialect.name, columns, held=claimed_by is not None)
        moved.update(connection.scalars(statement, values))
    return moved


@lru_cache(maxsize=64)
def _moving(backend: str, columns: tuple[str, ...], *, held: bool) -> ReturningUpdate[tuple[str]]:
    """Return the UPDATE for moves that change these columns, of messages that a dispatcher holds or of any."""
    kinds = {"message": String(), "source": String(), **{f"new_{name}": messages.c[name].type for name in columns}}
    table = given_as(backend, kinds, "moves")
    statement = (
        update(messages)
        .where(messages.c.id == table.c.message, messages.c.state == table.c.source)
        .values({name: table.c[f"new_{name}"] for name in columns})
    )
    if held:
        statement = statement.where(messages.c.claimed_by == bindparam("holder"))
    return statement.returning(messages.c.id)


def _keep_history(connection: Connection, moves: Sequence[Move], now: datetime, worker: str) -> None:
    if not moves:
        return
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
    connection.execute(_keeping(connection.dialect.name), {"moves": as_given(connection, rows)})


@lru_cache
def _keeping(backend: str) -> Insert:
    columns = ("message_id", "from_state", "to_state", "reason", "detail", "worker", "at")
    table = given_as(backend, {name: message_history.c[name].type for name in columns}, "moves")
    return insert_into(message_history).from_select(columns, select(table))


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]
