"""Measure audiences, conditions, planning, scores and imports in a large shop, and print one table for each database."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, make_url, select, text

from benchmarks.audience import loading, shop
from benchmarks.audience.contests import Contest
from benchmarks.audience.table import show
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
                project = shop.make(folder / backend, engine.url.set(drivername=backend).render_as_string(hide_password=False))
                contest = Contest(project, engine, options.rounds, options.only)
                lines = [line for lines in (contest.selections, contest.conditions) for line in lines()]
            print(f"\n{backend}, {options.customers:,} customers")
            show(lines)
    return 0


@contextmanager
def _database(backend: str, folder: Path, options: argparse.Namespace) -> Iterator[Engine]:
    """Give a database with the shop in it, made unless an earlier run has kept it."""
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{options.keep or folder}/{options.customers}.sqlite"
    if backend == "postgresql":
        url = make_url(options.postgres).set(database=f"winback_bench_{options.customers}").render_as_string(hide_password=False)
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
