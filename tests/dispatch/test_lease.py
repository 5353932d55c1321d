"""Claims stay their dispatcher's while it lives, however long its batch takes; on both databases."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from tests.dispatch.gateways import Scripted
from tests.dispatch.house import House
from winback.dispatch import lease, recover
from winback.dispatch.lease import Lease
from winback.gateways.base import Accepted, Outcome
from winback.ledger import claim
from winback.store import messages, reading, writing


@pytest.fixture
def elsewhere(house: House, tmp_path: Path) -> House:
    """Give the same shop as another machine has it, which does not see our journals."""
    return House(house.engine, replace(house.project, root=tmp_path / "elsewhere"), house.now)


def _claimed_at(engine: Engine) -> datetime | None:
    with reading(engine) as connection:
        return connection.scalars(select(messages.c.claimed_at)).first()


def test_a_batch_that_takes_long_is_renewed_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_EVERY", timedelta(milliseconds=10))
    house.due()
    begun = time.monotonic()

    def decide(_: object) -> Outcome:
        first = _claimed_at(house.engine)
        while _claimed_at(house.engine) == first:
            assert time.monotonic() - begun < 60, "nobody renews the claim"
        return Accepted("q1")

    # The dispatcher's clock stands still, as that of `winback run --now` does: time passes for the claim all the same.
    assert house.run(Scripted(decide=decide)).sent == 1


def test_what_is_renewed_is_left_alone(house: House, elsewhere: House, now: datetime) -> None:
    house.due(2)
    held = Lease(house.engine, "owner", lambda: now + timedelta(minutes=14))
    held.begin(now)
    with writing(house.engine) as connection:
        claim(connection, worker="owner", now=now, limit=9, channels={"email"})
    held.renew()
    assert recover(house.engine, elsewhere.project, now=now + timedelta(minutes=28)).count == 0
    assert recover(house.engine, elsewhere.project, now=now + timedelta(minutes=29)).uncertain == 2


def test_who_slept_for_long_sends_nothing_that_others_took_meanwhile(
    house: House, elsewhere: House, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.due(4)
    real, slept = time.clock_gettime, timedelta()
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + slept.total_seconds())

    taken: list[int] = []

    def decide(_: object) -> Outcome:
        nonlocal slept
        slept = timedelta(hours=1)
        taken.append(recover(house.engine, elsewhere.project, now=now + slept).uncertain)
        return Accepted("q1")

    house.run(Scripted(decide=decide), clock=lambda: now + slept)
    assert taken == [4]  # asked once: the other three did not go
    assert house.states() == {"sent": 1, "uncertain": 3}
