"""`winback status`, `doctor`, `retry`, `run` and `daemon` in process: what they print, and their exit codes."""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine, update
from typer.testing import CliRunner

from tests.project.builder import campaign, email_step, write_shop
from tests.scheduler.shops import WAKE, add_sleepers, make_shop, states
from winback.cli import app
from winback.errors import InputError, WinbackError
from winback.scheduler import run_pass
from winback.store import messages, writing

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Give a function that runs a command in the shop's folder, on both databases."""
    monkeypatch.setenv("WINBACK_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--shop", str(tmp_path / "shop")])

    return run


@pytest.fixture
def running(engine: Engine, database_url: str, tmp_path: Path) -> Path:
    """Give the folder of a shop that has just sent two letters, and will send two more in a week."""
    steps = [email_step("hello"), email_step("offer", after="7d")]
    project = make_shop(
        tmp_path / "shop",
        database_url,
        {"wake": campaign(title="Wake", audience={"preset": "sleeping", "inactive": "90d"}, steps=steps)},
    )
    now = datetime.now(UTC)
    add_sleepers(engine, 2, now)
    run_pass(engine, project, now, "test")
    return project.root


def test_status_of_a_shop_that_is_well(running: Path, command: Command) -> None:
    done = command("status")
    assert done.exit_code == 0, done.output
    assert "all is well" in done.output
    assert "offer" in done.output  # what goes out next
    answer = json.loads(command("status", "-o", "json").stdout)
    assert answer["ok"] is True
    assert answer["messages"] == {"wake": {"sent": 2}}
    assert answer["uncertain"] == answer["waiting"] == []
    [coming] = answer["next"]
    assert (coming["campaign"], coming["step"], coming["count"]) == ("wake", "offer", 2)
    lines = list(csv.DictReader(io.StringIO(command("status", "-o", "csv").stdout)))
    assert {line["ok"] for line in lines} == {"True"}
    assert list(lines[0]) == ["name", "ok", "message", "remedy"]


def test_status_is_not_zero_when_something_is_wrong(running: Path, command: Command, engine: Engine) -> None:
    with writing(engine) as connection:
        long_ago = datetime.now(UTC) - timedelta(hours=5)
        values = {"state": "planned", "next_attempt_at": long_ago, "due_at": long_ago, "sent_at": None}
        connection.execute(update(messages).values(values))
    done = command("status")
    assert done.exit_code == 1
    assert "something is wrong" in done.output
    assert "NOT overdue: 2 messages due since" in done.output
    assert "winback run" in done.output
    waiting = json.loads(command("status", "-o", "json").stdout)["waiting"]
    assert [(each["count"], each["why"], each["until"]) for each in waiting] == [(2, "the next pass sends them", None)]


def test_status_works_while_a_campaign_is_broken(running: Path, command: Command) -> None:
    (running / "campaigns/other.toml").write_text("titel = 'Other'\n")
    done = command("status", "-o", "json")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert {item["name"] for item in answer["health"] if not item["ok"]} == {"files"}
    assert answer["messages"] == {"wake": {"sent": 2}}
    (running / "config.toml").write_text("[shop]\nzone = 'Europe/Belrin'\n")
    unusable = command("status")
    assert isinstance(unusable.exception, WinbackError)
    assert "Europe/Belrin" in str(unusable.exception)


def test_doctor_looks_at_everything(running: Path, command: Command, engine: Engine) -> None:
    done = command("doctor", "-o", "json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0, found
    names = {item["name"] for item in found}
    assert {"files", "gateway", "database", "secret", "scheduler", "disk"} <= names
    assert ("clock" in names) == (engine.dialect.name == "postgresql")


def _no_secret(root: Path) -> None:
    (root / "var/secret.key").unlink()


def _readable_secret(root: Path) -> None:
    (root / "var/secret.key").chmod(0o644)


def _template(root: Path) -> None:
    (root / "templates/offer.email.html").write_text("<p>{{ customer.frist_name }}</p>")


def _relay(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = root / "config.toml"
    web = '\n[web]\npublic_url = "https://mail.halfnote.example"\n[deliver]\nemail = "relay"\n'
    relay = f'[gateways.relay]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n'
    settings.write_text(settings.read_text() + web + relay)


def _outbox(root: Path) -> None:
    settings = root / "config.toml"
    (root / "taken").write_text("a file where a folder should be")
    settings.write_text(settings.read_text() + '\n[gateways.outbox]\ntype = "outbox"\nfolder = "taken/box"\n')


_TROUBLES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "the secret is gone": (_no_secret, "secret", "backup"),
    "the secret is open": (_readable_secret, "secret", "chmod 600"),
    "a template with a slip": (_template, "files", "winback check"),
    "a relay that does not answer": (_relay, "gateway", ""),
    "an outbox that cannot be written": (_outbox, "gateway", "writable"),
}


def test_doctor_names_what_is_wrong(running: Path, command: Command) -> None:
    good = {
        file: file.read_bytes() for file in running.rglob("*") if file.is_file() and file.suffix in (".toml", ".html", ".key")
    }
    for what, (break_it, name, remedy) in _TROUBLES.items():
        break_it(running)
        done = command("doctor", "-o", "json")
        wrong = [item for item in json.loads(done.stdout) if not item["ok"]]
        assert {item["name"] for item in wrong} == {name}, what
        assert remedy in wrong[0]["remedy"], what
        assert done.exit_code == 1, what
        for file, content in good.items():
            file.write_bytes(content)
            file.chmod(0o600)
    table = command("doctor")
    assert table.exit_code == 0, table.output
    assert "All is well" in table.output


def test_doctor_says_what_is_wrong_with_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_shop(tmp_path / "shop", campaigns={"wake": WAKE})
    (tmp_path / "text").write_text("this is no database, whatever its name says" * 100)
    monkeypatch.setenv("WINBACK_DATABASE_URL", f"sqlite:///{tmp_path}/text")
    done = CliRunner().invoke(app, ["doctor", "--shop", str(root)])
    assert done.exit_code == 1
    assert "NOT database" in done.output


def test_retry_sends_again_what_a_person_asks_for(running: Path, command: Command, engine: Engine) -> None:
    for state in ("failed", "uncertain"):
        with writing(engine) as connection:
            connection.execute(update(messages).where(messages.c.customer_id == 1).values(state=state, sent_at=None))
        done = command("retry", "wake", "--only", state)
        assert (done.exit_code, done.stdout) == (0, f"1 {state} message of wake goes with the next pass\n")
        assert states(engine) == {"planned": 1, "sent": 1}
        assert command("run").exit_code == 0
        assert states(engine) == {"sent": 2}
    assert "0 failed messages of wake go" in command("retry", "wake", "--only", "failed").stdout
    unknown = command("retry", "wke", "--only", "failed")
    assert isinstance(unknown.exception, InputError)


def test_run_says_what_it_did(running: Path, command: Command, engine: Engine) -> None:
    in_a_week = (datetime.now(UTC) + timedelta(days=7, minutes=1)).isoformat()
    done = command("run", "--now", in_a_week, "-o", "json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["sent"], answer["failed"], answer["errors"]) == (2, 0, [])
    [wake] = answer["campaigns"]
    assert [(step["step"], step["planned"], step["skipped"]) for step in wake["steps"]] == [("hello", 0, {}), ("offer", 2, {})]
    assert states(engine) == {"sent": 4}
    add_sleepers(engine, 1, datetime.now(UTC), prefix="T", email_marketing=None)
    again = command("run", "--now", in_a_week)
    assert "0 sent, 0 failed, 0 skipped" in again.output
    assert "wake: turned away 1 no_consent (did not consent to this channel and purpose)" in again.output


def test_run_is_not_zero_when_a_part_fails(running: Path, command: Command) -> None:
    settings = running / "config.toml"
    settings.write_text(settings.read_text() + '\n[gateways.gone]\ntype = "smpt"\n[deliver]\nemail = "gone"\n')
    done = command("run")
    assert done.exit_code == 1
    assert "smpt" in done.output


_WRONG: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a pace of nothing": (("--every", "0s"), "--every", "at least '1s'"),
    "a pace of a day": (("--every", "1d"), "--every", "at most '1h'"),
    "a pace that is no duration": (("--every", "often"), "--every", ""),
    "pages for everybody without a password": (("--host", "0.0.0.0", "--port", "0"), "without a password", "web.password"),
}


def test_a_daemon_that_cannot_run_says_so_at_once(running: Path, command: Command) -> None:
    for what, (options, message, remedy) in _WRONG.items():
        error = command("daemon", *options).exception
        assert isinstance(error, InputError), what
        assert message in error.message, what
        assert remedy in error.remedy, what
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = command("daemon", "--port", str(port)).exception
    assert isinstance(error, InputError)
    assert f"127.0.0.1:{port}: Address already in use" in error.message
    assert "--port" in error.remedy


def _fields(*arguments: str) -> Any:
    return json.loads(CliRunner().invoke(app, ["fields", "-o", "json", *arguments]).stdout)


def test_fields_lists_what_expressions_may_ask() -> None:
    listed = {entry["name"].split("(")[0]: entry for entry in _fields()}
    assert {"orders", "country", "bought", "clicked", "ordered"} <= set(listed)
    assert all(entry["meaning"] and entry["example"] for entry in listed.values())
    assert {entry["kind"] for entry in listed.values()} == {"field", "function"}
