"""Bring staged rows into the database in a handful of statements whatever their number; what kinds of rows have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    String,
    Table,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    update,
)

from winback.importers.result import ImportSettings, Outcome
from winback.importers.staging import changed
from winback.importers.tally import Tally
from winback.store import COUNTED, Json, UtcDateTime, customers

#: The indexes of a table that are no constraints, and what makes them.
_INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND sql IS NOT NULL",
    "postgresql": """
        SELECT c.relname AS name, pg_get_indexdef(c.oid) AS sql FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE i.indrelid = CAST(:table AS regclass) AND NOT i.indisunique
    """,
}

#: How many repeated ids are merged at a time.
_BATCH = 500


#: Values that are one: where a later row brings the first, what it does not say of the others is not what an earlier row said.
_TOGETHER = {"phone": ("phone_zone",), "birth_month": ("birth_year",)}


@dataclass(frozen=True)
class Merge:
    """What the merge of a kind is given."""

    connection: Connection
    settings: ImportSettings
    now: datetime
    tally: Tally
    numbered: bool = False  # ids end in a number that is still to be added
    clears: bool = False  # some rows empty columns
    line_mode: bool = False  # one row of the file is one line of an order
    row_by_row: bool = False  # the outcome of each row is asked for

    @property
    def moment(self) -> ColumnElement[datetime]:
        """Return the import's moment for SQL."""
        return literal(self.now, UtcDateTime())


@dataclass
class Merged:
    """What the merge of a kind did, in rows of the file."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    customers_created: int = 0
    notes: list[str] = field(default_factory=list)
    row_by_row: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # of rows by their line; those that are missing changed nothing

    def count(self, connection: Connection, staged: Table) -> None:
        """Count the staged rows once targets and changes are known, and nothing is merged yet."""
        new, altered = staged.c.target_id.is_(None), staged.c.target_id.in_(select(changed.c.id))
        self.inserted = count_rows(connection, staged, new)
        self.updated = count_rows(connection, staged, altered) if is_filled(connection, changed) else 0
        self.unchanged = count_rows(connection, staged) - self.inserted - self.updated
        self.remember(connection, staged, "inserted", new)
        self.remember(connection, staged, "updated", altered)

    def remember(self, connection: Connection, staged: Table, outcome: Outcome, which: ColumnElement[bool]) -> None:
        """Keep the outcome of these staged rows, where somebody asks for it row by row."""
        if self.row_by_row:
            lines = connection.scalars(select(staged.c.line).where(which))
            self.outcomes.update((line, outcome) for line in lines if line not in self.outcomes)


def count_rows(connection: Connection, staged: Table, *which: ColumnElement[bool]) -> int:
    """Return how many rows of the file went into these staged rows."""
    return connection.scalar(select(func.coalesce(func.sum(staged.c.weight), 0)).where(*which)) or 0


def is_filled(connection: Connection, table: Table) -> bool:
    """Say whether a table has any row."""
    return bool(connection.scalar(select(exists().select_from(table))))


@contextmanager
def filling(connection: Connection, table: Table) -> Iterator[None]:
    """Fill a table; an empty one without its indexes, which are made afterwards: that takes two thirds of the time.

    On PostgreSQL others wait until the end before they read the table, in which there is nothing yet.
    """
    indexes: Sequence[Any] = ()
    if not is_filled(connection, table):
        indexes = connection.execute(text(_INDEXES[connection.dialect.name]), {"table": table.name}).all()
    for each in indexes:
        connection.exec_driver_sql(f"DROP INDEX {each.name}")
    yield
    for each in indexes:
        connection.exec_driver_sql(each.sql)


def number_ids(connection: Connection, staged: Table) -> None:
    """Number the rows of the same id in the file's order: so a source without ids gets stable ones. All have been read as 1."""
    place = func.row_number().over(partition_by=staged.c.external_id, order_by=staged.c.line)
    numbered = select(staged.c.line, place.label("number")).subquery()
    bare = func.substr(staged.c.external_id, 1, func.length(staged.c.external_id) - 1)
    connection.execute(
        update(staged)
        .where(staged.c.line == numbered.c.line, numbered.c.number > 1)
        .values(external_id=bare + cast(numbered.c.number, String))
    )


def merge_values(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Merge a later row of the same record into an earlier one: what the later one says counts, what it leaves empty stays."""
    cleared = [name for name in (second.get("cleared") or "").split(",") if name]
    for name in cleared:
        if name in first:
            first[name] = None
    for leader, followers in _TOGETHER.items():
        if second.get(leader) is not None:
            first |= dict.fromkeys(followers)
    for name, value in second.items():
        if name == "weight":
            first[name] += value
        elif name == "has_lines":
            first[name] = first[name] or value
        elif name in {"attributes", "properties"} and first[name] and value:
            both = [json.loads(each) if isinstance(each, str) else each for each in (first[name], value)]
            joined = both[0] | both[1]
            first[name] = json.dumps(joined, sort_keys=True) if isinstance(value, str) else joined
        elif name == "cleared":
            earlier = [each for each in (first[name] or "").split(",") if each and second.get(each) is None]
            both_cleared = {*earlier, *cleared}
            first[name] = "".join(f",{each}," for each in sorted(both_cleared)) or None
        elif name == "line" or value is not None:
            first[name] = value


def fold_repeats(
    merge: Merge, staged: Table, follow: Callable[[Connection, Sequence[dict[str, Any]]], None] | None = None
) -> None:
    """Merge rows that have the same id into the last of them, as if they had been imported one after the other.

    `follow` takes the rows of one record, in order, and hands what hangs on them to the last one. Except in line mode, where
    every row adds something, the earlier rows count as unchanged.
    """
    connection, last = merge.connection, ""
    while True:
        repeated = connection.scalars(
            select(staged.c.external_id)
            .where(staged.c.external_id > last)
            .group_by(staged.c.external_id)
            .having(func.count() > 1)
            .order_by(staged.c.external_id)
            .limit(_BATCH)
        ).all()
        if not repeated:
            return
        last = repeated[-1]
        rows = connection.execute(
            select(staged).where(staged.c.external_id.in_(repeated)).order_by(staged.c.external_id, staged.c.line)
        ).mappings()
        for _, group in groupby(rows.all(), key=lambda row: row["external_id"]):
            record, *later = (dict(row) for row in group)
            same = [record.copy(), *later]
            for row in later:
                merge_values(record, row)
            if follow is not None:
                follow(connection, same)
            if not merge.line_mode:
                merge.tally.unchanged += record["weight"] - 1
                merge.tally.notes["rows repeat an id of the same file: the last one counts"] += record["weight"] - 1
                record["weight"] = 1
            gone = [row["line"] for row in same[:-1]]
            connection.execute(delete(staged).where(staged.c.line.in_(gone)))
            connection.execute(update(staged).where(staged.c.line == record["line"]).values(record))


def find_targets(connection: Connection, staged: Table, known: Table) -> None:
    """Find the row of the database that each staged row is about."""
    if not is_filled(connection, known):
        return
    connection.execute(
        update(staged)
        .where(staged.c.target_id.is_(None), known.c.external_id == staged.c.external_id)
        .values(target_id=known.c.id)
    )


def find_customers(merge: Merge, staged: Table) -> int:
    """Name each row's customer, by id or else by e-mail address; create those that are not there. Return how many were.

    Rows about what is known get the customer's row; the others find it by its name when they are written (`with_customers`).
    """
    connection = merge.connection
    by_address = (
        select(customers.c.external_id)
        .where(customers.c.email_hash == staged.c.email_hash, customers.c.erased_at.is_(None))
        .order_by(customers.c.id)
        .limit(1)
        .scalar_subquery()
    )
    unnamed = staged.c.customer.is_(None) & staged.c.email.is_not(None)
    if connection.scalar(select(exists().where(unnamed))):
        connection.execute(update(staged).where(unnamed).values(customer=func.coalesce(by_address, staged.c.email)))
    columns = ["external_id", "email", "email_hash", "local_zone", "attributes", "created_at", "updated_at"]
    # Of one customer's several addresses in the file the last counts, with its own hash.
    place = func.row_number().over(partition_by=staged.c.customer, order_by=(staged.c.email.is_(None), staged.c.line.desc()))
    people = (
        select(staged.c.customer, staged.c.email, staged.c.email_hash, staged.c.line, place.label("place"))
        .where(staged.c.customer.is_not(None), ~exists().where(customers.c.external_id == staged.c.customer))
        .subquery()
    )
    constants = (literal(merge.settings.zone), literal({}, Json), merge.moment, merge.moment)
    absent = (
        select(people.c.customer, people.c.email, people.c.email_hash, *constants)
        .where(people.c.place == 1)
        .order_by(people.c.line)
    )
    statement = insert(customers).from_select(columns, absent)
    # SQLAlchemy keeps the row count of an INSERT only when asked to.
    created = connection.execute(statement, execution_options=COUNTED).rowcount
    connection.execute(
        update(staged)
        .where(customers.c.external_id == staged.c.customer, staged.c.target_id.is_not(None))
        .values(customer_id=customers.c.id)
    )
    return created


def with_customers(staged: Table) -> FromClause:
    """Return staged rows beside their customers."""
    return staged.join(customers, customers.c.external_id == staged.c.customer)


def kept(merge: Merge, staged: FromClause, name: str, current: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return SQL for a column after the merge: what the row says, else what was there, or nothing where the row empties it."""
    value: ColumnElement[Any] = func.coalesce(staged.c[name], current)
    if merge.clears:
        value = case((staged.c.cleared.contains(f",{name},", autoescape=True), null()), else_=value)
    return value


def joined_objects(connection: Connection, current: ColumnElement[Any], added: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return SQL for an object with another one's keys put over its own; keys that are null go.

    Values are never objects themselves (reading.py refuses them), so that RFC 7396 on SQLite and `||` on PostgreSQL agree.
    """
    if connection.dialect.name == "sqlite":
        return func.json_patch(current, func.coalesce(added, "{}"), type_=String)
    return func.jsonb_strip_nulls(current.op("||")(func.coalesce(added, literal({}, Json))), type_=Json)


def plain_object(connection: Connection, current: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return SQL for a stored object in the spelling that `joined_objects` gives."""
    return func.json(current, type_=String) if connection.dialect.name == "sqlite" else current


def note_changed(
    connection: Connection,
    staged: Table,
    known: Table,
    merged: dict[str, ColumnElement[Any]],
    objects: Sequence[str] = (),
) -> None:
    """Write down the rows of the database that would differ after the merge."""
    if not is_filled(connection, known):
        return
    differs = [
        value.is_distinct_from(plain_object(connection, known.c[name]) if name in objects else known.c[name])
        for name, value in merged.items()
    ]
    rows = select(known.c.id).join(staged, staged.c.target_id == known.c.id).where(or_(*differs))
    connection.execute(insert(changed).from_select(["id"], rows))
