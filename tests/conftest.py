"""Fixtures every area shares: both databases, and a shop's files made from a dict."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import Connection, Engine, create_engine, delete, exists, make_url, select, text

from tests.servers.postgres import postgres
from winback.store import metadata, open_engine
from winback.store.migrate import migrate

#: Set to a server's URL to use that one; else the tests start PostgreSQL themselves.
POSTGRES_VARIABLE = "WINBACK_TEST_POSTGRES"


# How long an example takes says more of what else the machine does than of our code.
settings.register_profile("winback", deadline=None)
settings.load_profile("winback")


@pytest.fixture
def now() -> datetime:
    """Give the moment at which tests take place, a Tuesday morning."""
    return datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Give the URL of a PostgreSQL server, started here unless the environment names one."""
    given = os.environ.get(POSTGRES_VARIABLE)
    if given:
        yield given
        return
    with postgres() as server:
        yield server.get_uri()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str, worker_id: str) -> Iterator[str]:
    """Give the URL of a database of this test process's own."""
    name = f"winback_{worker_id}_{os.getpid()}"
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    yield server.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture(scope="session")
def _postgres_schema(postgres_url: str) -> Iterator[Engine]:
    engine = open_engine(postgres_url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def sqlite_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite file that has the schema; copy it before changing anything."""
    path = tmp_path_factory.mktemp("schema") / "winback.sqlite"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()  # closing the last connection puts the write-ahead log into the file
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Name the database of this run of the test."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty database that has the schema; the test runs once on SQLite and once on PostgreSQL."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_schema"), tmp_path / "winback.sqlite")
        yield f"sqlite:///{tmp_path}/winback.sqlite"
        return
    url = request.getfixturevalue("postgres_url")
    engine = request.getfixturevalue("_postgres_schema")
    yield url
    with engine.begin() as connection:
        _empty(connection)


def _empty(connection: Connection) -> None:
    """Delete every row and begin ids anew; of few rows this is many times as fast as TRUNCATE, which makes new files."""
    tables = metadata.sorted_tables
    filled = connection.execute(select(*(exists(select(table)).label(table.name) for table in tables))).one()
    for table in reversed(tables):
        if getattr(filled, table.name):
            connection.execute(delete(table))
    connection.execute(text("SELECT setval(seqrelid, 1, false) FROM pg_sequence"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Give an engine on an empty database with the schema, on SQLite and on PostgreSQL."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def filled_shop(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Give the folder of a demo shop as `winback demo` leaves it; copy it before changing anything.

    Made once, whatever the number of test processes.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    shop = shared / "filled-shop"
    with (shared / "filled-shop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shop / ".filled").exists():
            winback = Path(sys.executable).parent / "winback"
            done = subprocess.run([winback, "demo", str(shop)], capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
            (shop / ".filled").touch()
    return shop
