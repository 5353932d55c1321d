"""`winback customer unblock` takes back what blocks an address, says so, and keeps who did it."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.project.builder import write_shop
from tests.store.person import add_person
from winback.addresses import hash_address
from winback.cli import app
from winback.errors import InputError
from winback.project import load_project
from winback.store import consents, customers, open_engine, reading, suppressions, writing
from winback.store.consent import suppress, unblocked
from winback.store.migrate import migrate

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a shop with a customer, anna-1, both of whose addresses are blocked."""
    folder = write_shop(tmp_path / "shop", settings={"shop": {"zone": "Europe/Berlin", "region": "DE"}})
    engine = open_engine("sqlite:///var/winback.sqlite", root=folder)
    migrate(engine)
    key = load_project(folder).key("address")
    with writing(engine) as connection:
        add_person(connection, NOW, key)
        connection.execute(suppressions.delete())
        suppress(connection, "email", hash_address("anna-1@example.com", key), "complaint", NOW, "gateway mailbox")
        suppress(connection, "sms", hash_address("+4930901820", key), "soft_bounces", NOW - timedelta(days=3), "gateway sms")
    engine.dispose()
    return folder


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["customer", "unblock", *arguments, "--shop", str(root)])


def test_both_addresses_are_taken_off_the_list_and_named(root: Path) -> None:
    done = run(root, "anna-1", "--by", "Clara")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "The e-mail address of anna-1 is written to again; it was blocked since 2026-11-24 11:00 (complaint).",
        "  Marketing stays off until the person agrees to it anew: a complaint is a no.",
        "The phone number of anna-1 is written to again; it was blocked since 2026-11-21 11:00 (soft_bounces).",
    ]
    again = run(root, "anna-1", "--by", "Dora")
    assert (again.exit_code, again.stdout) == (0, "No address of anna-1 is blocked.\n")


def test_one_channel_leaves_the_other_blocked(root: Path) -> None:
    done = run(root, "anna-1@example.com", "--channel", "sms", "-o", "json")
    [row] = json.loads(done.stdout)
    assert (row["customer"], row["channel"], row["reason"], row["source"]) == ("anna-1", "sms", "soft_bounces", "gateway sms")
    [row] = csv.DictReader(io.StringIO(run(root, "anna-1", "-o", "csv").stdout))
    assert (row["channel"], row["blocked_at"]) == ("email", "2026-11-24T10:00:00+00:00")


def test_who_is_logged_in_is_kept_unless_somebody_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "dora")
    run(root, "anna-1", "--channel", "email")
    run(root, "anna-1", "--channel", "sms", "--by", "Clara, on the phone")
    engine = open_engine("sqlite:///var/winback.sqlite", root=root)
    key = load_project(root).key("address")
    with reading(engine) as connection:
        by_mail = unblocked(connection, "email", hash_address("anna-1@example.com", key))
        by_phone = unblocked(connection, "sms", hash_address("+4930901820", key))
    engine.dispose()
    assert by_mail is not None
    assert by_phone is not None
    assert (by_mail.by, by_phone.by) == ("staff dora", "staff Clara, on the phone")


def test_consent_stays_as_it_is(root: Path) -> None:
    engine = open_engine("sqlite:///var/winback.sqlite", root=root)

    def answers() -> list[object]:
        with reading(engine) as connection:
            kept = connection.execute(customers.select().with_only_columns(customers.c.email_marketing)).all()
            return [*kept, *connection.execute(consents.select().order_by(consents.c.id)).all()]

    before = answers()
    run(root, "anna-1")
    assert answers() == before
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "said"), [(("nobody",), "no customer 'nobody'"), (("anna-1", "--channel", "fax"), "'fax'")]
)
def test_what_cannot_be_is_refused(root: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(root, *arguments)
    assert isinstance(done.exception, InputError)
    assert said in done.exception.message
