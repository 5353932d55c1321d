"""Say in words why a database cannot be used, and what to do; never its password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from winback.errors import StoreError

#: What the drivers say, and what to do. They give no codes for a connection that was not made.
_REMEDIES = (
    ("not a database", "database.url names a file that is something else; name another one, nothing was changed"),
    ("readonly", "let this user write to the file, to those beside it that end in -wal and -shm, and to its folder"),
    ("read-only", "let this user write to it"),
    ("unable to open", "let this user write to its folder, or name another file in database.url"),
    ("no such table", "a part of it is missing: put it back from a backup"),
    ("no such column", "a part of it is missing: put it back from a backup"),
    ("locked", "another program holds it; close that one, or wait and try again"),
    ("lock timeout", "another session has held a lock for too long: end it, pg_stat_activity lists them"),
    ("full", "make room on the disk"),
    ("disk", "look at the disk: it may be full or broken"),
    ("password", "set the right one in the environment: WINBACK_DATABASE_URL=postgresql://user:password@host/database"),
    ("does not exist", "make it first: createdb NAME, createuser NAME; or correct database.url"),
    ("permission denied", "let this user make tables: GRANT CREATE ON SCHEMA public TO …"),
    ("no such file", "start PostgreSQL there, or correct the host in database.url"),
    ("refused", "start PostgreSQL there, or correct host and port in database.url"),
)


@contextmanager
def answering(engine: Engine) -> Iterator[None]:
    """Turn a database that refuses, goes away, or is no database, into a StoreError that names it without its password."""
    try:
        yield
    except DBAPIError as error:
        if _is_ours(error):
            raise
        raise StoreError(f"{database_name(engine)} cannot be used: {_reason(error)}", _remedy(error)) from error


def failed(error: Exception) -> StoreError | None:
    """Return what to say of an error that a statement met in the middle of a command; None when it is not the database's."""
    if isinstance(error, DBAPIError) and _is_ours(error):
        return StoreError(
            f"the database failed: {_reason(error)}", "winback doctor looks closer; if it finds nothing, report this"
        )
    return refused(error)


def refused(error: Exception) -> StoreError | None:
    """Return what to say of a database that does not do its work: full, locked, gone; None for any other error."""
    if not isinstance(error, DBAPIError) or _is_ours(error):
        return None
    return StoreError(f"the database failed: {_reason(error)}", _remedy(error))


def _is_ours(error: DBAPIError) -> bool:
    """Say whether the database is well and a statement of ours was wrong. 42501: insufficient_privilege (PostgreSQL)."""
    wrong = isinstance(error, IntegrityError | DataError | ProgrammingError)
    return wrong and getattr(error.orig, "sqlstate", None) != "42501"


def database_name(engine: Engine) -> str:
    """Name a database in words. The URL is not shown whole: a password may be in it, also as a parameter."""
    url = engine.url
    if url.get_backend_name() == "sqlite":
        return f"The database {url.database}"
    host = url.host or url.query.get("host") or "this machine"
    place = f"{host}{f':{url.port}' if url.port else ''}"
    return f"The database {url.database or ''} at {place}{f' (as {url.username})' if url.username else ''}"


def _reason(error: DBAPIError) -> str:
    """Return the cause alone: libpq puts it after the address, once for every address it tried, and may add a question."""
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
    failures = [line.rpartition("failed: ")[2] for line in lines if "failed: " in line]
    said = (failures or lines or [type(error.orig).__name__])[-1]
    return re.sub(r"^(?:FATAL|ERROR): +", "", said).rstrip(".")


def _remedy(error: DBAPIError) -> str:
    said = str(error.orig).lower()
    return next((remedy for words, remedy in _REMEDIES if words in said), "see that it runs, and that database.url is right")
