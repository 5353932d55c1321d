"""`winback import`, run as a person would."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import func, select
from typer.testing import CliRunner

from tests.project.builder import write_shop
from winback.cli import app
from winback.errors import InputError
from winback.store import customers, events, open_engine, orders, reading

WINBACK = Path(sys.executable).parent / "winback"
MASTER = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdnow" / "CDNOW_master.txt"

PEOPLE = "customer_id;email;Ort;newsletter\nC1;ann@example.com;Köln;ja\n;nobody;Ulm;nein\nC3;not-an-address;Bonn;ja\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a shop's folder."""
    return write_shop(tmp_path / "shop", settings={"shop": {"zone": "Europe/Berlin", "region": "DE", "currency": "EUR"}})


def run(root: Path, *arguments: str) -> Result:
    """Run the command in the process, without a terminal."""
    return CliRunner().invoke(app, ["import", *arguments, "--shop", str(root)])


def write(root: Path, name: str, text: str, encoding: str = "utf-8") -> str:
    """Write a file beside the shop."""
    path = root.parent / name
    path.write_text(text, encoding=encoding)
    return str(path)


def count(root: Path, table: Any, url: str | None = None) -> int:
    """Return how many rows a table has."""
    engine = open_engine(url or "sqlite:///var/winback.sqlite", root=root)
    with reading(engine) as connection:
        found = connection.scalar(select(func.count()).select_from(table)) or 0
    engine.dispose()
    return found


def test_a_summary_says_what_became_of_the_rows(root: Path) -> None:
    done = run(root, "customers", write(root, "people.csv", PEOPLE, "cp1252"))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"3 rows of people\.csv \(csv, cp1252\) in \d+\.\d s, [\d,]+ rows a second", lines[0])
    assert [line.split() for line in lines[1:5]] == [["inserted", "2"], ["updated", "0"], ["unchanged", "0"], ["rejected", "1"]]
    assert "  people.csv:3: refused: customer_id is empty" in lines
    assert any(line.startswith("  people.csv:4: left out: email is not an e-mail address") for line in lines)
    rejects = Path(lines[-1].partition("reason: ")[2])
    with rejects.open(encoding="utf-8", newline="") as stream:
        assert [row["line"] for row in csv.DictReader(stream)] == ["3", "4"]
    assert done.stderr == ""
    assert count(root, customers) == 2


def test_when_all_went_in_the_exit_code_is_0(root: Path) -> None:
    file = write(root, "orders.csv", "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,5\nA2,C2,2026-11-01,5\n")
    done = run(root, "orders", file)
    assert done.exit_code == 0
    assert "Customers who were not there before: 2" in done.stdout
    assert "rejects" not in done.stdout
    assert count(root, orders) == 2


def test_events_go_in(root: Path) -> None:
    file = write(root, "events.jsonl", '{"customer_id": "C1", "name": "visit", "at": "2026-11-01"}\n')
    assert run(root, "events", file).exit_code == 0
    assert count(root, events) == 1


def test_many_problems_are_cut_short(root: Path) -> None:
    done = run(root, "customers", write(root, "people.csv", "customer_id,city\n" + ",x\n" * 25))
    assert done.exit_code == 1
    assert len([line for line in done.stdout.splitlines() if "refused" in line]) == 10
    assert "  … and 15 more" in done.stdout


def test_json_has_everything(root: Path) -> None:
    done = run(root, "customers", write(root, "people.csv", PEOPLE), "-o", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["kind"], found["rows"], found["inserted"], found["rejected"], found["warnings"]) == ("customers", 3, 2, 1, 1)
    assert found["columns"] == {"customer_id": "customer_id", "email": "email", "city": "Ort", "email_marketing": "newsletter"}
    assert found["problems"][0] == {"line": 3, "reason": "customer_id is empty", "rejected": True}
    assert Path(found["rejects_file"]).exists()
    assert found["rows_per_second"] > 0


def test_csv_has_one_row(root: Path) -> None:
    done = run(root, "customers", write(root, "people.csv", PEOPLE), "-o", "csv")
    row = next(csv.DictReader(done.stdout.splitlines()))
    assert (row["kind"], row["rows"], row["inserted"], row["rejected"]) == ("customers", "3", "2", "1")


def test_a_dry_run_keeps_nothing(root: Path) -> None:
    done = run(root, "customers", write(root, "people.csv", PEOPLE), "--dry-run")
    assert done.exit_code == 1
    assert "This was a dry run: nothing was kept." in done.stdout
    assert "Read as: customer_id = customer_id, email = email, city = Ort, email_marketing = newsletter" in done.stdout
    assert count(root, customers) == 0


def test_what_is_said_of_the_file_is_used(root: Path) -> None:
    text = "Nr~Kunde~Datum~Summe\nA1~C1~01-11-2026~1.234\n"
    done = run(
        root, "orders", write(root, "orders.txt", text, "utf-16-le"), "--map", "order_id=Nr", "--map", "total=Summe",
        "--format", "csv", "--delimiter", "~", "--encoding", "utf-16-le", "--decimal", ",", "--date-format", "%d-%m-%Y",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    engine = open_engine("sqlite:///var/winback.sqlite", root=root)
    with reading(engine) as connection:
        order = connection.execute(select(orders)).one()
    engine.dispose()
    assert (order.total_minor, f"{order.placed_at:%Y-%m-%d %H:%M}") == (123400, "2026-10-31 23:00")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("customers", "missing.csv"), "cannot read missing.csv"),
        (("customers", "{people}", "--map", "shopify"), "there is no map 'shopify'"),
        (("customers", "{people}", "--map", "email=Mail"), "the file has no column 'Mail'"),
        (("customers", "{people}", "--decimal", ";"), "decimal cannot be ';'"),
        (("orders", "{people}"), "no column of the file is the order's id"),
        (("events", "{people}", "--map", "cdnow"), "the map is for orders, not for events"),
    ],
)
def test_what_cannot_run_says_why(root: Path, arguments: tuple[str, ...], message: str) -> None:
    people = write(root, "people.csv", PEOPLE)
    done = run(root, *(argument.format(people=people) for argument in arguments))
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2
    assert message in done.exception.message


def test_a_database_that_is_gone_says_so_in_one_line(root: Path) -> None:
    environment = {**os.environ, "WINBACK_DATABASE_URL": "postgresql://shop:hunter2-secret@127.0.0.1:1/winback"}
    command = [WINBACK, "import", "customers", write(root, "people.csv", PEOPLE), "--shop", str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.match(r"winback: The database winback at 127\.0\.0\.1:1 .* refused\n  start PostgreSQL", done.stderr)
    assert "hunter2" not in done.stderr


def test_a_person_at_a_terminal_sees_how_far_it_is(root: Path) -> None:
    text = "customer_id,city\n" + "".join(f"C{number},Ulm\n" for number in range(10_000))
    command = [WINBACK, "import", "customers", write(root, "people.csv", text), "--shop", str(root)]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            shown += piece
        stdout = process.communicate(timeout=60)[0]
    os.close(ours)
    assert process.returncode == 0
    assert b"10,000 rows" in shown
    assert b"merging" in shown
    assert "10,000 rows of people.csv" in stdout
    assert "\x1b" not in stdout


@pytest.mark.skipif(not MASTER.exists(), reason=f"needs ../shared/data/cdnow/{MASTER.name}")
def test_the_orders_of_cdnow(root: Path) -> None:
    first = run(root, "orders", str(MASTER), "--map", "cdnow", "-o", "json")
    assert first.exit_code == 0
    found = json.loads(first.stdout)
    assert (found["inserted"], found["customers_created"], found["rejected"]) == (69_659, 23_570, 0)
    again = json.loads(run(root, "orders", str(MASTER), "--map", "cdnow", "-o", "json").stdout)
    assert (again["unchanged"], again["inserted"], again["updated"]) == (69_659, 0, 0)
