"""The whole way: a letter goes out, comes back, no campaign writes to its address, until a person says that it is good."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select
from typer.testing import CliRunner

from tests.scheduler.shops import WAKE, add_sleepers, in_outbox, make_shop, rows, states
from tests.servers.imap import imap_server
from winback.addresses import hash_address
from winback.cli import app
from winback.project import Project, load_project
from winback.scheduler import HealthItem, health, run_pass
from winback.scheduler.doctor import examine
from winback.store import receipts, suppressions, writing

SHOP = {"limits": {"email": []}, "bounces": {"maildir": "bounces"}}

LATER = timedelta(minutes=5)


@pytest.fixture
def project(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> Project:
    """Give a shop whose mails that come back land in bounces/, and a sleeper, Ada."""
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings=SHOP)
    for name in ("new", "cur", "tmp"):
        (project.root / "bounces" / name).mkdir(parents=True)
    add_sleepers(engine, 1, now, email="ada@example.com", email_hash=hash_address("ada@example.com", project.key("address")))
    return project


def comes_back(project: Project) -> None:
    """Put the bounce of the one letter in the outbox into the Maildir, as Postfix writes it: the letter's own headers in it."""
    [letter] = (project.root / "var" / "outbox").glob("*/*.eml")
    head = letter.read_bytes().partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    bounce = b"""Return-Path: <>
From: MAILER-DAEMON@mx.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

<ada@example.com>: host mx.example.com[192.0.2.5] said: 550 5.1.1 User unknown (in reply to RCPT TO command)

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ada@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--b
Content-Type: text/rfc822-headers

%s

--b--
"""
    (project.root / "bounces" / "new" / "1").write_bytes(bounce % head)


def with_another_campaign(project: Project, database_url: str) -> Project:
    project = make_shop(project.root, database_url, {"wake": WAKE, "again": {**WAKE, "title": "Again"}}, settings=SHOP)
    return load_project(project.root, environ={"WINBACK_DATABASE_URL": database_url})


def test_a_letter_that_comes_back_is_the_last_to_that_address_until_somebody_says_so(
    engine: Engine, database_url: str, project: Project, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_pass(engine, project, now, "test").sent == 1
    comes_back(project)
    outcome = run_pass(engine, project, now + LATER, "test")
    assert outcome.errors == []
    assert rows(engine, "external_id", "state", "reason") == [("S0000", "bounced", "hard_bounce")]

    project = with_another_campaign(project, database_url)
    outcome = run_pass(engine, project, now + 2 * LATER, "test")
    assert (outcome.planned, outcome.sent) == (0, 0)
    assert outcome.plan is not None
    [again] = [each for each in outcome.plan.campaigns if each.campaign == "again"]
    assert again.turned_away == {"suppressed": 1}

    monkeypatch.setenv("WINBACK_DATABASE_URL", database_url)
    done = CliRunner().invoke(app, ["customer", "unblock", "ada@example.com", "--by", "Clara", "--shop", str(project.root)])
    assert done.exit_code == 0, done.output
    since = "The e-mail address of S0000 is written to again; it was blocked since 2026-11-24 11:05 (hard_bounce)."
    assert since in done.stdout
    assert run_pass(engine, project, now + 3 * LATER, "test").sent == 1
    assert in_outbox(project.root) == {"ada@example.com": 2}
    exported = CliRunner().invoke(app, ["customer", "export", "S0000", "--shop", str(project.root)]).stdout
    assert '"by": "staff Clara"' in exported


def test_a_bounce_in_the_mailbox_stops_what_is_planned_for_the_same_pass(
    engine: Engine, database_url: str, project: Project, now: datetime
) -> None:
    run_pass(engine, project, now, "test")
    comes_back(project)
    project = with_another_campaign(project, database_url)
    assert run_pass(engine, project, now + LATER, "test").sent == 0
    assert states(engine) == {"bounced": 1}


# Trouble


def _items(engine: Engine, project: Project, now: datetime) -> list[HealthItem]:
    with engine.connect() as connection:
        return [item for item in health(connection, project, now) if item.name in ("mailbox", "blocked", "pass")]


def test_a_mailbox_that_cannot_be_read_is_named_and_the_letters_go(engine: Engine, project: Project, now: datetime) -> None:
    (project.root / "bounces" / "new").rmdir()
    outcome = run_pass(engine, project, now, "test")
    [error] = outcome.errors
    assert error.startswith(f"mailbox: {project.root}/bounces is no Maildir")
    assert outcome.sent == 1
    assert [item.name for item in _items(engine, project, now)] == ["mailbox"], "it is said once"
    # It is said as long as it lasts, also after passes that did not try.
    assert run_pass(engine, project, now + timedelta(minutes=1), "test").errors == []
    for minutes in (0, 1, 60):
        [item] = _items(engine, project, now + timedelta(minutes=minutes))
        assert (item.name, item.ok) == ("mailbox", False)
        assert item.message.startswith("letters that come back are not noticed since 11:00: ")
        assert "mkdir -p" in item.remedy
    (project.root / "bounces" / "new").mkdir()
    run_pass(engine, project, now + timedelta(hours=1), "test")
    [item] = _items(engine, project, now + timedelta(hours=1))
    assert (item.name, item.ok, item.message) == ("mailbox", True, f"the Maildir {project.root}/bounces was read at 12:00")


def test_health_says_nothing_of_mailboxes_where_there_is_none(
    engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    run_pass(engine, project, now, "test")
    assert _items(engine, project, now) == []


@pytest.mark.parametrize(
    ("causes", "days", "told"),
    [(["us"] * 5, 1, True), (["us"] * 4 + ["address"] * 9, 1, False), (["us"] * 9, 4, False)],
    ids=["five", "four", "long ago"],
)
def test_being_turned_away_by_others_is_told(
    engine: Engine, project: Project, now: datetime, causes: list[str], days: int, told: bool
) -> None:
    with writing(engine) as connection:
        for number, cause in enumerate(causes):
            row: dict[str, Any] = {"gateway": "mailbox", "provider_id": f"{number}", "kind": "bounced"}
            connection.execute(insert(receipts).values(**row, at=now - timedelta(days=days), raw={"cause": cause}))
    found = [item for item in _items(engine, project, now) if item.name == "blocked"]
    assert [item.message.partition(" letters")[0] for item in found] == (["5"] if told else [])
    assert all(not item.ok and "docs/bounces.md" in item.remedy for item in found)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_doctor_tries_the_mailbox_and_changes_nothing(project: Project, now: datetime) -> None:
    (project.root / "imap.password").write_text("secret")
    with imap_server(users={"bounces": "secret"}) as server:
        settings = f'maildir = "bounces"\nimap = {{ host = "127.0.0.1", port = {server.port}, tls = "none", user = "bounces"'
        config = project.root / "config.toml"
        table = f'{settings}, password = {{ file = "imap.password" }} }}\n'
        config.write_text(f'shop = {{ name = "Half Note" }}\n[bounces]\n{table}')
        items = [item for item in examine(project.root, now) if item.name == "mailbox"]
        assert [item.ok for item in items] == [True, True], items
        assert server.asked("SELECT") == []
        (project.root / "imap.password").write_text("wrong")
        [item] = [item for item in examine(project.root, now) if item.name == "mailbox" and not item.ok]
        assert "does not accept the name or the password" in item.message


def test_the_list_of_blocked_addresses_knows_where_it_came_from(engine: Engine, project: Project, now: datetime) -> None:
    run_pass(engine, project, now, "test")
    comes_back(project)
    run_pass(engine, project, now + LATER, "test")
    with engine.connect() as connection:
        [row] = connection.execute(select(suppressions)).all()
    assert (row.channel, row.reason, row.source) == ("email", "hard_bounce", "gateway mailbox")
