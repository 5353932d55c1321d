"""Measure audiences, conditions, planning, scores and imports in a large shop, and print one table for each database."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, make_url, select, text

from benchmarks.audience import loading, shop
from benchmarks.audience.contests import Contest
from benchmarks.audience.passes import import_files, in_a_process, keep_scores, plan_by_hand, plan_passes
from benchmarks.audience.table import Line, show
from winback.project import load_project
from winback.store import customers, open_engine, reading
from winback.store.migrate import migrate


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.audience", description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000, help="of the shop; with five orders and ten events each")
    parser.add_argument("--rounds", type=int, default=3, help="how often each question is asked; the middle one counts")
    parser.add_argument(
        "--postgres", default="", help="URL of a PostgreSQL server, whose superuser it names; else only SQLite is asked"
    )
    parser.add_argument("--only", default="", help="lines whose names hold this text")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the SQLite file; both databases stay for next time")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="winback-bench-") as name:
        folder = Path(name)
        for backend in ("sqlite", "postgresql") if options.postgres else ("sqlite",):
            with _database(backend, folder, options) as engine:
                project = shop.make(folder / backend, _url(engine))
                contest = Contest(project, engine, options.rounds, options.only)
                lines = [*contest.selections(), *contest.conditions()]
                if options.only in "scores":
                    lines += in_a_process(keep_scores, project.root)
                if options.only in "passes":
                    with _copy(engine, options) as url:
                        lines += _passes(shop.make(folder / f"{backend}-passes", url).root)
            if options.only in "imports":
                lines += _imports(backend, folder, options)
            print(f"\n{backend}, {options.customers:,} customers")
            show(lines)
    return 0


def _passes(root: Path) -> list[Line]:
    """Plan by hand and by winback, in a database that is thrown away afterwards."""
    lines = in_a_process(plan_by_hand, root)
    engine = open_engine(load_project(root, environ={}).settings.database.url)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # what was undone is still in the way there
            connection.exec_driver_sql("TRUNCATE enrollments, messages, message_history CASCADE")
            connection.commit()
    engine.dispose()
    return lines + in_a_process(plan_passes, root)


@contextmanager
def _copy(engine: Engine, options: argparse.Namespace) -> Iterator[str]:
    """Give the URL of a copy of the database, which is gone afterwards."""
    engine.dispose()  # SQLite puts what it has written ahead into the file; PostgreSQL copies only what nobody uses
    if engine.dialect.name == "sqlite":
        with tempfile.TemporaryDirectory(prefix="winback-bench-", dir=options.keep) as folder:
            shutil.copy(str(engine.url.database), f"{folder}/copy.sqlite")
            yield f"sqlite:///{folder}/copy.sqlite"
        return
    name = engine.url.database
    with _administering(options.postgres) as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}_copy WITH (FORCE)")
        connection.exec_driver_sql(f"CREATE DATABASE {name}_copy TEMPLATE {name}")
    try:
        yield _on_server(options.postgres, f"{name}_copy")
    finally:
        _drop(options.postgres, f"{name}_copy")


def _imports(backend: str, folder: Path, options: argparse.Namespace) -> list[Line]:
    """Import the shop's files into a database of its own."""
    people, purchases = folder / "customers.csv", folder / "orders.csv"
    if not people.exists():
        loading.write_csv(people, purchases, options.customers)
    name = f"winback_bench_import_{options.customers}"
    if backend == "sqlite":
        file = folder / f"{name}.sqlite"
        lines = in_a_process(import_files, f"sqlite:///{file}", folder, people, purchases)
        file.unlink()
        return lines
    _drop(options.postgres, name)
    _create(options.postgres, name)
    try:
        return in_a_process(import_files, _on_server(options.postgres, name), folder, people, purchases)
    finally:
        _drop(options.postgres, name)


def _url(engine: Engine) -> str:
    """Return a database's URL as a shop's file names it."""
    return engine.url.set(drivername=engine.dialect.name).render_as_string(hide_password=False)


def _on_server(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@contextmanager
def _database(backend: str, folder: Path, options: argparse.Namespace) -> Iterator[Engine]:
    """Give a database with the shop in it, made unless an earlier run has kept it."""
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{options.keep or folder}/{options.customers}.sqlite"
    if backend == "postgresql":
        url = _on_server(options.postgres, f"winback_bench_{options.customers}")
        _create(options.postgres, f"winback_bench_{options.customers}")
    engine = open_engine(url)
    try:
        migrate(engine)
        with reading(engine) as connection:
            is_filled = connection.scalar(select(customers.c.id).limit(1)) is not None
        if not is_filled:
            begin = time.perf_counter()
            loading.fill(engine, options.customers)
            print(f"{backend}: filled in {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        yield engine
    finally:
        engine.dispose()
        if backend == "postgresql" and options.keep is None:
            _drop(options.postgres, f"winback_bench_{options.customers}")


def _create(server: str, name: str) -> None:
    with _administering(server) as connection:
        known = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        if not known:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")


def _drop(server: str, name: str) -> None:
    with _administering(server) as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def _administering(server: str) -> Iterator[Connection]:
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
