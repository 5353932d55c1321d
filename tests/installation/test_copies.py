"""Copies by the real command: nothing leaves one, it says why, and after `winback adopt` only what did not go yet goes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from typer.testing import CliRunner, Result

from tests.project.builder import write_shop
from tests.scheduler.processes import as_json, started, wait_until, winback
from tests.scheduler.shops import WAKE, add_sleepers, in_outbox, states
from winback.cli import app
from winback.store import enrollments, leases, open_engine, passes, places, reading
from winback.store.migrate import migrate

URL = "sqlite:///var/winback.sqlite"

COPY = "This is a copy of the installation in {} on "
REMEDY = "If this is the one that should send from now on: winback adopt"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Give a shop that has sent three letters and has two more people to write to."""
    root = write_shop(tmp_path / "shop", campaigns={"wake": WAKE}, settings={"shop": {"zone": "Europe/Berlin"}})
    engine = database(root)
    migrate(engine)
    add_sleepers(engine, 3, datetime.now(UTC))
    assert pass_of(root) == (0, 3)
    add_sleepers(engine, 2, datetime.now(UTC), prefix="T")
    engine.dispose()
    return root


def database(root: Path) -> Engine:
    return open_engine(URL, root=root)


@pytest.fixture
def copy(shop: Path) -> Path:
    """Give a copy of the folder, of which the original goes on."""
    shutil.copytree(shop, shop.parent / "copy")
    return shop.parent / "copy"


def here(root: Path, *arguments: str) -> Result:
    """Run a command in this process, which starts no Python anew."""
    return CliRunner().invoke(app, [*arguments, "--shop", str(root)])


def pass_of(root: Path) -> tuple[int, int]:
    """Run a pass; return its exit code and how many messages it sent."""
    run = here(root, "run", "-o", "json")
    return run.exit_code, json.loads(run.stdout)["sent"]


def told(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_a_copy_sends_nothing_and_says_why_until_it_is_adopted(shop: Path, copy: Path) -> None:
    before = everything(copy)
    run = winback(copy, "", "run")
    assert run.returncode == 1
    assert f"winback: {COPY.format(shop)}" in run.stderr
    assert REMEDY in run.stderr
    assert "0 sent, 0 failed, 0 skipped" in run.stderr
    assert everything(copy) == before  # nothing was planned either

    status = winback(copy, "", "status", "-o", "json")
    assert status.returncode == 1
    item = next(item for item in as_json(status)["health"] if item["name"] == "installation")
    assert not item["ok"]
    assert item["message"].startswith(COPY.format(shop))
    doctor = winback(copy, "", "doctor")
    assert doctor.returncode == 1
    assert f"NOT installation: {COPY.format(shop)}" in doctor.stdout

    nobody = winback(copy, "", "adopt")
    assert nobody.returncode == 2
    assert "winback adopt --yes" in nobody.stderr
    assert winback(copy, "", "run").returncode == 1

    adopted = winback(copy, "", "adopt", "--yes")
    assert adopted.returncode == 0, told(adopted)
    assert "This folder sends from now on." in adopted.stdout
    run = winback(copy, "", "run", "-o", "json")
    assert (run.returncode, as_json(run)["sent"]) == (0, 2), run.stderr
    assert in_outbox(copy) == in_outbox(shop) + Counter({"t0000@example.com": 1, "t0001@example.com": 1})
    again = winback(copy, "", "adopt")
    assert again.returncode == 0
    assert again.stdout.startswith("This folder may send; there is nothing to adopt.\n")
    assert f"  {copy} on " in again.stdout
    assert str(shop) + " on" not in again.stdout


def test_the_original_goes_on(shop: Path, copy: Path) -> None:
    assert pass_of(copy) == (1, 0)
    assert pass_of(shop) == (0, 2)


def test_a_daemon_in_a_copy_serves_its_pages_and_begins_to_send_when_it_is_adopted(shop: Path, copy: Path) -> None:
    with started(copy, "", "daemon", "--port", "0", "--every", "1s") as daemon:
        wait_until(lambda: daemon.said.count("pass.finished") >= 2, daemon)
        assert COPY.format(shop) in daemon.said.splitlines()[0]
        assert daemon.said.count("pass.error") >= 2
        engine = database(copy)
        assert states(engine) == {"sent": 3}
        with reading(engine) as connection:
            assert connection.execute(select(leases)).all() == []
        assert winback(copy, "", "adopt", "--yes").returncode == 0
        wait_until(lambda: states(engine) == {"sent": 5}, daemon)
        engine.dispose()


def test_a_shop_that_is_moved_on_its_machine_goes_on(shop: Path) -> None:
    moved = shop.rename(shop.parent / "elsewhere")
    assert here(moved, "adopt").stdout.startswith("This folder may send")
    assert pass_of(moved) == (0, 2)
    status = json.loads(here(moved, "status", "-o", "json").stdout)
    assert [item for item in status["health"] if not item["ok"]] == []
    engine = database(moved)
    with reading(engine) as connection:
        assert connection.scalar(select(places.c.folder)) == str(moved)
    engine.dispose()


@pytest.fixture
def backup(shop: Path) -> Path:
    """Give a backup of the database, made before the shop sent its last two letters."""
    kept = shop.parent / "backup.sqlite"
    with closing(sqlite3.connect(shop / "var/winback.sqlite")) as source, closing(sqlite3.connect(kept)) as target:
        source.backup(target)
    assert pass_of(shop) == (0, 2)
    return kept


def put_back(kept: Path, shop: Path) -> None:
    for left in (shop / "var").glob("winback.sqlite-*"):
        left.unlink()
    with (shop / "var/winback.sqlite").open("wb") as file:  # the very same file, as `cp` does it
        file.write(kept.read_bytes())


def test_an_older_database_sends_nothing_and_never_again_what_went_after_it(shop: Path, backup: Path) -> None:
    sent = in_outbox(shop)
    assert sent.total() == 5
    put_back(backup, shop)
    run = here(shop, "run")
    assert run.exit_code == 1
    assert f"The database is older than what was last sent from {shop}" in run.stderr
    assert in_outbox(shop) == sent

    adopted = here(shop, "adopt", "--yes")
    assert adopted.exit_code == 0, adopted.output
    assert "2 messages are skipped that may have gone already (reason: restored)" in adopted.stdout
    assert pass_of(shop) == (0, 0)
    assert in_outbox(shop) == sent
    engine = database(shop)
    assert states(engine) == {"sent": 3, "skipped": 2}
    add_sleepers(engine, 1, datetime.now(UTC), prefix="U")
    engine.dispose()
    assert pass_of(shop) == (0, 1)
    assert in_outbox(shop) == sent + Counter({"u0000@example.com": 1})


def test_who_accepts_that_people_may_get_it_twice_can_say_so(shop: Path, backup: Path) -> None:
    put_back(backup, shop)
    assert here(shop, "adopt", "--yes", "--due", "send").exit_code == 0
    assert pass_of(shop) == (0, 2)


def test_a_copy_can_leave_out_what_is_due(shop: Path, copy: Path) -> None:
    adopted = here(copy, "adopt", "--yes", "--due", "skip")
    assert "2 messages are skipped" in adopted.stdout
    assert pass_of(copy) == (0, 0)


def everything(root: Path) -> tuple[object, ...]:
    """Return what planning and sending would change."""
    engine = database(root)
    with reading(engine) as connection:
        counts = [connection.scalar(select(func.count()).select_from(table)) for table in (enrollments, passes, leases)]
    found = (*counts, states(engine), in_outbox(root), json.loads((root / "var/installation.json").read_text()))
    engine.dispose()
    return found
