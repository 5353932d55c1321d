"""Gateways with limits: never more than they say, shared by all dispatchers and kept over restarts; on both databases."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Filed, Scripted, accept
from winback.dispatch import dispatch, limits
from winback.gateways.base import Outcome, Outgoing, Refused, Retry
from winback.scheduler import health, standing
from winback.store import open_engine, reading

ROOT = Path(__file__).parents[2]


def limited(batch: int = 500, **limits: Any) -> dict[str, Any]:
    """Return settings with limits for the one gateway."""
    return {"dispatch": {"batch": batch}, "gateways": {"outbox": {"type": "outbox", **limits}}}


class Time:
    """A clock that goes on while somebody waits for it, and with each message, less with each, as a line gets quicker."""

    def __init__(self, now: datetime, each: float = 0.0) -> None:
        self.now = now
        self.each = timedelta(seconds=each)
        self.sent: list[datetime] = []

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def take(self, message: Outgoing) -> Outcome:
        self.now += self.each
        self.each *= 0.8
        self.sent.append(self.now)
        return accept(message)


def most_within(sent: Sequence[datetime], window: timedelta) -> int:
    """Return how many of some moments lie within the fullest window."""
    ordered = sorted(sent)
    first = most = 0
    for place, at in enumerate(ordered):
        while at - ordered[first] >= window:
            first += 1
        most = max(most, place - first + 1)
    return most


@pytest.mark.parametrize("each", [0.0, 0.3])
def test_no_second_holds_more_than_the_rate(make_house: MakeHouse, now: datetime, each: float) -> None:
    house = make_house(settings=limited(rate="14/s"))
    house.due(45)
    time = Time(now, each)
    assert house.run(Scripted(decide=time.take), clock=time, wait=time.wait).sent == 45
    assert most_within(time.sent, timedelta(seconds=1)) <= 14
    if each == 0.0:
        assert time.now - now < timedelta(seconds=45 / 14 + 1)


def test_several_rates_hold_at_once(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings=limited(rate=["5/s", "20/min", "35/day"]))
    house.due(50)
    time = Time(now)
    result = house.run(Scripted(decide=time.take), clock=time, wait=time.wait)
    assert (result.sent, house.states()) == (35, {"sent": 35, "planned": 15})
    assert most_within(time.sent, timedelta(seconds=1)) == 5
    assert most_within(time.sent, timedelta(minutes=1)) == 20
    # Any 24 hours, wherever they begin: no more at midnight, the rest a day after the first ones.
    assert house.run(Scripted(), at=now + timedelta(hours=23)).sent == 0
    time.now = now + timedelta(days=1, minutes=20)
    house.renew(time.now)
    assert house.run(Scripted(decide=time.take), clock=time, wait=time.wait).sent == 15
    assert most_within(time.sent, timedelta(days=1)) == 35


def test_two_processes_share_one_rate(make_house: MakeHouse, database_url: str, tmp_path: Path) -> None:
    house = make_house(settings=limited(batch=4, rate="30/min"))
    house.due(80)
    world = tmp_path / "world"
    shop, now = str(house.project.root), house.now.isoformat()
    command = [sys.executable, "-m", "tests.dispatch.victim", shop, database_url, now, str(world), "never", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        own = Filed(world)
        while own.arrived == [] and other.poll() is None:
            pass  # until it has begun
        house.run(own)
        said, _ = other.communicate(timeout=60)
    assert "errors=[]" in said, said
    assert len(set(Filed(world).arrived)) == len(Filed(world).arrived) == 30
    assert house.states() == {"sent": 30, "planned": 50}


def test_four_threads_share_one_rate_in_real_time(make_house: MakeHouse, database_url: str) -> None:
    house = make_house(settings=limited(batch=7, rate="30/s"))
    house.due(50)
    sent: list[datetime] = []
    lock = threading.Lock()

    def decide(message: Outgoing) -> Outcome:
        with lock:
            sent.append(datetime.now(UTC))
        return accept(message)

    begun = datetime.now(UTC)
    gateway = Scripted(decide=decide)

    def work(number: int) -> int:
        engine = open_engine(database_url)
        result = dispatch(
            engine,
            house.project,
            worker=f"w{number}",
            clock=lambda: house.now + (datetime.now(UTC) - begun),
            wait=threading.Event().wait,
            gateways={"outbox": gateway},
        )
        engine.dispose()
        assert result.errors == []
        return result.sent

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 50
    assert most_within(sent, timedelta(seconds=1)) <= 30


def test_a_dispatcher_that_may_not_wait_leaves_the_rest(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings=limited(rate="10/min"))
    house.due(25)
    assert house.run(Scripted()).sent == 10
    # A clock that stands still never gets there, however long one waits.
    assert house.run(Scripted(), wait=lambda seconds: None).sent == 0
    assert house.run(Scripted(), at=now + timedelta(seconds=61)).sent == 10


def test_a_gateway_without_limits_does_not_wait_for_one_with(make_house: MakeHouse, now: datetime) -> None:
    tables = limited(batch=5, rate="10/min")
    tables["deliver"] = {"sms": "texts"}
    tables["gateways"]["texts"] = {"type": "outbox"}
    house = make_house(settings=tables)
    house.due(12)
    house.due(15, campaign="care")
    order: list[str] = []

    def decide(message: Outgoing) -> Outcome:
        order.append(message.channel)
        return accept(message)

    time = Time(now)
    gateways = {"outbox": Scripted("outbox", decide), "texts": Scripted("texts", decide)}
    assert house.run(gateways, clock=time, wait=time.wait).sent == 27
    assert Counter(order[:25]) == {"email": 10, "sms": 15}


def test_what_did_not_go_does_not_count(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings=limited(rate="10/day"))
    house.due(30)
    busy = house.run(Scripted(decide=lambda message: Retry("too busy", whole_gateway=True)))
    assert (busy.given_back, house.states()) == (10, {"planned": 30})
    stopping = Scripted()
    assert house.run(stopping, at=now + timedelta(minutes=5), stop=lambda: len(stopping.arrived) == 3).sent == 3
    later = now + timedelta(minutes=10)
    refused = house.run(Scripted(decide=lambda message: Refused("no such mailbox")), at=later)
    assert refused.failed == 7 - _HANDED_BEFORE
    assert house.run(Scripted(), at=later).taken == 0


#: The one message that met the busy gateway had been handed over.
_HANDED_BEFORE = 1


def test_the_campaign_of_higher_precedence_goes_first(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings=limited(rate="10/day"))
    newsletter = house.due(50, message_next_attempt_at=now - timedelta(hours=2))
    gifts = house.due(4, campaign="gift")
    texts = house.due(2, campaign="care")
    gateway = Scripted()
    house.run(gateway)
    assert set(gateway.ids) == {*texts, *gifts, *sorted(newsletter)[:4]}


def test_a_message_of_a_campaign_that_is_gone_does_not_stay_in_the_way(make_house: MakeHouse) -> None:
    house = make_house(settings=limited(rate="10/day"))
    house.due(20)
    del house.project.campaigns["wake"]
    assert house.run(Scripted()).cancelled == 20


def test_a_domain_with_a_rate_holds_nobody_else(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings=limited(batch=20, per_domain={"gmail.com": "6/min", "gmx.de": ["2/s", "5/min"]}))
    for number in range(20):
        house.due(email=f"a{number}@gmail.com")
    for number in range(6):
        house.due(email=f"b{number}@gmx.de")
    for number in range(15):
        house.due(email=f"c{number}@mail.gmail.com")
    house.due(3, campaign="care", email=None)
    gateway = Scripted()
    house.run(gateway)
    domains = Counter(address.rpartition("@")[2] for address in gateway.addresses if "@" in address)
    assert domains == {"gmail.com": 6, "gmx.de": 2, "mail.gmail.com": 15}
    assert len(gateway.arrived) == 26
    time = Time(now)
    at: dict[str, list[datetime]] = {"gmail.com": [], "gmx.de": []}

    def decide(message: Outgoing) -> Outcome:
        at[message.recipient.rpartition("@")[2]].append(time.now)
        return accept(message)

    assert house.run(Scripted(decide=decide), clock=time, wait=time.wait).sent == 18
    assert most_within([now, now, *at["gmx.de"]], timedelta(seconds=1)) <= 2
    assert most_within([now] * 6 + at["gmail.com"], timedelta(minutes=1)) <= 6


def test_a_warm_up_grows_with_the_days_that_used_half_of_it(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings=limited(warmup=[10, 20, 40]))
    house.due(150, message_valid_until=now + timedelta(days=30))

    def sent_on(day: int, hour: float = 0, stop_after: int = 999) -> int:
        gateway = Scripted()
        at = now + timedelta(days=day, hours=hour)
        return house.run(gateway, at=at, stop=lambda: len(gateway.arrived) == stop_after).sent

    assert [sent_on(0), sent_on(0, 1)] == [10, 0]
    assert sent_on(1, stop_after=9) == 9
    assert sent_on(2, stop_after=2) == 2  # the day before used too little of it
    assert [sent_on(2, 13.5), sent_on(3), sent_on(4)] == [20, 0, 40]  # 23:30 in UTC is the next day in Berlin
    assert sent_on(5) == 150 - 81  # all that is left, without a limit


def test_status_says_what_holds_messages_back_and_until_when(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings=limited(rate="100/day", warmup=[10, 20]))
    house.due(15)
    house.run(Scripted())
    at = now + timedelta(hours=1)
    midnight = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)
    with reading(house.engine) as connection:
        rate, tier = limits(connection, house.project, at)
        [waits] = standing.waiting(connection, house.project, at)
        items = [item for item in health(connection, house.project, at) if item.name in ("limit", "overdue")]
    assert (str(rate), rate.used, rate.left, rate.until) == ("100/day", 10, 90, None)
    assert (str(tier), tier.used, tier.left, tier.until) == ("10 on day 1 of 2 of its warm-up", 10, 0, midnight)
    assert (waits.count, waits.until) == (5, midnight)
    assert waits.why == "the gateway outbox sends at most 10 on day 1 of 2 of its warm-up"
    assert [item.name for item in items if item.ok] == ["limit", "overdue"]
