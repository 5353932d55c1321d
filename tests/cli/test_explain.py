"""`winback explain` and `winback preview` as people read them, and what they must not hold up meanwhile."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.project.builder import campaign, email_step, write_shop
from tests.rows import add_customer, add_order
from winback.store import open_engine, writing
from winback.store.migrate import migrate

WINBACK = Path(sys.executable).parent / "winback"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)

#: More people than a pipe takes lines of, when nobody reads.
PEOPLE = 400


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Give a shop in Berlin with sleepers, the first of whom did not consent, and ordered right after midnight."""
    folder = write_shop(
        tmp_path / "shop", campaigns={"wake": campaign(steps=[email_step()])}, settings={"shop": {"zone": "Europe/Berlin"}}
    )
    engine = open_engine("sqlite:///var/winback.sqlite", root=folder)
    migrate(engine)
    with writing(engine) as connection:
        for number in range(PEOPLE):
            customer = add_customer(connection, f"C{number:03}", NOW, email_marketing=number > 0)
            add_order(connection, f"O{number}", customer, datetime(2026, 5, 31, 22, 30, tzinfo=UTC) + timedelta(seconds=number))
    engine.dispose()
    return folder


def _run(shop: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [WINBACK, *arguments, "--shop", shop]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_explain_gives_reasons_only_for_what_is_not_met_and_local_times(shop: Path) -> None:
    done = _run(shop, "explain", "wake", "C000", "--at", "2026-11-24 11:00")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "2026-06-01 00:30" in lines["audience"]  # May in UTC
    assert lines["no_consent"].split()[1] == "NO"
    assert lines["no_consent"].rstrip().endswith("did not consent to this channel and purpose")
    assert lines["erased"].split() == ["erased", "ok"]


def test_a_preview_that_nobody_reads_holds_up_no_writer(shop: Path) -> None:
    command = [WINBACK, "preview", "wake", "--at", "2026-11-24 11:00", "-n", str(PEOPLE), "-o", "json", "--shop", shop]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as preview:
        assert preview.stdout is not None
        assert os.read(preview.stdout.fileno(), 1) == b"{"  # it prints, and the pipe is soon full
        try:
            with sqlite3.connect(shop / "var" / "winback.sqlite", timeout=5) as other:
                other.execute("BEGIN IMMEDIATE")
                other.execute("UPDATE customers SET city = 'Berlin'")
            assert preview.poll() is None
        finally:
            preview.stdout.read()
    assert preview.returncode == 0


def test_a_database_that_fails_in_the_middle_is_told_in_a_line(shop: Path) -> None:
    engine = open_engine("sqlite:///var/winback.sqlite", root=shop)
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE messages RENAME TO lost"))
    engine.dispose()
    done = _run(shop, "explain", "wake", "C000")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "winback: the database failed: no such table: messages",
        "  a part of it is missing: put it back from a backup",
    ]


def test_predict_says_when_there_is_too_little_to_tell(shop: Path) -> None:
    done = _run(shop, "predict", "C001", "--at", "2026-11-24 11:00")
    assert done.returncode == 0, done.stderr
    assert "too little data: no order, or nobody's rhythm is known yet" in done.stdout
    assert "0 buyers who came back of 100 needed" in done.stdout


def test_a_score_is_explained_only_where_there_is_one(shop: Path) -> None:
    done = _run(shop, "score", "explain", "C001")
    assert (done.returncode, done.stdout) == (2, "")
    assert "this shop has no scores" in done.stderr
