"""One of several daemons plans; another takes over within a minute when it is gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

from freezegun import freeze_time
from sqlalchemy import Engine

from tests.scheduler.shops import WAKE, add_sleepers, make_shop, states
from winback.project.watch import ShopFiles
from winback.scheduler import leases
from winback.scheduler.daemon import Daemon
from winback.scheduler.leases import hold, look_up, release
from winback.store import open_engine, reading


def test_one_holds_it_and_renews_it(engine: Engine, now: datetime) -> None:
    assert hold(engine, "planning", "a", now)
    assert not hold(engine, "planning", "b", now)
    assert hold(engine, "planning", "a", now + timedelta(seconds=40))
    assert not hold(engine, "planning", "b", now + timedelta(seconds=80))  # 40 seconds after the renewal
    assert hold(engine, "other", "b", now)


def test_who_is_not_heard_of_loses_it_within_a_minute(engine: Engine, now: datetime) -> None:
    assert hold(engine, "planning", "a", now)
    slowest = leases.LIFE + leases.RENEW_EVERY  # the successor asks as often as the holder renews
    assert slowest <= timedelta(minutes=1)
    assert hold(engine, "planning", "b", now + leases.LIFE)
    assert not hold(engine, "planning", "a", now + leases.LIFE)


def test_who_gives_it_back_makes_room_at_once(engine: Engine, now: datetime) -> None:
    assert hold(engine, "planning", "a", now)
    release(engine, "planning", "b")  # not theirs
    assert not hold(engine, "planning", "b", now)
    release(engine, "planning", "a")
    with reading(engine) as connection:
        assert look_up(connection, "planning") is None
    assert hold(engine, "planning", "b", now)


def test_a_lease_from_a_wrong_clock_does_not_last_until_that_time_comes(engine: Engine, now: datetime) -> None:
    assert hold(engine, "planning", "a", now + timedelta(days=365))
    with reading(engine) as connection:
        held = look_up(connection, "planning")
    assert held is not None
    assert not held.is_alive(now)
    assert hold(engine, "planning", "b", now)
    assert not hold(engine, "planning", "a", now + timedelta(seconds=1))


def test_of_many_at_once_one_gets_it(database_url: str, now: datetime) -> None:
    def race(name: str) -> bool:
        engine = open_engine(database_url)
        try:
            return hold(engine, "planning", name, now)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(race, "abcdef"))
    assert sum(won) == 1


def test_the_second_daemon_sends_and_takes_over_planning(
    engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    add_sleepers(engine, 3, now)
    first, second = (Daemon(engine, ShopFiles(project.root), worker=name) for name in ("first", "second"))
    with freeze_time(now) as clock:
        assert first.tick() is not None
        assert states(engine) == {"sent": 3}
        add_sleepers(engine, 2, now, prefix="T")
        clock.move_to(now + timedelta(seconds=20))
        waiting = second.tick()
        assert waiting is not None
        assert waiting.plan is None
        # The first one is killed: it never says goodbye.
        clock.move_to(now + timedelta(seconds=60))
        leading = second.tick()
        assert leading is not None
        assert (leading.planned, leading.sent) == (2, 2)
        late = first.tick()  # it was only suspended, and comes back
        assert late is not None
        assert late.plan is None
    assert states(engine) == {"sent": 5}
