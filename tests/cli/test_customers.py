"""`winback customer show|export|erase`, run as a person would."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import select
from typer.testing import CliRunner

from tests.project.builder import campaign, write_shop
from tests.store.person import TRACES, add_person
from winback.cli import app
from winback.errors import InputError
from winback.project import load_project
from winback.store import messages, open_engine, reading, suppressions, writing
from winback.store.migrate import migrate

WINBACK = Path(sys.executable).parent / "winback"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a shop that knows a customer, anna-1, with everything one can know."""
    folder = write_shop(
        tmp_path / "shop",
        campaigns={"thanks": campaign()},
        settings={"shop": {"zone": "Europe/Berlin", "region": "DE"}, "gateways": {"files": {"type": "outbox", "folder": "out"}}},
    )
    engine = open_engine("sqlite:///var/winback.sqlite", root=folder)
    migrate(engine)
    with writing(engine) as connection:
        add_person(connection, NOW, load_project(folder).key("address"))
    engine.dispose()
    return folder


def run(root: Path, *arguments: str) -> Result:
    """Run the command in the process, without a terminal."""
    return CliRunner().invoke(app, ["customer", *arguments, "--shop", str(root)])


@pytest.mark.parametrize("given", ["anna-1", "Anna-1@Example.com", "030 901820"])
def test_a_person_is_shown_in_words(root: Path, given: str) -> None:
    done = run(root, "show", given)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("anna-1: Anna Annable\n")
    for words in (
        "anna-1@example.com",
        "+4930901820",
        "Annaberg, DE",
        "1985-11-24",
        "anna's cat",
        "never asked",
        "1, 20.50 EUR in all, the last on 2026-11-04 11:00",
        "anna-1-20261104-1",
        "Anna, sent",
        "planned",
        "2026-11-25 11:00",
    ):
        assert words in done.stdout


def test_a_person_as_json(root: Path) -> None:
    found = json.loads(run(root, "show", "anna-1", "-o", "json").stdout)
    assert set(found) == {"customer", "consent", "suppressed", "orders", "enrollments", "messages"}
    assert found["customer"]["attributes"] == {"pet": "anna's cat"}
    assert [message["state"] for message in found["messages"]] == ["sent", "planned"]


def test_a_person_for_a_spreadsheet(root: Path) -> None:
    rows = {row["what"]: row["value"] for row in csv.DictReader(run(root, "show", "anna-1", "-o", "csv").stdout.splitlines())}
    assert (rows["email"], rows["attributes.pet"], rows["orders.count"]) == ("anna-1@example.com", "anna's cat", "1")


@pytest.mark.parametrize("command", ["show", "export", "erase"])
def test_nobody_of_that_name(root: Path, command: str) -> None:
    done = run(root, command, "bob")
    assert isinstance(done.exception, InputError)
    assert "there is no customer 'bob'" in done.exception.message


def test_everything_is_handed_over(root: Path) -> None:
    found = json.loads(run(root, "export", "anna-1").stdout)
    assert {"consent_log", "orders", "events", "messages", "scores", "coupons", "receipts", "conversions"} <= set(found)
    assert found["consent_log"][0]["source"] == "call with anna-1@example.com"


def test_everything_is_handed_over_in_a_file_that_only_its_owner_reads(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "anna.json"
    done = run(root, "export", "anna-1", "--to", str(file))
    assert (done.stdout, done.stderr) == ("", f"Everything that is kept about anna-1 is in {file}.\n")
    assert file.stat().st_mode & 0o077 == 0
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(run(root, "export", "anna-1").stdout)


def test_a_file_that_cannot_be_written_is_told(root: Path) -> None:
    done = run(root, "export", "anna-1", "--to", str(root))
    assert isinstance(done.exception, InputError)
    assert "cannot be written" in done.exception.message


def outbox(root: Path) -> dict[str, Path]:
    """Write the files of the person's sent message, and of another one; return them by name."""
    engine = open_engine("sqlite:///var/winback.sqlite", root=root)
    with reading(engine) as connection:
        sent = connection.scalar(select(messages.c.id).where(messages.c.state == "sent"))
    engine.dispose()
    folder = root / "out" / "2026-11"
    folder.mkdir(parents=True)
    other = "00000000-0000-5000-8000-000000000000"
    files = {
        f"{who}.{end}": folder / f"{message}.{end}"
        for who, message in (("hers", sent), ("other", other))
        for end in ("eml", "json")
    }
    for file in files.values():
        file.write_text("{}")
    return files


def test_a_person_is_forgotten(root: Path) -> None:
    files = outbox(root)
    rejects = root / "var" / "rejects" / "customers-old.csv"
    rejects.parent.mkdir(parents=True)
    rejects.write_text('line,severity,reason,row\n3,rejected,x,"C9,ANNA-1@example.com"\n')
    (rejects.parent / "others.csv").write_text("line,severity,reason,row\n")
    done = run(root, "erase", "anna-1", "--yes")
    assert done.exit_code == 0, done.output
    told = done.stdout.splitlines()
    assert told[0] == "anna-1 is forgotten."
    assert "  Never written to again: the e-mail address and the phone number." in told
    assert "  Messages that were planned, now cancelled: 1" in told
    assert "  Campaigns that were running for this person, now ended: 1" in told
    assert "  Messages removed from the outbox folder: 1" in told
    assert "  Still counted in reports, without the person: 1 order, 1 event, 2 messages" in told
    assert f"  Rows of this person that an import refused are still in {rejects}: delete that file." in told
    assert not any("others.csv" in line for line in told)
    assert {name: file.exists() for name, file in files.items()} == {
        "hers.eml": False, "hers.json": False, "other.eml": True, "other.json": True,
    }  # fmt: skip
    engine = open_engine("sqlite:///var/winback.sqlite", root=root)
    with reading(engine) as connection:
        assert connection.scalars(select(messages.c.state).order_by(messages.c.state)).all() == ["cancelled", "sent"]
        assert set(connection.scalars(select(suppressions.c.source))) == {"cli"}
    engine.dispose()
    shown = run(root, "show", "anna-1").stdout
    assert "Was forgotten on" in shown
    assert not any(trace in shown.lower() for trace in TRACES)
    again = run(root, "erase", "anna-1", "--yes")
    assert again.stdout.splitlines()[0] == "anna-1 was forgotten before."


def test_what_was_done_as_json(root: Path) -> None:
    outbox(root)
    found = json.loads(run(root, "erase", "anna-1", "--yes", "-o", "json").stdout)
    assert found == {
        "customer": "anna-1", "already": False, "suppressed": ["email", "sms"], "cancelled": 1, "in_flight": 0, "left": 1,
        "orders": 1, "events": 1, "files_removed": 1, "files_left": [], "mentioned_in": [],
    }  # fmt: skip


def test_without_a_person_to_ask_it_needs_yes(root: Path) -> None:
    done = run(root, "erase", "anna-1")
    assert isinstance(done.exception, InputError)
    assert done.exception.remedy == "add --yes"
    assert "anna-1@example.com" in run(root, "show", "anna-1").stdout


@pytest.mark.parametrize(("answer", "code", "gone"), [(b"y\n", 0, True), (b"n\n", 1, False), (b"\n", 1, False)])
def test_a_person_at_a_terminal_is_asked(root: Path, answer: bytes, code: int, gone: bool) -> None:
    ours, theirs = pty.openpty()
    command = [WINBACK, "customer", "erase", "anna-1", "--shop", str(root)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.close(theirs)
        os.write(ours, answer)
        stdout, stderr = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == code, stderr
    assert "Forget anna-1, Anna Annable, anna-1@example.com, +4930901820? It cannot be undone [y/N]" in stderr
    assert ("anna-1 is forgotten." in stdout) is gone
    assert ("Nothing was changed." in stderr) is not gone
    assert ("anna-1@example.com" in run(root, "show", "anna-1").stdout) is not gone
