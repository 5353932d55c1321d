"""Temporary tables that hold a file's rows until all of them are read; only then is the database itself touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Connection, Integer, MetaData, String, Table, delete, false, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateTable

from winback.store import Id, UtcDateTime

_BATCH = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: Of their own, apart from the database's schema.
_metadata = MetaData()
#: None is no value here, not the JSON value null: rows are read and written back where ids repeat.
_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_Line = BigInteger().with_variant(Integer(), "sqlite")


def _staged(name: str, *columns: Column[Any]) -> Table:
    key = Column("line", _Line, primary_key=True, autoincrement=False)
    return Table(name, _metadata, key, *columns, prefixes=["TEMPORARY"])


def _found() -> tuple[Column[Any], ...]:
    # Filled in by the merge: the row of the database that a staged row is about, and its customer's.
    return Column("target_id", Id), Column("customer_id", Id)


def _customer() -> tuple[Column[Any], ...]:
    return Column("customer", String), Column("email", String), Column("email_hash", String)


#: `cleared` lists columns to be emptied as `,phone,city,`; `raw` is the row itself, kept only where it may yet be rejected;
#: `weight` is how many rows of the file went into this one.
staged_customers = _staged(
    "staged_customers",
    Column("external_id", String),
    *(Column(name, String) for name in ("email", "phone", "email_hash", "phone_hash", "first_name", "last_name", "locale")),
    *(Column(name, String) for name in ("country", "city", "zone", "phone_zone")),
    *(Column(name, Integer) for name in ("birth_year", "birth_month", "birth_day")),
    Column("attributes", _Json),
    Column("cleared", String),
    Column("weight", Integer, server_default="1"),
    Column("target_id", Id),
)

staged_consents = Table(
    "staged_consents", _metadata,
    Column("number", _Line, primary_key=True, autoincrement=False),
    Column("line", _Line),  # of the customer's row
    Column("channel", String),
    Column("purpose", String),
    Column("granted", Boolean),
    Column("at", UtcDateTime),  # empty: the file does not say when
    Column("source", String),
    Column("wording", String),
    prefixes=["TEMPORARY"],
)  # fmt: skip

staged_orders = _staged(
    "staged_orders",
    Column("external_id", String),
    *_customer(),
    Column("placed_at", UtcDateTime),
    Column("status", String),
    Column("total_minor", Id),
    Column("currency", String),
    Column("delivered_at", UtcDateTime),
    Column("voided_at", UtcDateTime),
    Column("attributes", _Json),
    Column("cleared", String),
    Column("has_lines", Boolean, server_default=false()),
    Column("raw", String),
    Column("weight", Integer, server_default="1"),
    *_found(),
)

staged_lines = Table(
    "staged_lines", _metadata,
    Column("line", _Line),  # of the staged order
    Column("position", Integer),
    *(Column(name, String) for name in ("product_id", "name", "category")),
    Column("quantity", Integer),
    Column("price_minor", Id),
    Column("url", String),
    prefixes=["TEMPORARY"],
)  # fmt: skip

staged_events = _staged(
    "staged_events",
    Column("external_id", String),
    *_customer(),
    Column("name", String),
    Column("at", UtcDateTime),
    Column("properties", _Json),
    Column("weight", Integer, server_default="1"),
    *_found(),
)

#: Rows of the database that the merge changes, and customers whose orders it touched.
changed = Table("import_changed", _metadata, Column("id", Id, primary_key=True, autoincrement=False), prefixes=["TEMPORARY"])
touched = Table("import_touched", _metadata, Column("id", Id, primary_key=True, autoincrement=False), prefixes=["TEMPORARY"])


def prepare(connection: Connection, tables: Sequence[Table]) -> None:
    """Make the temporary tables of this connection, empty; a connection from the pool may still have them."""
    for table in (*tables, changed, touched):
        connection.execute(CreateTable(table, if_not_exists=True))
        connection.execute(delete(table))


def index(connection: Connection, table: Table, *columns: str) -> None:
    """Index a loaded staging table (that is cheaper than loading an indexed one), and let PostgreSQL see how large it is."""
    connection.execute(text(f"CREATE INDEX IF NOT EXISTS ix_{table.name} ON {table.name} ({', '.join(columns)})"))
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"ANALYZE {table.name}"))


def discard(connection: Connection, tables: Sequence[Table]) -> None:
    """Drop the temporary tables: what they hold is personal, and takes room."""
    for table in (*tables, changed, touched):
        connection.execute(text(f"DROP TABLE IF EXISTS {table.name}"))


def binder(connection: Connection) -> Callable[[datetime], Any]:
    """Return what makes of a moment the value that the driver takes for a UtcDateTime column."""
    if connection.dialect.name == "postgresql":
        return lambda moment: moment
    return lambda moment: (moment - _EPOCH) // _MICROSECOND


class Loader:
    """Write rows into a staging table, by COPY on PostgreSQL and in batches on SQLite. Values go to the driver as they are."""

    def __init__(self, connection: Connection, table: Table, columns: Sequence[str]) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        names = ", ".join(columns)
        if connection.dialect.name == "postgresql":
            self._statement = f"COPY {table.name} ({names}) FROM STDIN"
        else:
            marks = ", ".join("?" for _ in columns)
            self._statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 - names of our own tables

    def add(self, row: tuple[Any, ...]) -> None:
        """Take one row."""
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self.flush()

    def extend(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take many rows at once."""
        self._rows.extend(rows)
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what was taken."""
        if not self._rows:
            return
        if self._connection.dialect.name == "postgresql":
            driver: Any = self._connection.connection.dbapi_connection
            with driver.cursor() as cursor, cursor.copy(self._statement) as copy:
                for row in self._rows:
                    copy.write_row(row)
        else:
            self._connection.exec_driver_sql(self._statement, self._rows)
        self._rows.clear()
