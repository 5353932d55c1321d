"""Write a made-up shop straight into the tables, as fast as the database takes it, or into CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Index, Table

from benchmarks.audience import world
from winback.store import metadata, writing
from winback.store.aggregates import refresh_customers

_MICROSECONDS = 1_000_000
_DAY = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: A day's moments as PostgreSQL reads them; to format each one anew would take as long as all the rest.
_CLOCK = [f" {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}+00" for second in range(_DAY)]


def fill(engine: Engine, count: int) -> None:
    """Write a shop of so many customers into an empty database, with what is kept of orders, and tell it how its tables look."""
    sqlite = engine.dialect.name == "sqlite"
    with writing(engine) as connection, _without_indexes(connection):
        for chunk in world.chunks(count):
            for name, columns in world.TABLES.items():
                (_insert if sqlite else _copy)(connection, name, columns, getattr(chunk, name))
    with writing(engine) as connection:
        refresh_customers(connection, None)
    tidy(engine)


def tidy(engine: Engine) -> None:
    """Let PostgreSQL count the rows, as a server that runs for a day has done by itself; nobody does so on SQLite."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"VACUUM (ANALYZE) {', '.join(world.TABLES)}")


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Fill tables without the indexes that are no constraints: those are made in one go afterwards. PostgreSQL checks no keys."""
    indexes: list[Index] = [index for name in world.TABLES for index in _table(name).indexes]
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
    else:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    for index in indexes:
        index.drop(connection)
    yield
    for index in indexes:
        index.create(connection)
    if connection.dialect.name == "postgresql":
        for name in world.TABLES:
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}")


def _table(name: str) -> Table:
    return metadata.tables[name]


def _insert(connection: Connection, name: str, columns: Sequence[str], rows: world.Rows) -> None:
    places = [place for place, column in enumerate(columns) if column in world.MOMENTS]
    marks = ", ".join(f"?{place + 1} * {_MICROSECONDS}" if place in places else f"?{place + 1}" for place in range(len(columns)))
    statement = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})"
    _driver(connection).executemany(statement, rows)


def _copy(connection: Connection, name: str, columns: Sequence[str], rows: world.Rows) -> None:
    writers = [_moment if column in world.MOMENTS else _text for column in columns]
    lines = ["\t".join([write(value) for write, value in zip(writers, row, strict=True)]) for row in rows]
    with _driver(connection).cursor() as cursor, cursor.copy(f"COPY {name} ({', '.join(columns)}) FROM STDIN") as copy:
        copy.write("\n".join(lines) + "\n" if lines else "")


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _text(value: object) -> str:
    return "\\N" if value is None else str(value)


_DATES: dict[int, str] = {}


def _moment(value: Any) -> str:
    if value is None:
        return "\\N"
    day, second = divmod(value, _DAY)
    if day not in _DATES:
        _DATES[day] = (_EPOCH + timedelta(days=day)).date().isoformat()
    return f"{_DATES[day]}{_CLOCK[second]}"


#: Columns of customers that are exported as they are.
_EXPORTED = ("external_id", "email", "phone", "first_name", "last_name", "locale", "country", "city")


def write_csv(people: Path, purchases: Path, count: int) -> None:
    """Write the shop's customers and orders as a shop system exports them."""
    with people.open("w", encoding="utf-8", newline="") as first, purchases.open("w", encoding="utf-8", newline="") as second:
        customers, orders = csv.writer(first), csv.writer(second)
        customers.writerow(("customer_id", *_EXPORTED[1:], "birthday", "email_marketing"))
        orders.writerow(("order_id", "customer_id", "placed_at", "status", "total", "currency"))
        for chunk in world.chunks(count):
            customers.writerows(_exported(chunk.customers))
            orders.writerows(_purchases(chunk.orders))


def _exported(rows: world.Rows) -> Iterable[tuple[object, ...]]:
    column = {name: place for place, name in enumerate(world.CUSTOMER)}
    taken = [column[name] for name in _EXPORTED]
    answers = {True: "yes", False: "no", None: ""}
    for row in rows:
        year, month, day = (row[column[name]] for name in ("birth_year", "birth_month", "birth_day"))
        birthday = "" if month is None else f"{year}-{month:02}-{day:02}" if year else f"--{month:02}-{day:02}"
        yield (*(row[place] for place in taken), birthday, answers[row[column["email_marketing"]]])  # type: ignore[index]


def _purchases(rows: world.Rows) -> Iterable[tuple[object, ...]]:
    for _, number, customer, at, status, total, currency, *_ in rows:
        yield number, f"C{customer:08}", _moment(at), status, f"{total / 100:.2f}", currency  # type: ignore[operator]
