"""Real processes on one database: several at once, killed, stopped, and asked how it stands."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select

from tests.project.builder import campaign, email_step, write_shop
from tests.scheduler.processes import PATIENCE, as_json, started, wait_until, winback
from tests.scheduler.shops import WAKE, add_sleepers, in_outbox, make_shop, rows, states, times_sent
from tests.servers.smtp import Answer, Event, Hang, SmtpServer, smtp_server
from winback.scheduler import run_pass
from winback.store import consents, leases, open_engine, reading, writing


def _relay(server: SmtpServer, **settings: Any) -> dict[str, Any]:
    """Return the settings of a shop that sends through a server on loopback."""
    return {
        "gateways": {"relay": {"type": "smtp", "host": server.host, "port": server.port, "tls": "none"}},
        "deliver": {"email": "relay"},
        "web": {"public_url": "https://mail.halfnote.example"},
        **settings,
    }


def _received(server: SmtpServer) -> Counter[str]:
    return Counter(message.recipient for message in server.messages)


def _now() -> datetime:
    return datetime.now(UTC)


def test_two_runs_and_a_daemon_at_once_send_each_message_once(engine: Engine, database_url: str, tmp_path: Path) -> None:
    count = 120
    with smtp_server() as server:
        project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings=_relay(server, dispatch={"batch": 7}))
        add_sleepers(engine, count, _now())
        with (
            started(project.root, database_url, "daemon", "--port", "0", "--every", "1s") as daemon,
            started(project.root, database_url, "run") as one,
            started(project.root, database_url, "run") as other,
        ):
            assert (one.wait(), other.wait()) == (0, 0), (one.said, other.said)
            wait_until(lambda: states(engine) == {"sent": count}, daemon)
            wait_until(lambda: "pass.finished" in daemon.said, daemon)
            daemon.tell(signal.SIGTERM)
            assert daemon.wait() == 0, daemon.said
    assert set(_received(server).values()) == {1}
    assert len(_received(server)) == count
    assert set(times_sent(engine).values()) == {1}


class _Stalling:
    """An SMTP server that takes so many messages, and from then on takes them without ever answering."""

    def __init__(self, after: int) -> None:
        self._after = after
        self._ended = 0
        self._lock = threading.Lock()
        self.stalled = threading.Event()
        self.mended = False

    def __call__(self, event: Event) -> Answer:
        if event.verb != "END" or self.mended:
            return None
        with self._lock:
            self._ended += 1
            if self._ended <= self._after:
                return None
        self.stalled.set()
        return Hang(keep=True)


def test_after_a_kill_nothing_is_lost_nothing_goes_twice_and_what_was_in_flight_is_listed(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    count, stalling = 40, _Stalling(after=15)
    with smtp_server(script=stalling) as server:
        project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings=_relay(server, dispatch={"batch": 10}))
        add_sleepers(engine, count, _now())
        with started(project.root, database_url, "run") as run:
            wait_until(stalling.stalled.is_set, run)
            run.tell(signal.SIGKILL)
            run.wait()
        assert states(engine)["sending"] > 0
        stalling.mended = True
        server.close_connections()
        assert run_pass(engine, project, _now(), "again").errors == []
    after = states(engine)
    assert set(after) == {"sent", "uncertain"}
    assert after.total() == count
    # The server took each once at most, and all that the ledger calls sent.
    assert set(_received(server).values()) == {1}
    sent = {f"{name.lower()}@example.com" for name, state in rows(engine, "external_id", "state") if state == "sent"}
    assert sent <= set(_received(server))
    status = winback(project.root, database_url, "status", "-o", "json")
    assert status.returncode == 1
    listed = {each["customer"] for each in as_json(status)["uncertain"]}
    assert listed == {name for name, state in rows(engine, "external_id", "state") if state == "uncertain"}
    assert [item["name"] for item in as_json(status)["health"] if not item["ok"]] == ["uncertain"]


@pytest.mark.parametrize(("backend", "processes"), [("sqlite", 1), ("postgresql", 2)])
def test_a_daemon_stops_within_ten_seconds_and_leaves_nothing_in_hand(
    engine: Engine, database_url: str, tmp_path: Path, processes: int
) -> None:
    count = 300
    dispatching = {"batch": 500 if processes == 1 else 100, "processes": processes}
    with smtp_server(slow=0.02) as server:
        project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings=_relay(server, dispatch=dispatching))
        add_sleepers(engine, count, _now())
        with started(project.root, database_url, "daemon", "--port", "0") as daemon:
            wait_until(lambda: len(server.messages) >= 5, daemon)
            assert states(engine)["sending"] > 0
            began = time.monotonic()
            daemon.tell(signal.SIGTERM)
            assert daemon.wait() == 0, daemon.said
            assert time.monotonic() - began < 10
        after = states(engine)
        assert after["sending"] == 0
        assert (after["sent"], after["planned"]) == (len(server.messages), count - len(server.messages))
        assert 0 < after["sent"] < count
    with reading(engine) as connection:
        assert connection.execute(select(leases)).all() == []
    assert "clean=yes" in daemon.said
    assert not [word for word in ("@example.com", "Ada", "S0001") if word in daemon.said]


def test_the_daemon_serves_pages_and_one_click_ends_it_for_that_person(engine: Engine, database_url: str, tmp_path: Path) -> None:
    steps = [email_step("hello"), email_step("offer", after="7d")]
    wake = campaign(title="Wake", audience={"preset": "sleeping", "inactive": "90d"}, steps=steps)
    root = make_shop(tmp_path / "shop", database_url, {"wake": wake}).root
    now = _now()
    add_sleepers(engine, 2, now)
    with started(root, database_url, "daemon", "--port", "0", "--every", "1s") as daemon:
        wait_until(lambda: states(engine) == {"sent": 2}, daemon)
        address = daemon.fields("daemon.started")["pages"]
        [letter] = [file for file in (root / "var/outbox").glob("*/*.eml") if b"s0000@example.com" in file.read_bytes()]
        message = message_from_bytes(letter.read_bytes())
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        path = message["List-Unsubscribe"].split("<http")[1].split(">")[0].split("/", 3)[3]
        before = _everything(engine)
        with httpx.Client(base_url=address, timeout=30) as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            assert client.get("/").status_code == 200
            # What a scanner does: it looks at the link, again and again.
            assert [client.get(f"/{path}").status_code for _ in range(3)] == [200] * 3
            assert _everything(engine) == before
            done = client.post(f"/{path}", data={"List-Unsubscribe": "One-Click"})
            assert done.status_code == 200
        daemon.tell(signal.SIGINT)
        assert daemon.wait() == 0, daemon.said
    run = winback(root, database_url, "run", "--now", (now + timedelta(days=7, minutes=5)).isoformat(), "-o", "json")
    assert run.returncode == 0, run.stderr
    assert as_json(run)["sent"] == 1
    assert in_outbox(root) == {"s0000@example.com": 1, "s0001@example.com": 2}
    assert rows(engine, "external_id", "step", "state", "reason")[-2:] == [
        ("S0000", "offer", "skipped", "no_consent"),
        ("S0001", "offer", "sent", None),
    ]


def _everything(engine: Engine) -> tuple[Any, ...]:
    """Return what a look at a link must not change."""
    with reading(engine) as connection:
        return tuple(connection.execute(select(consents))), tuple(rows(engine, "external_id", "state"))


_LINE = re.compile(r'[0-9T:.-]+Z [a-z]+\.[a-z]+( [a-z_]+=("([^"\\]|\\.)*"|[^ "=]+))*')


def test_a_service_without_pages_tells_systemd_and_writes_a_log_that_programs_can_read(tmp_path: Path) -> None:
    root = write_shop(tmp_path / "shop", campaigns={"wake": WAKE})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address := str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        with started(root, "", "daemon", "--no-web", "--every", "1s", variables={"NOTIFY_SOCKET": address}) as daemon:
            assert systemd.recv(100) == b"READY=1"
            wait_until(lambda: daemon.said.count("pass.finished") >= 2, daemon)
            daemon.tell(signal.SIGTERM)
            assert systemd.recv(100) == b"STOPPING=1"
            assert daemon.wait() == 0
    assert [line for line in daemon.said.splitlines() if not _LINE.fullmatch(line)] == []
    assert daemon.fields("daemon.started")["pages"] == "none"


#: The command itself, with half an hour made short.
_IMPATIENT = """
import sys
from datetime import timedelta
from winback.cli import main
from winback.scheduler import daemon
daemon.HUNG_AFTER = timedelta(seconds=2)
main()
"""


def test_a_daemon_whose_pass_hangs_starts_itself_anew(tmp_path: Path, sqlite_schema: Path) -> None:
    file = tmp_path / "winback.sqlite"
    shutil.copy(sqlite_schema, file)
    engine = open_engine(url := f"sqlite:///{file}")
    root = make_shop(tmp_path / "shop", url, {"wake": WAKE}).root
    add_sleepers(engine, 2, _now())
    command = [sys.executable, "-c", _IMPATIENT]
    with started(root, url, "daemon", "--port", "0", "--every", "1s", command=command) as daemon:
        wait_until(lambda: "pass.finished" in daemon.said, daemon)
        with writing(engine):  # the pass waits for this
            wait_until(lambda: "daemon.restarting" in daemon.said, daemon)
        wait_until(lambda: daemon.said.count("daemon.started") >= 2, daemon)
        wait_until(lambda: daemon.said.rpartition("daemon.started")[2].count("pass.finished") >= 1, daemon)
        daemon.tell(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.said
    assert states(engine) == {"sent": 2}
    engine.dispose()
