"""Open the database: one SQLite file by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from winback.errors import StoreError

#: How long a writer waits for another one on SQLite, in seconds; a URL can say otherwise (`?timeout=5`).
BUSY_TIMEOUT = 60

#: Statements that a connection to SQLite keeps compiled: more than the passes of a shop ask. The driver's own number is 128.
STATEMENTS = 500

#: How often, and how long apart in seconds, the switch of a new SQLite file to its write-ahead log is tried.
_WAL_ATTEMPTS = 200
_WAL_PAUSE = 0.02

#: How PostgreSQL is called, in libpq's words; a URL can say otherwise (`?connect_timeout=30`). A server may take ten seconds to
#: answer a call. When its machine is gone without a word, a line in use is given up after a minute, and not after two hours.
_CALLING = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

#: What holds in every session. Compiling our statements takes the server longer than running them: 1.7 of 3.4 s of an import's
#: aggregates. What a pass works with has as much memory as on SQLite, and not the 8 MB that PostgreSQL comes with: a tenth
#: of its processor time; who makes no tables of their own takes nothing of it. Nobody waits for a lock for ever, nor keeps one
#: while asleep in a transaction, on a machine that was suspended.
_SESSION = {
    "timezone": "UTC",
    "jit": "off",
    "temp_buffers": "32MB",
    "lock_timeout": "10min",
    "idle_in_transaction_session_timeout": "10min",
}

#: Key of the PostgreSQL advisory lock that `exclusive` takes ("winback" in digits on a phone's keypad).
_ADVISORY_KEY = 9462225


def open_engine(url: str, *, root: Path | None = None) -> Engine:
    """Return an engine for a database URL; a relative SQLite path is taken from `root`.

    Nothing is asked of the database yet. Raise StoreError for a URL of neither kind, and for a file whose folder cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("database.url is not a database URL", "use sqlite:///var/winback.sqlite or postgresql://…") from error
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            path = (root or Path()) / parsed.database
            _make_folder(path.parent)
            parsed = parsed.set(database=str(path))
        engine = create_engine(
            parsed,
            hide_parameters=True,  # they are people's names and addresses; errors end in logs
            connect_args={"check_same_thread": False, "cached_statements": STATEMENTS}
            | ({} if "timeout" in parsed.query else {"timeout": BUSY_TIMEOUT}),
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "handle_error", _open_anew)
        return engine
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed)
    raise StoreError(f"database.url names {parsed.get_backend_name()}", "use sqlite:///var/winback.sqlite or postgresql://…")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the database's folder {folder} cannot be made: {error.strerror}", "make it, or name another one in database.url"
        ) from error


def _postgresql(url: URL) -> Engine:
    calling = {name: value for name, value in _CALLING.items() if name not in url.query}
    session = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"options": session, **calling},
        )
    except ModuleNotFoundError as error:
        raise StoreError("PostgreSQL needs a part that is not installed", "pip install 'winback[postgres]'") from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling begins late and commits around DDL; we begin ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # a claim must survive a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -32768")
    # A file that has no name: SQLite makes it when 8 MB are full. In memory, a pass would take more with each customer.
    cursor.execute("PRAGMA temp_store = FILE")
    cursor.execute("PRAGMA temp.cache_size = -8192")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    # The switch to WAL, once in a file's life, needs the file alone, and SQLite does not wait for it as it does for a
    # transaction: of several processes that open a new file at once, all but one get "database is locked" at once.
    for attempt in range(_WAL_ATTEMPTS):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == _WAL_ATTEMPTS - 1:
                raise
            sleep(_WAL_PAUSE)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that may write waits its turn at the start instead of failing in the middle.
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _open_anew(context: ExceptionContext) -> None:
    # A file that could not be written when it was opened stays read-only to that connection, whatever is done about it.
    if "readonly" in str(context.original_exception):
        context.is_disconnect = True


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection for reading that never blocks, nor waits for, a writer."""
    with engine.connect().execution_options(sqlite_begin="DEFERRED") as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection in one transaction: committed at the end, rolled back on an error."""
    with engine.begin() as connection:
        yield connection


def exclusive(connection: Connection) -> None:
    """Make this transaction the only planner or importer; SQLite's IMMEDIATE transactions are that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
