"""The questions, each asked of winback and of SQL written by hand, on the same database and in turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Column, Connection, Date, Engine, Executable, MetaData, Select, String, Table, func, insert, select, text

from benchmarks.audience import by_hand
from benchmarks.audience.table import Line
from benchmarks.audience.world import NOW
from winback.audience import compile_condition, select_audience, update_scores, update_segments
from winback.audience.occasions import Selected
from winback.policy import audience_context
from winback.project import Project
from winback.store import Id, UtcDateTime, customers, reading

#: As far as a pass looks back.
_SINCE = NOW - timedelta(days=7)

answers = Table(
    "bench_found",
    MetaData(),
    Column("customer_id", Id, nullable=False),
    Column("occasion", String(200), nullable=False),
    Column("anchor_at", UtcDateTime),
    Column("anchor_on", Date),
    Column("order_id", Id),
    Column("ripe_at", UtcDateTime),
    prefixes=["TEMPORARY"],
)

Ask = Callable[[Connection], int]


class Contest:
    """One database with its shop."""

    def __init__(self, project: Project, engine: Engine, rounds: int, only: str) -> None:
        self._project = project
        self._engine = engine
        self._rounds = rounds
        self._only = only

    def selections(self) -> Iterator[Line]:
        """Ask who is in each campaign's audience, and keep the answer in a table of the transaction's own."""
        names = [name for name in by_hand.AUDIENCES if self._only in f"audience {name}"]
        if not names:
            return
        with self._kept_up() as connection:
            zones = list(connection.scalars(text("SELECT DISTINCT local_zone FROM customers")))
            context = audience_context(self._project, NOW, since=_SINCE)
            for name in names:
                audience = self._project.campaigns[name].audience
                theirs = _keep(by_hand.audience(connection, name, NOW, _SINCE, zones))
                yield self._compare(
                    f"audience {name} ({audience.preset})", connection, _keep(select_audience(audience, context)), theirs
                )

    def conditions(self) -> Iterator[Line]:
        """Count the customers whom each expression fits."""
        context = audience_context(self._project, NOW, since=NOW)
        with reading(self._engine) as connection:
            for expression in by_hand.CONDITIONS:
                if self._only in f"where {expression}":
                    fits = compile_condition(expression, context, scope="customer", customer=customers)
                    mine = select(func.count()).select_from(customers).where(fits)
                    theirs = by_hand.condition(connection, expression, NOW)
                    yield self._compare(f"where {expression}", connection, _count(mine), _count(theirs))

    @contextmanager
    def _kept_up(self) -> Iterator[Connection]:
        """Give a transaction in which scores and segments are as they would be; it is undone at the end."""
        with self._engine.connect() as connection:
            for at in (NOW - timedelta(days=3), NOW):
                context = audience_context(self._project, at, since=at)
                update_scores(connection, self._project.scores, context)
                update_segments(connection, {"at_risk": self._project.segments["at_risk"]}, context)
            yield connection
            connection.rollback()

    def _compare(self, name: str, connection: Connection, ours: Ask, other: Ask) -> Line:
        print(f"  … {name}", file=sys.stderr, flush=True)
        line = Line(name)
        for _ in range(self._rounds):
            seconds, line.rows = _timed(connection, ours)
            line.ours.append(seconds)
            seconds, line.rows_by_hand = _timed(connection, other)
            line.by_hand.append(seconds)
        return line


def _keep(found: Selected | Executable) -> Ask:
    def ask(connection: Connection) -> int:
        connection.execute(insert(answers).from_select(list(answers.c), found) if isinstance(found, Selected) else found)
        return connection.scalar(select(func.count()).select_from(answers)) or 0

    return ask


def _count(statement: Select[tuple[int]] | Executable) -> Ask:
    return lambda connection: connection.scalar(statement) or 0


def _timed(connection: Connection, ask: Ask) -> tuple[float, int]:
    answers.create(connection, checkfirst=True)
    connection.execute(answers.delete())
    begin = time.perf_counter()
    rows = ask(connection)
    return time.perf_counter() - begin, rows
