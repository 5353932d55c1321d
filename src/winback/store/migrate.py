"""Bring a database to this program's schema: made when it is empty, upgraded when it is older, refused when it is not ours.

How to change a table, in one commit:

1. change the model (`people`, `commerce`, `ledger_tables`);
2. add `migrations/versions/NNNN_what_changes.py` with the next number as its `revision`, the number before as its
   `down_revision`, and an `upgrade()` written out in full, which takes nothing from the models: they will have moved on when it
   runs. SQLite changes a table's columns only within `op.batch_alter_table`. There is no `downgrade`: steps go forward only;
3. run tests/store/test_migrate.py: it compares a database made by the steps with one made from the models, on both databases.

Until the first release there are no databases to upgrade, and `0001_initial.py` itself is changed instead.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from winback.errors import StoreError
from winback.store.engine import exclusive, reading, writing
from winback.store.refusals import answering, database_name

_FOLDER = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"
_READ_VERSION = text("SELECT version_num FROM alembic_version")
_OWN_DATABASE = "give winback a database of its own, and name it in database.url of config.toml"


def migrate(engine: Engine) -> None:
    """Make the schema in an empty database, or bring an older one up to date; one query when there is nothing to do.

    Safe when several processes start at once: one does it, the others wait. All steps are done or none.
    Raise StoreError when the database does not answer, cannot be written, belongs to something else, or to a newer winback.
    """
    with answering(engine):
        if _version(engine) == newest_version():
            return
        with writing(engine) as connection:
            exclusive(connection)
            if not _is_current(connection):
                _upgrade(connection)


@lru_cache(maxsize=1)
def newest_version() -> str:
    """Return the number of the newest migration, such as `0001`, from the names of the files: Alembic takes long to import."""
    return max(_known_versions())


def _known_versions() -> list[str]:
    return [path.name[:4] for path in (_FOLDER / "versions").glob("[0-9][0-9][0-9][0-9]_*.py")]


def _version(engine: Engine) -> str | None:
    """Return the database's version, None for a database that has none yet."""
    try:
        with reading(engine) as connection:
            version: str | None = connection.scalar(_READ_VERSION)
            return version
    except DBAPIError as error:
        if _lacks_table(error):
            return None
        raise


def _lacks_table(error: DBAPIError) -> bool:
    # 42P01: undefined_table (PostgreSQL, appendix A); SQLite has words only.
    return getattr(error.orig, "sqlstate", None) == "42P01" or str(error.orig).startswith("no such table")


def _is_current(connection: Connection) -> bool:
    """Look again, now that nobody else can change it. Raise StoreError for a database that is not ours to change."""
    tables = set(inspect(connection).get_table_names())
    version = None
    if _VERSION_TABLE in tables:
        version = connection.scalar(_READ_VERSION)
    if version is None:
        foreign = sorted(tables - {_VERSION_TABLE})
        if foreign:
            more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
            raise StoreError(
                f"{database_name(connection.engine)} has tables that winback did not make: {', '.join(foreign[:3])}{more}",
                _OWN_DATABASE,
            )
        return False
    if version in _known_versions():
        return bool(version == newest_version())
    if re.fullmatch(r"\d{4}", version) and version > newest_version():
        raise StoreError(
            f"{database_name(connection.engine)} is of a newer winback: its schema is {version}, known is {newest_version()}",
            "install the winback that wrote it, or a newer one; nothing was changed",
        )
    raise StoreError(
        f"{database_name(connection.engine)} belongs to another program that keeps its schema with Alembic", _OWN_DATABASE
    )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
