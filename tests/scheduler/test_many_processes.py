"""Eight processes and a `winback run` on one database, SQLite and PostgreSQL: everybody gets one letter, none waits in vain.

With WINBACK_TEST_MESSAGES=20000 there are as many letters as that; the suite contents itself with fewer.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, insert

from tests.nursery import nursery
from tests.scheduler.processes import started
from tests.scheduler.shops import WAKE, make_shop, states, times_sent
from tests.servers.smtp import smtp_server
from winback.store import customers, orders, writing
from winback.store.aggregates import refresh_customers

PROCESSES = 8
MESSAGES = int(os.environ.get("WINBACK_TEST_MESSAGES", "2000"))


def _add_many_sleepers(engine: Engine, now: datetime) -> None:
    long_ago, placed = now - timedelta(days=400), now - timedelta(days=100)
    people = [
        {
            "id": number,
            "external_id": f"C{number:05}",
            "first_name": f"Ada{number}",
            "email": f"c{number:05}@example.com",
            "email_hash": f"{number:032x}",
            "local_zone": "Europe/Berlin",
            "attributes": {},
            "email_marketing": True,
            "created_at": long_ago,
            "updated_at": long_ago,
        }
        for number in range(1, MESSAGES + 1)
    ]
    order = {
        "placed_at": placed,
        "status": "paid",
        "total_minor": 2000,
        "currency": "USD",
        "attributes": {},
        "updated_at": placed,
    }
    with writing(engine) as connection:
        connection.execute(insert(customers), people)
        connection.execute(
            insert(orders), [{"external_id": f"O{each['id']}", "customer_id": each["id"], **order} for each in people]
        )
        refresh_customers(connection, None)


def test_each_message_is_received_once_and_no_database_is_locked(engine: Engine, database_url: str, tmp_path: Path) -> None:
    _add_many_sleepers(engine, datetime.now(UTC))
    with smtp_server() as server, nursery() as children:
        project = make_shop(
            tmp_path / "shop",
            database_url,
            {"wake": WAKE},
            settings={
                "gateways": {
                    "relay": {"type": "smtp", "host": server.host, "port": server.port, "tls": "none", "connections": 2}
                },
                "deliver": {"email": "relay"},
                "web": {"public_url": "https://mail.halfnote.example"},
                "dispatch": {"batch": 50},
            },
        )
        with started(project.root, database_url, "run") as run:
            working = [children.start(project.root, database_url, None, planning=True) for _ in range(PROCESSES)]
            ended = [children.wait(child) for child in working]
            assert run.wait(900) == 0, run.said
        received = Counter(message.recipient for message in server.messages)
    assert [(each.signal, each.errors) for each in ended] == [(0, [])] * PROCESSES
    assert sum(each.sent > 0 for each in ended) > 1
    assert states(engine) == {"sent": MESSAGES}
    assert set(times_sent(engine).values()) == {1}
    assert (len(received), set(received.values())) == (MESSAGES, {1})
