"""Can what is done be written down? While it cannot, nothing is planned or sent, and this says why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, false, text, update

from winback.errors import StoreError
from winback.project import Project
from winback.store import installation, open_engine
from winback.store.refusals import answering

#: Free bytes without which the journal of a batch, and the ledger's next pages, have no place.
_ENOUGH = 5_000_000


@dataclass(frozen=True)
class Hindrance:
    """Why nothing can be written, and what to do. Somebody else's transaction makes it only `busy`, most often for a moment."""

    message: str
    remedy: str
    busy: bool = False


def hindrance(connection: Connection, project: Project) -> Hindrance | None:
    """Say why nothing can be written at present, None when it can; nothing is written to find out."""
    return _full(connection, project) or _refused(connection)


def nearest(folder: Path) -> Path:
    """Return a folder, or what is there of the way to it."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _full(connection: Connection, project: Project) -> Hindrance | None:
    for folder in _folders(connection, project):
        free = shutil.disk_usage(nearest(folder)).free
        if free < _ENOUGH:
            what = f"the disk is full: {free / 1e6:.1f} MB are free in {folder}; nothing is planned or sent"
            return Hindrance(what, "make room; what waits goes by itself then")
    return None


def _folders(connection: Connection, project: Project) -> Iterator[Path]:
    yield project.var
    file = connection.engine.url.database
    if connection.dialect.name == "sqlite" and file:
        yield Path(file).parent


def _refused(connection: Connection) -> Hindrance | None:
    """Begin a transaction as a pass does."""
    engine, on_sqlite = connection.engine, connection.dialect.name == "sqlite"
    if on_sqlite:
        if connection.get_execution_options().get("sqlite_begin") != "DEFERRED":
            return None  # who asks is writing
        engine = open_engine(engine.url.update_query_dict({"timeout": "0"}).render_as_string())
    try:
        with answering(engine), engine.connect() as own:
            if not on_sqlite:
                own.execute(text("SET LOCAL lock_timeout = '1s'"))
            own.execute(update(installation).where(false()).values(value=""))
            own.rollback()
    except StoreError as error:
        return Hindrance(f"{error.message}; nothing is planned or sent", error.remedy, busy="lock" in error.message)
    finally:
        if on_sqlite:
            engine.dispose()
    return None
