"""Passes of the planner, upkeep of scores and imports, each in a process of its own, so that its memory can be told."""

from __future__ import annotations

import csv
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, literal, select, text

from benchmarks.audience import by_hand
from benchmarks.audience.contests import answers
from benchmarks.audience.table import Line
from benchmarks.audience.world import NOW
from benchmarks.teams import peak_memory
from winback.audience import update_rhythm, update_scores
from winback.importers import ImportSettings, import_file
from winback.plan import plan
from winback.policy import audience_context
from winback.project import Project, load_project
from winback.store import customers, enrollments, events, messages, open_engine, score_states, writing
from winback.store.migrate import migrate

_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)

#: The passes of a shop that begins, in their order, and whether everybody is asked.
_PASSES = (
    ("the first pass of all", NOW - _DAY, True),
    ("a pass a minute later", NOW - _DAY + _MINUTE, False),
    ("a pass two minutes later", NOW - _DAY + 2 * _MINUTE, False),
    ("a thorough pass on the next day", NOW, True),
    ("a pass a minute later", NOW + _MINUTE, False),
    ("a thorough pass an hour later", NOW + _HOUR, True),
)

_UPKEEPS = (("scores for the first time", NOW - _DAY), ("scores a day later", NOW), ("scores after 10,000 events", NOW))

_SCORED = """
SELECT customer_id, sum(CASE name {points} END * power(2.0, {age} / 2592000.0)) AS value FROM events
WHERE name IN ({names}) AND at <= :now GROUP BY customer_id
"""

_AGE = {"sqlite": "(at - :now) / 1000000.0", "postgresql": "EXTRACT(EPOCH FROM at - :now)"}


def in_a_process(measure: Callable[..., list[Line]], *arguments: Any) -> list[Line]:
    """Run something in a new process; its last line gets the most memory that it took."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, measure, arguments).result()


def _measured(measure: Callable[..., list[Line]], arguments: tuple[Any, ...]) -> list[Line]:
    lines = measure(*arguments)
    lines[-1].note += f"{'; ' if lines[-1].note else ''}memory at most {peak_memory() / 1e6:.0f} MB"
    return lines


def plan_passes(root: Path) -> list[Line]:
    """Plan all campaigns as time goes on, each pass in a transaction of its own; the database is spoilt for other questions."""
    project = load_project(root, environ={})
    engine = open_engine(project.settings.database.url)
    lines = []
    for name, at, thorough in _PASSES:
        begin, used = time.perf_counter(), time.process_time()
        with writing(engine) as connection:
            result = plan(connection, project, at, thorough=thorough)
        seconds, used = time.perf_counter() - begin, time.process_time() - used
        failed = [*result.errors, *(f"{each.campaign}: {each.error}" for each in result.campaigns if each.error)]
        if failed:
            raise RuntimeError(str(failed))
        line = Line(name, [seconds], rows=result.planned + result.skipped + result.held_out)
        lines.append(line)
        line.note = f"{result.enrolled:,} come in; {used:.1f} s of this process's processor"
    engine.dispose()
    return lines


def plan_by_hand(root: Path) -> list[Line]:
    """Let everybody in and write the messages of the first pass by hand; it is undone at the end."""
    project = load_project(root, environ={})
    at = NOW - _DAY
    with _undone(project) as connection:
        zones = list(connection.scalars(text("SELECT DISTINCT local_zone FROM customers")))
        answers.create(connection)
        update_rhythm(connection, at, project.settings.shop.zone)
        begin, used = time.perf_counter(), time.process_time()
        for name in by_hand.AUDIENCES:
            connection.execute(answers.delete())
            connection.execute(by_hand.audience(connection, name, at, at, zones))
            for statement in by_hand.planning(connection, name, at):
                connection.execute(statement)
        seconds, used = time.perf_counter() - begin, time.process_time() - used
        written, entered = (connection.scalar(select(func.count()).select_from(table)) or 0 for table in (messages, enrollments))
    note = f"{entered:,} come in; {used:.1f} s of this process's processor; without scores, segments, caps, clocks"
    return [Line("the first pass, by hand", [seconds], rows=written, note=note)]


def keep_scores(root: Path) -> list[Line]:
    """Keep the demo shop's score up: everybody for the first time, a day later, and after ten thousand events."""
    project = load_project(root, environ={})
    lines = []
    with _undone(project) as connection:
        by_hand, values = _timed(_score_by_hand, connection, project)
        for name, at in _UPKEEPS:
            if "events" in name:
                _happen(connection, 10_000)
            context = audience_context(project, at, since=at)
            seconds, _ = _timed(update_scores, connection, project.scores, context)
            rows = connection.scalar(select(func.count()).select_from(score_states)) or 0
            lines.append(Line(name, [seconds], rows=rows))
        lines[0].by_hand = [by_hand]
        lines[0].note = f"by hand the values of {values:,} alone, without levels"
    return lines


def _score_by_hand(connection: Connection, project: Project) -> int:
    rules = [rule for rule in project.scores["lead"].rules if rule.event]
    statement = _SCORED.format(
        points=" ".join(f"WHEN '{rule.event}' THEN {rule.points}" for rule in rules),
        names=", ".join(f"'{rule.event}'" for rule in rules),
        age=_AGE[connection.dialect.name],
    )
    now: Any = NOW if connection.dialect.name == "postgresql" else int(NOW.timestamp()) * 1_000_000
    connection.execute(text(f"CREATE TEMPORARY TABLE bench_scores AS {statement}"), {"now": now})
    return connection.scalar(text("SELECT count(*) FROM bench_scores")) or 0


def _happen(connection: Connection, count: int) -> None:
    """Let something that is scored happen to so many customers, just now."""
    some = select(
        literal("bench-").concat(customers.c.external_id),
        customers.c.id,
        text("'guide_downloaded'"),
        select(func.max(events.c.at)).scalar_subquery(),
        text("'{}'"),
    ).limit(count)
    connection.execute(insert(events).from_select(["external_id", "customer_id", "name", "at", "properties"], some))


@contextmanager
def _undone(project: Project) -> Iterator[Connection]:
    engine = open_engine(project.settings.database.url, root=project.root)
    with engine.connect() as connection:
        yield connection
        connection.rollback()
    engine.dispose()


def _timed(work: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = work(*arguments, **named)
    return time.perf_counter() - begin, result


def import_files(url: str, folder: Path, people: Path, purchases: Path) -> list[Line]:
    """Import customers and orders into an empty database, beside the bare way into tables that check nothing."""
    engine = open_engine(url)
    migrate(engine)
    settings = ImportSettings("Europe/Berlin", "DE", "EUR", b"k" * 32, folder / "rejects")
    lines = []
    for kind, path in (("customers", people), ("orders", purchases)):
        seconds, done = _timed(import_file, engine, settings, kind, path, now=NOW)
        with writing(engine) as connection:
            by_hand, _ = _timed(_load_by_hand, connection, path, f"bare_{kind}")
        rows = done.inserted + done.updated
        note = f"{rows / seconds:,.0f} rows/s, by hand {rows / by_hand:,.0f}; {done.rejected} rejected"
        lines.append(Line(f"import of {kind}", [seconds], [by_hand], rows=rows, note=note))
    engine.dispose()
    return lines


def _load_by_hand(connection: Connection, path: Path, name: str) -> None:
    driver: Any = connection.connection.driver_connection
    with path.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
        connection.exec_driver_sql(f"CREATE TABLE {name} ({', '.join(f'{column} text' for column in columns)})")
        if connection.dialect.name == "sqlite":
            driver.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' for _ in columns)})", csv.reader(file))
        else:
            with driver.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
                while block := file.read(1 << 20):
                    copy.write(block)
        connection.exec_driver_sql(f"CREATE UNIQUE INDEX ix_{name} ON {name} ({columns[0]})")
