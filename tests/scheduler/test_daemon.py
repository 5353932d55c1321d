"""The daemon's clock: it ticks at once and again, also when the system's clock jumps, and it is noticed when it hangs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import Engine, insert, select

from tests.scheduler.shops import WAKE, add_sleepers, make_shop, states
from winback import clock as system_clock
from winback.project import Project
from winback.project.watch import ShopFiles
from winback.scheduler import leases
from winback.scheduler.daemon import HUNG_AFTER, Daemon
from winback.store import import_runs, open_engine, passes, reading, writing
from winback.store.migrate import migrate

_NEVER = timedelta(days=1)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    """Give a database; which one it is has no part in these tests."""
    engine = open_engine(f"sqlite:///{tmp_path}/winback.sqlite")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def shop(sqlite: Engine, tmp_path: Path) -> Project:
    """Give a shop with a campaign and nobody in it."""
    return make_shop(tmp_path / "shop", sqlite.url.render_as_string(), {"wake": WAKE})


@contextmanager
def _running(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        assert daemon.stop(timedelta(seconds=30))


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):  # the clock may be frozen
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def _finished(engine: Engine) -> int:
    with reading(engine) as connection:
        return len(connection.execute(select(passes.c.id).where(passes.c.finished_at.is_not(None))).all())


def _last_pass(engine: Engine) -> datetime | None:
    with reading(engine) as connection:
        return connection.scalar(
            select(passes.c.started_at).where(passes.c.finished_at.is_not(None)).order_by(passes.c.id.desc())
        )


def test_the_first_pass_is_made_at_once_and_the_next_ones_follow(sqlite: Engine, shop: Project) -> None:
    with _running(Daemon(sqlite, ShopFiles(shop.root), worker="test", every=timedelta(milliseconds=50))):
        _wait_until(lambda: _finished(sqlite) >= 3)
    with reading(sqlite) as connection:
        assert leases.look_up(connection, leases.PLANNING) is None  # given back


def test_a_clock_that_is_set_back_does_not_keep_the_next_pass_waiting(sqlite: Engine, shop: Project, now: datetime) -> None:
    with freeze_time(now) as clock, _running(Daemon(sqlite, ShopFiles(shop.root), worker="test", every=_NEVER)) as daemon:
        _wait_until(lambda: _finished(sqlite) == 1)
        daemon.beat()
        clock.move_to(now - timedelta(days=30))
        daemon.beat()
        _wait_until(lambda: _finished(sqlite) == 2)


def test_a_clock_that_jumps_ahead_makes_one_pass_not_many(sqlite: Engine, shop: Project, now: datetime) -> None:
    """As after a suspended night, or when a machine without a battery learns what year it is."""
    with freeze_time(now - timedelta(days=365 * 50)) as clock:
        daemon = Daemon(sqlite, ShopFiles(shop.root), worker="test", every=timedelta(minutes=1))
        with _running(daemon):
            _wait_until(lambda: _finished(sqlite) == 1)
            clock.move_to(now)
            daemon.beat()
            _wait_until(lambda: _last_pass(sqlite) == now)
        assert _finished(sqlite) == 1  # the one of fifty years ago is forgotten


def test_a_pass_that_hangs_is_told_and_loses_the_lead(
    sqlite: Engine, shop: Project, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, freeze_time(now) as clock:
        systemd.bind(address)
        systemd.settimeout(10)
        daemon = Daemon(sqlite, ShopFiles(shop.root), worker="test", every=_NEVER)
        daemon.beat()
        assert systemd.recv(100) == b"WATCHDOG=1"
        with writing(sqlite):  # somebody holds the database
            daemon.start()
            _wait_until(lambda: _hangs_after_a_while(clock, daemon))
            daemon.beat()
            systemd.setblocking(False)
            with pytest.raises(BlockingIOError):
                systemd.recv(100)
        systemd.settimeout(10)
        _wait_until(lambda: not daemon.busy)
        daemon.beat()
        assert systemd.recv(100) == b"WATCHDOG=1"
        assert daemon.stop(timedelta(seconds=30))


def _hangs_after_a_while(clock: FrozenDateTimeFactory, daemon: Daemon) -> bool:
    clock.tick(HUNG_AFTER + timedelta(seconds=1))
    return daemon.hangs


def test_stopping_waits_for_what_is_in_hand_and_says_when_that_takes_too_long(sqlite: Engine, shop: Project) -> None:
    daemon = Daemon(sqlite, ShopFiles(shop.root), worker="test", every=_NEVER)
    with writing(sqlite):
        daemon.start()
        _wait_until(lambda: daemon.busy)
        assert not daemon.stop(timedelta(seconds=0.2))
    assert daemon.stop(timedelta(seconds=30))


def test_sending_for_long_gives_planning_its_turn(sqlite: Engine, tmp_path: Path, now: datetime) -> None:
    shop = make_shop(tmp_path / "shop", "", {"wake": WAKE}, settings={"dispatch": {"batch": 2}})
    add_sleepers(sqlite, 10, now)
    with freeze_time(now) as clock:

        def slowly() -> datetime:
            clock.tick(timedelta(seconds=40))
            return system_clock.now()

        daemon = Daemon(sqlite, ShopFiles(shop.root), worker="test", every=_NEVER, now=slowly)
        with _running(daemon):
            # At rest before it is stopped: this clock would run out on the stopping, too.
            _wait_until(lambda: states(sqlite) == {"sent": 10} and not daemon.busy)
    assert 1 < _finished(sqlite) < 10


def test_everybody_is_asked_once_an_hour_and_after_an_import(sqlite: Engine, shop: Project, now: datetime) -> None:
    clock = [now]
    daemon = Daemon(sqlite, ShopFiles(shop.root), worker="test", now=lambda: clock[0])

    def enrolled(after: timedelta) -> int:
        clock[0] = now + after
        outcome = daemon.tick()
        assert outcome is not None
        assert outcome.errors == []
        return outcome.enrolled

    add_sleepers(sqlite, 1, now)
    assert enrolled(timedelta()) == 1
    add_sleepers(sqlite, 2, now, prefix="A")
    assert enrolled(timedelta(minutes=1)) == 0
    with writing(sqlite) as connection:
        connection.execute(insert(import_runs).values(kind="customers", source="more.csv", started_at=now))
    assert enrolled(timedelta(minutes=2)) == 2
    add_sleepers(sqlite, 3, now, prefix="B")
    assert enrolled(timedelta(minutes=61)) == 0
    assert enrolled(timedelta(minutes=62)) == 3
