"""winback itself: everything from the claim to the record, and its SMTP engine alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, create_engine, insert, make_url

from benchmarks import letter
from benchmarks.obvious import finished
from winback.dispatch import dispatch
from winback.gateways.base import Accepted, Outgoing
from winback.gateways.smtp import SmtpGateway
from winback.gateways.smtp.options import SmtpOptions
from winback.plan import plan
from winback.project import load_project
from winback.store import customers, open_engine, order_lines, orders, writing
from winback.store.aggregates import refresh_customers
from winback.store.migrate import migrate

_CONFIG = """\
[shop]
name           = "Half Note"
website        = "https://halfnote.example"
postal_address = "Half Note, Berlin"
email_from     = "hello@halfnote.example"
zone           = "Europe/Berlin"
region         = "DE"
currency       = "USD"
locale         = "en-US"

[web]
public_url = "https://mail.halfnote.example"

[deliver]
email = "relay"

[gateways.relay]
type        = "smtp"
host        = "127.0.0.1"
port        = {port}
tls         = "none"
connections = {connections}
"""

_CAMPAIGN = f"""\
title = "Wake sleeping customers"

[audience]
preset   = "sleeping"
inactive = "90d"

[[steps]]
name     = "hello"
channel  = "email"
template = "wake"
subject  = {json.dumps(letter.SUBJECT)}
"""


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """Give the URL of a new database on a PostgreSQL server, gone afterwards; without a server nothing, for a SQLite file."""
    if not server:
        yield ""
        return
    name = f"winback_bench_{uuid4().hex[:12]}"
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


#: Customers written in one transaction.
_CHUNK = 20_000


def prepare(root: Path, port: int, count: int, *, connections: int = 4, database: str = "") -> None:
    """Make a shop with so many customers, and plan a letter to each."""
    write_config(root, port, connections=connections, database=database)
    files = {
        "campaigns/wake.toml": _CAMPAIGN,
        "templates/wake.email.html": letter.HTML,
        "templates/wake.email.txt": letter.TEXT,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    project = load_project(root, environ={})
    engine = open_engine(project.settings.database.url, root=root)
    migrate(engine)
    for start in range(0, count, _CHUNK):
        with writing(engine) as connection:
            _write_people(connection, range(start, min(start + _CHUNK, count)))
    with writing(engine) as connection:
        refresh_customers(connection, None)
    with writing(engine) as connection:
        planned = plan(connection, project, letter.NOW).planned
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")  # as it does by itself a minute after many rows were written
    engine.dispose()
    if planned != count:
        raise RuntimeError(f"{planned} of {count} letters were planned")


def write_config(root: Path, port: int, *, connections: int, database: str = "") -> None:
    """Say where the letters go."""
    root.mkdir(parents=True, exist_ok=True)
    text = _CONFIG.format(port=port, connections=connections)
    text += f"\n[database]\nurl = {json.dumps(database)}\n" if database else ""
    (root / "config.toml").write_text(text, encoding="utf-8")


def _write_people(connection: Connection, numbers: range) -> None:
    people = [letter.customer(number) for number in numbers]
    connection.execute(
        insert(customers),
        [
            {
                **{name: person[name] for name in ("external_id", "first_name", "last_name", "city", "email")},
                "id": number,
                "email_hash": f"{number:032x}",
                "country": "US",
                "locale": "en-US",
                "local_zone": "Europe/Berlin",
                "attributes": {},
                "email_marketing": True,
                "created_at": person["ordered_at"],
                "updated_at": person["ordered_at"],
            }
            for number, person in enumerate(people, numbers.start + 1)
        ],
    )
    connection.execute(
        insert(orders),
        [
            {
                "id": number,
                "external_id": f"O{number}",
                "customer_id": number,
                "placed_at": person["ordered_at"],
                "status": "paid",
                "total_minor": sum(line["price_minor"] * line["quantity"] for line in person["lines"]),
                "currency": "USD",
                "attributes": {},
                "updated_at": person["ordered_at"],
            }
            for number, person in enumerate(people, numbers.start + 1)
        ],
    )
    columns = ("name", "quantity", "price_minor", "category", "url")
    connection.execute(
        insert(order_lines),
        [
            {"order_id": number, "position": place, "product_id": line["url"], **{name: line[name] for name in columns}}
            for number, person in enumerate(people, numbers.start + 1)
            for place, line in enumerate(person["lines"])
        ],
    )


def end_to_end(
    root: str,
    number: int,
    begin: datetime = letter.NOW,
    seconds: float = 3600,
    watch: Callable[[datetime], None] = lambda moment: None,
) -> Callable[[], int]:
    """Everything: claim, rules, letters composed with their links signed and styles inlined, SMTP, ledger.

    It ends after so many seconds at the latest; times of the ledger go on from `begin`. `watch` is told each of them.
    """
    project = load_project(Path(root), environ={})
    engine = open_engine(project.settings.database.url, root=Path(root))
    with engine.connect():
        pass

    def send() -> int:
        started = time.monotonic()

        def now() -> datetime:
            moment = begin + timedelta(seconds=time.monotonic() - started)
            watch(moment)
            return moment

        def late() -> bool:
            return time.monotonic() - started > seconds

        result = dispatch(engine, project, worker=f"bench-{number}", clock=now, stop=late)
        if result.errors or result.failed or result.uncertain:
            raise RuntimeError(f"{result.errors} {result.failed} failed, {result.uncertain} uncertain")
        return result.sent

    return send


def engine_alone(port: int, count: int, connections: int) -> Callable[[], int]:
    """The SMTP engine with finished messages of 20 KB."""
    content = finished(20_480)
    options = SmtpOptions.model_validate({"host": "127.0.0.1", "port": port, "tls": "none", "connections": connections})
    gateway = SmtpGateway(options, name="relay", root=Path())
    messages = [
        Outgoing(str(number), "email", f"person{number}@example.com", "hello@halfnote.example", content)
        for number in range(count)
    ]

    def send() -> int:
        with gateway.connect() as sender:
            outcomes = [outcome for _, outcome in sender.send(messages, lambda message_id: None)]
        return sum(isinstance(outcome, Accepted) for outcome in outcomes)

    return send
