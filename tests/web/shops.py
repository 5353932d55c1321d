"""A small shop with hostile names: files, people, orders, one pass that sends through the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, insert

from winback.addresses import hash_address
from winback.project import load_project
from winback.scheduler import run_pass
from winback.store import customers, order_lines, orders, writing
from winback.store.aggregates import refresh_customers

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)

SCRIPT = "<script>document.title='broken'</script>"

FILES = {
    "campaigns/thanks.toml": f"""
        title = "Thanks {SCRIPT}"
        goal = "A second order {SCRIPT}"
        purpose = "service"
        priority = 10
        [audience]
        preset = "after_order"
        after = "placed"
        delay = "1d"
        [measure]
        conversion = "order"
        window = "30d"
        [[steps]]
        name = "hello"
        channel = "email"
        template = "thanks/hello"
        subject = "Thank you, {{{{ customer.first_name | default('friend', true) }}}}"
        preheader = "Your order is on its way"
        [[steps]]
        name = "check"
        after = "5d"
        channel = "sms"
        template = "thanks/check"
        """,
    "campaigns/wake.toml": """
        title = "Wake sleeping customers"
        goal = "An order within 30 days"
        purpose = "marketing"
        priority = 40
        variants = { b = "50%" }
        [audience]
        preset = "sleeping"
        inactive = "90d..365d"
        [limits]
        cooldown = "120d"
        [measure]
        holdout = "10%"
        conversion = "order"
        window = "30d"
        [exit]
        when = "ordered"
        [[steps]]
        name = "news"
        channel = "email"
        template = "wake/news"
        subject = "Here is what is new"
        fallback = { channel = "sms", on = ["no_address"], template = "wake/news" }
        variants = { b = { subject = "We kept something for you" } }
        """,
    "templates/thanks/hello.email.html": """
        <!doctype html><html lang="en"><head><title>x</title><style>p { color: #123456 }</style></head><body>
        <p>Thank you, {{ customer.first_name | default("friend", true) }}.</p>
        <p><a href="https://halfnote.example/care" data-link="care">How to care for records</a></p>
        <img src="https://halfnote.example/logo.png" alt="Logo" width="40" height="40">
        <p><a href="{{ unsubscribe_url }}">No more letters</a></p></body></html>
        """,
    "templates/thanks/check.sms.txt": "Did everything arrive? Half Note, +49 30 1234567",
    "templates/wake/news.email.html": """
        <!doctype html><html lang="en"><head><title>x</title></head><body><p>News for {{ customer.first_name }}.</p>
        <p><a href="https://halfnote.example/new">See it</a></p>
        <p><a href="{{ unsubscribe_url }}">No more letters</a></p></body></html>
        """,
    "templates/wake/news.sms.txt": "News at Half Note: halfnote.example. STOP ends these.",
}


def write_shop(root: Path, web: Mapping[str, str] | None = None) -> Path:
    """Write the shop's files into a folder; `web` are lines of `[web]`, as TOML."""
    lines = "\n".join(f"{key} = {value}" for key, value in (web or {}).items())
    config = f"""
        [shop]
        name = "Half Note {SCRIPT}"
        zone = "Europe/Berlin"
        region = "DE"
        currency = "USD"
        email_from = "hello@halfnote.example"
        postal_address = "Torstr. 1, 10119 Berlin"
        [web]
        {lines}
        """
    for name, text in {"config.toml": config, **FILES}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n", encoding="utf-8")
    return root


def fill_shop(engine: Engine, root: Path, now: datetime = NOW) -> None:
    """Put people and orders into the database, and run two passes an hour apart that write to some of them."""
    project = load_project(root)
    key = project.key("address")
    people = [
        ("C1", SCRIPT, "Müller", "c1@example.com", "+4915112345678", 1),
        ("C2", "Ada", "Lovelace", "c2@example.com", None, 2),
        ("C3", "Боб", None, None, "+4915112345679", 100),
        ("C4/5 ü", "Grace", "Hopper", "grace@example.com", None, 200),
        ("C6", None, None, None, None, 120),
        *((f"D{number}", f"Dora{number}", "Doe", f"d{number}@example.com", None, 100 + number) for number in range(20)),
    ]
    with writing(engine) as connection:
        for number, (external_id, first, last, email, phone, ago) in enumerate(people, 1):
            connection.execute(
                insert(customers).values(
                    id=number,
                    external_id=external_id,
                    first_name=first,
                    last_name=last,
                    email=email,
                    phone=phone,
                    email_hash=email and hash_address(email, key),
                    phone_hash=phone and hash_address(phone, key),
                    country="DE",
                    city="Berlin",
                    local_zone="Europe/Berlin",
                    attributes={"note": SCRIPT},
                    email_marketing=True,
                    sms_marketing=True,
                    created_at=now,
                    updated_at=now,
                )
            )
            placed = now - timedelta(days=ago, hours=1)
            order = {"id": number, "external_id": f"O{number}", "customer_id": number, "placed_at": placed, "status": "paid"}
            connection.execute(insert(orders).values(**order, total_minor=2999, currency="USD", attributes={}, updated_at=now))
            connection.execute(
                insert(order_lines).values(
                    order_id=number, position=1, product_id="P1", name=f"Blue {SCRIPT}", quantity=2, price_minor=1499
                )
            )
        refresh_customers(connection, None)
    # The first pass makes the campaigns live; what comes in goes out when its time has come.
    run_pass(engine, project, now - timedelta(days=2), "test")
    run_pass(engine, project, now - timedelta(days=1), "test")
    run_pass(engine, project, now - timedelta(hours=1), "test")
    run_pass(engine, project, now, "test")
