"""Which files a shop runs by: taken up by themselves, or only when somebody applies them; every message tells which they were."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import Engine, func, select

from tests.project.builder import EMAIL, write_shop
from tests.scheduler.shops import WAKE, add_sleepers, make_shop, rows
from winback.plan import plan
from winback.project import Project
from winback.project.snapshot import Snapshot
from winback.scheduler import run_pass
from winback.scheduler.daemon import Daemon
from winback.scheduler.files import running_files
from winback.store import applied_versions, file_contents, open_engine, reading, writing
from winback.store.migrate import migrate
from winback.versions import Version, hold, latest, record, running, snapshot_of, take_up
from winback.versions.git import revision

MINUTE = timedelta(minutes=1)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path}/winback.sqlite")
    migrate(engine)
    yield engine
    engine.dispose()


def _shop(engine: Engine, tmp_path: Path, **top: Any) -> Project:
    url = engine.url.render_as_string(hide_password=False)
    return make_shop(tmp_path / "shop", url.replace("+psycopg", ""), {"wake": WAKE}, settings=top)


def _apply(engine: Engine, project: Project, now: datetime, *, auto_apply: bool = False) -> Version:
    with writing(engine) as connection:
        snapshot = Snapshot.of(project.root)
        return record(connection, snapshot, now=now, by="anna", automatic=False, auto_apply=auto_apply, revision="c0ffee")


def _edit(project: Project, old: str, new: str, file: str = "campaigns/wake.toml") -> None:
    path = project.root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _versions(engine: Engine) -> list[tuple[Any, ...]]:
    query = select(applied_versions.c.id, applied_versions.c.applied_by, applied_versions.c.automatic)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query.order_by(applied_versions.c.id))]


def test_a_pass_takes_changed_files_up_and_its_messages_tell_which(engine: Engine, tmp_path: Path, now: datetime) -> None:
    project = _shop(engine, tmp_path)
    add_sleepers(engine, 1, now)
    first = run_pass(engine, project, now, "worker")
    assert (first.errors, first.version) == ([], 1)
    assert run_pass(engine, project, now + MINUTE, "worker").version == 1
    _edit(project, "Hello", "Good day", "campaigns/wake.toml")
    add_sleepers(engine, 1, now, prefix="T")
    assert run_pass(engine, project, now + 2 * MINUTE, "other").version == 2
    assert rows(engine, "version_id", "state") == [(1, "sent"), (2, "sent")]
    assert _versions(engine) == [(1, "worker", True), (2, "other", True)]
    with reading(engine) as connection:
        assert snapshot_of(connection, 2).files == Snapshot.of(project.root).files
        assert b"Good day" not in snapshot_of(connection, 1).files["campaigns/wake.toml"]
        contents = connection.scalar(select(func.count()).select_from(file_contents))
    assert contents == len(Snapshot.of(project.root).files) + 1  # what stayed is kept once


def test_a_message_carries_the_version_that_it_was_made_from(engine: Engine, tmp_path: Path, now: datetime) -> None:
    project = _shop(engine, tmp_path)
    add_sleepers(engine, 1, now)
    version = take_up(engine, project, now, "worker")
    with writing(engine) as connection:
        plan(connection, replace(project, version=version), now)
    assert rows(engine, "version_id", "state") == [(1, "planned")]
    _edit(project, "Hello", "Good day", "campaigns/wake.toml")
    run_pass(engine, project, now + MINUTE, "worker")
    assert rows(engine, "version_id", "state") == [(2, "sent")]


def test_files_wait_until_they_are_applied(sqlite: Engine, tmp_path: Path, now: datetime) -> None:
    """A file that somebody is still writing, valid as it may be, does nothing; what runs is in the database alone."""
    project = _shop(sqlite, tmp_path, auto_apply=False)
    version = _apply(sqlite, project, now)
    add_sleepers(sqlite, 1, now)
    with freeze_time(now) as clock:
        daemon = Daemon(sqlite, running_files(project.root, sqlite), worker="test")
        _edit(project, "90d", "1000d")
        (project.root / "templates/hello.email.html").write_text("<p>{% if %}")
        for _ in range(2):
            outcome = daemon.tick()
            assert outcome is not None
            assert (outcome.errors, outcome.version) == ([], version.id)
            clock.tick(MINUTE)
        assert rows(sqlite, "version_id", "state") == [(version.id, "sent")]
        # Not even a daemon that is started now sees them.
        assert Daemon(sqlite, running_files(project.root, sqlite), worker="new").tick() is not None
        (project.root / "templates/hello.email.html").write_text(EMAIL)
        assert _apply(sqlite, project, now).id == version.id + 1
        add_sleepers(sqlite, 1, now, prefix="T")
        clock.tick(MINUTE)
        outcome = daemon.tick()
        assert outcome is not None
        assert (outcome.version, outcome.enrolled) == (version.id + 1, 0)  # nobody is asleep for 1000 days


def test_without_anything_applied_nothing_runs(sqlite: Engine, tmp_path: Path, now: datetime) -> None:
    project = _shop(sqlite, tmp_path, auto_apply=False)
    add_sleepers(sqlite, 1, now)
    outcome = run_pass(sqlite, project, now, "worker")
    assert (outcome.sent, outcome.version) == (0, None)
    assert "no files have been applied yet" in outcome.errors[0]
    assert "winback apply" in outcome.errors[0]


def test_a_pass_by_other_files_than_those_applied_is_refused(sqlite: Engine, tmp_path: Path, now: datetime) -> None:
    project = _shop(sqlite, tmp_path, auto_apply=False)
    _apply(sqlite, project, now)
    add_sleepers(sqlite, 1, now)
    _edit(project, "Hello", "Good day", "campaigns/wake.toml")
    outcome = run_pass(sqlite, project, now, "worker")
    assert (outcome.sent, outcome.version) == (0, None)
    assert "version 1 (git c0ffee) is applied, and these are other files" in outcome.errors[0]
    outcome = run_pass(sqlite, running(sqlite, project), now + MINUTE, "worker")
    assert (outcome.sent, outcome.version) == (1, 1)


def test_applied_files_themselves_say_whether_those_after_them_wait(sqlite: Engine, tmp_path: Path, now: datetime) -> None:
    project = _shop(sqlite, tmp_path)
    run_pass(sqlite, project, now, "worker")
    assert hold(sqlite) is None
    held = _shop(sqlite, tmp_path, auto_apply=False)
    assert run_pass(sqlite, held, now, "worker").version == 2  # taken up by itself, the last time
    assert hold(sqlite) is not None
    open_again = _shop(sqlite, tmp_path, auto_apply=True)
    assert run_pass(sqlite, open_again, now, "worker").version is None
    _apply(sqlite, open_again, now, auto_apply=True)
    assert hold(sqlite) is None


def test_the_same_files_are_applied_once_and_older_ones_anew(sqlite: Engine, tmp_path: Path, now: datetime) -> None:
    project = _shop(sqlite, tmp_path)
    assert _apply(sqlite, project, now) == _apply(sqlite, project, now + MINUTE)
    _edit(project, "Hello", "Good day")
    _apply(sqlite, project, now)
    _edit(project, "Good day", "Hello")
    assert _apply(sqlite, project, now).id == 3
    with reading(sqlite) as connection:
        found = latest(connection)
    assert found is not None
    assert found.digest == Snapshot.of(project.root).digest


def test_tests_of_campaigns_and_what_the_shop_writes_are_no_part_of_a_version(tmp_path: Path) -> None:
    root = write_shop(tmp_path, campaigns={"wake": WAKE})
    before = Snapshot.of(root).digest
    for name in ("campaigns/tests/wake.toml", "var/winback.sqlite", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert Snapshot.of(root).digest == before
    assert sorted(Snapshot.of(root).files) == ["campaigns/wake.toml", "config.toml", "templates/hello.email.html"]


def test_the_commit_that_is_checked_out(tmp_path: Path) -> None:
    root = write_shop(tmp_path / "shop", campaigns={"wake": WAKE})
    assert revision(root) is None
    git = ["git", "-C", str(root), "-c", "user.name=Anna", "-c", "user.email=anna@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "First"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert revision(root) == commit
    (root / "config.toml").write_text("# changed\n")
    assert revision(root) == f"{commit}-dirty"
