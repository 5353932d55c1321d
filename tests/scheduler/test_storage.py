"""When nothing can be written down, nothing is sent; `winback status` says why, and all goes on by itself afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import Engine, text

from tests.scheduler.processes import Started, as_json, started, wait_until, winback
from tests.scheduler.shops import WAKE, add_sleepers, make_shop, states
from tests.servers.postgres import postgres
from tests.servers.smtp import SmtpServer, smtp_server
from winback.project.watch import ShopFiles
from winback.scheduler import health
from winback.scheduler.daemon import Daemon
from winback.store import open_engine, reading
from winback.store.migrate import migrate


def _relay(server: SmtpServer, batch: int) -> dict[str, Any]:
    """Return the settings of a shop that sends through a server on loopback."""
    relay = {"type": "smtp", "host": server.host, "port": server.port, "tls": "none", "connections": 2}
    return {
        "gateways": {"relay": relay},
        "deliver": {"email": "relay"},
        "web": {"public_url": "https://mail.halfnote.example"},
        "dispatch": {"batch": batch},
    }


def _received(server: SmtpServer) -> Counter[str]:
    return Counter(message.recipient for message in server.messages)


def _failures(daemon: Started, *words: str) -> int:
    """Count the times that a pass failed and said so, in one way or another."""
    errors = [line for line in daemon.said.splitlines() if " pass.error " in line]
    return sum(any(each in line for each in words) for line in errors)


def _wrong(root: Path, database_url: str) -> dict[str, str]:
    """Return what `winback status` finds wrong, and what to do, by name."""
    done = winback(root, database_url, "status", "-o", "json")
    assert done.returncode == 1, done.stderr
    return {item["name"]: f"{item['message']} ({item['remedy']})" for item in as_json(done)["health"] if not item["ok"]}


def _all_once(server: SmtpServer, engine: Engine, count: int) -> None:
    assert states(engine) == {"sent": count}
    assert len(_received(server)) == count
    assert set(_received(server).values()) == {1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def _fill(path: Path) -> None:
    """Write a file until not a byte more has room."""
    with path.open("wb", buffering=0) as stream:
        for size in (65536, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                pass


def test_a_full_disk_stops_sending_and_leaves_nothing_uncertain(small_disk: Path, tmp_path: Path, sqlite_schema: Path) -> None:
    count, url = 150, f"sqlite:///{small_disk}/winback.sqlite"
    shutil.copy(sqlite_schema, small_disk / "winback.sqlite")
    engine = open_engine(url)
    with smtp_server(slow=0.02) as server:
        root = make_shop(small_disk / "shop", url, {"wake": WAKE}, settings=_relay(server, batch=50)).root
        add_sleepers(engine, count, datetime.now(UTC))
        with started(root, url, "daemon", "--no-web", "--every", "1s", log=tmp_path / "log") as daemon:
            wait_until(lambda: len(server.messages) >= 20, daemon)
            _fill(small_disk / "ballast")
            # The database's log may have room in itself for a while; no other file has.
            full = ("database or disk is full (make room on the disk)", "No space left on device")
            wait_until(lambda: _failures(daemon, *full) >= 2, daemon)
            gone = len(server.messages)
            assert gone < count
            wrong = _wrong(root, url)
            assert wrong["database"].startswith("the disk is full: 0.0 MB are free in ")
            assert "nothing is planned or sent (make room" in wrong["database"]
            assert len(server.messages) == gone
            (small_disk / "ballast").unlink()
            wait_until(lambda: states(engine) == {"sent": count}, daemon)
        _all_once(server, engine, count)
    engine.dispose()


def _mortal() -> list[str]:
    """Return the program that runs another without root's right to write to everything; nothing for who has none."""
    if os.geteuid() != 0:
        return []
    program = shutil.which("setpriv")
    if program is None:
        pytest.skip("root may write everywhere, and setpriv is not installed")
    return [program, "--bounding-set=-dac_override,-fowner"]


def test_a_database_that_cannot_be_written_sends_nothing_until_it_can(tmp_path: Path, sqlite_schema: Path) -> None:
    file = tmp_path / "winback.sqlite"
    url = f"sqlite:///{file}"
    shutil.copy(sqlite_schema, file)
    engine = open_engine(url)
    with smtp_server() as server:
        root = make_shop(tmp_path / "shop", url, {"wake": WAKE}, settings=_relay(server, batch=50)).root
        add_sleepers(engine, 3, datetime.now(UTC))
        engine.dispose()  # the write-ahead log goes into the file
        file.chmod(0o444)
        with started(root, url, "daemon", "--no-web", "--every", "1s", prefix=_mortal()) as daemon:
            readonly = (
                "attempt to write a readonly database (let this user write to the file, to those beside it that end in -wal"
            )
            wait_until(lambda: _failures(daemon, readonly) >= 2, daemon)
            status = winback(root, url, "status", "-o", "json", prefix=_mortal())
            assert status.returncode == 1
            [item] = [item for item in as_json(status)["health"] if item["name"] == "database"]
            assert item["message"].endswith("attempt to write a readonly database; nothing is planned or sent")
            assert server.messages == []
            for each in tmp_path.glob("winback.sqlite*"):  # SQLite gave those beside it the rights of the file
                each.chmod(0o644)
            wait_until(lambda: len(server.messages) == 3, daemon)
            wait_until(lambda: states(engine) == {"sent": 3}, daemon)
        _all_once(server, engine, 3)
    engine.dispose()


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named_at_once(tmp_path: Path, sqlite_schema: Path) -> None:
    folder = tmp_path / "database"
    folder.mkdir()
    shutil.copy(sqlite_schema, folder / "winback.sqlite")
    root = make_shop(tmp_path / "shop", "", {"wake": WAKE}).root
    folder.chmod(0o555)
    for command in ("run", "status"):
        done = winback(root, f"sqlite:///{folder}/winback.sqlite", command, prefix=_mortal())
        assert done.returncode == 2
        assert f"The database {folder}/winback.sqlite cannot be used: " in done.stderr
        assert "let this user write to " in done.stderr
    folder.chmod(0o755)


@contextmanager
def _held(file: Path) -> Iterator[None]:
    """Let another process hold the right to write to a SQLite file."""
    program = (
        f"import sqlite3, sys; c = sqlite3.connect({str(file)!r}, isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield
        other.communicate()  # it ends with its input


def test_a_database_that_another_program_holds_is_waited_for(tmp_path: Path, now: datetime, sqlite_schema: Path) -> None:
    file = tmp_path / "winback.sqlite"
    shutil.copy(sqlite_schema, file)
    engine = open_engine(f"sqlite:///{file}?timeout=0.2")  # a minute, else
    project = make_shop(tmp_path / "shop", str(engine.url), {"wake": WAKE})
    daemon = Daemon(engine, ShopFiles(project.root), worker="d1")
    later = now + timedelta(minutes=1)
    with freeze_time(now) as clock:
        first = daemon.tick()
        assert first is not None
        assert first.errors == []
        add_sleepers(engine, 2, now)
        clock.move_to(later)
        with _held(file):
            outcome = daemon.tick()
            assert outcome is not None
            assert outcome.errors == [
                "the database failed: database is locked (another program holds it; close that one, or wait and try again)"
            ]
            assert states(engine) == {}
            with reading(engine) as connection:
                [item] = [item for item in health(connection, project, later) if not item.ok]
            assert "the daemon d1 cannot say that it runs" in item.message
            assert item.message.endswith("database is locked; nothing is planned or sent")
            assert item.remedy.endswith("; the daemon goes on by itself")
        daemon.tick()
    assert states(engine) == {"sent": 2}
    engine.dispose()


def _stop(server: Any) -> None:
    """End a server at once, as a crash would, and with it every connection."""
    running = server.get_postmaster_info().process
    os.kill(running.pid, signal.SIGQUIT)
    running.wait(60)


@pytest.fixture
def own_server() -> Iterator[Any]:
    """Give a PostgreSQL server that may be stopped."""
    with postgres() as server:
        yield server


def test_a_server_that_drops_its_connections_and_is_started_anew(own_server: Any, tmp_path: Path) -> None:
    count, url = 150, own_server.get_uri()
    engine = open_engine(url)
    migrate(engine)
    with smtp_server(slow=0.02) as server:
        root = make_shop(tmp_path / "shop", url, {"wake": WAKE}, settings=_relay(server, batch=30)).root
        add_sleepers(engine, count, datetime.now(UTC))
        with started(root, url, "daemon", "--no-web", "--every", "1s") as daemon:
            wait_until(lambda: len(server.messages) >= 10, daemon)
            with engine.begin() as connection:
                others = "datname = current_database() AND pid <> pg_backend_pid()"
                connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
            wait_until(lambda: len(server.messages) >= 50, daemon)
            _stop(own_server)
            wait_until(lambda: _failures(daemon, "start PostgreSQL there") >= 2, daemon)
            gone = len(server.messages)
            assert gone < count
            status = winback(root, url, "status")
            assert (status.returncode, status.stdout) == (2, "")
            assert "start PostgreSQL there" in status.stderr
            assert len(server.messages) == gone
            own_server.ensure_postgres_running()
            wait_until(lambda: _settled(engine) == count, daemon)
        _all_once(server, engine, count)
    engine.dispose()


def _settled(engine: Engine) -> int:
    found = states(engine)
    return found["sent"] + found["uncertain"]
