"""Any number of dispatchers act as one: each message goes once, on both databases."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Filed, Scripted
from tests.dispatch.house import House
from winback.dispatch import dispatch, recover
from winback.store import open_engine

ROOT = Path(__file__).parents[2]


def test_four_threads_send_each_message_once(make_house: MakeHouse, database_url: str) -> None:
    house = make_house(settings={"dispatch": {"batch": 7}})
    ids = house.due(150)
    gateway = Scripted()

    def work(number: int) -> int:
        engine = open_engine(database_url)
        result = dispatch(engine, house.project, worker="same name", clock=lambda: house.now, gateways={"outbox": gateway})
        # What the others leave in their journals is not ours while they live.
        assert recover(engine, house.project, now=house.now, gateways={"outbox": gateway}).count == 0
        engine.dispose()
        assert result.errors == []
        return result.sent

    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(work, range(4)))
    assert sum(sent) == 150
    assert sorted(gateway.ids) == sorted(ids)
    assert house.states() == {"sent": 150}


def test_three_processes_and_a_thread_send_each_message_once(make_house: MakeHouse, database_url: str, tmp_path: Path) -> None:
    house = make_house(settings={"dispatch": {"batch": 5}})
    ids = house.due(120)
    world = tmp_path / "world"
    shop, now = str(house.project.root), house.now.isoformat()
    command = [sys.executable, "-m", "tests.dispatch.victim", shop, database_url, now, str(world), "never", "0"]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    own = Filed(world)
    while own.arrived == [] and all(other.poll() is None for other in others):
        pass  # until one of them has begun
    house.run(own)
    for other in others:
        said, _ = other.communicate(timeout=60)
        assert said.startswith("done"), said
        assert "errors=[]" in said
    assert Counter(own.arrived) == Counter(ids)
    assert house.states() == {"sent": 120}


def test_one_person_never_gets_more_than_the_cap_from_several_at_once(make_house: MakeHouse, database_url: str) -> None:
    """Ten messages to each of twelve people, one allowed; the claims are spread over the dispatchers."""
    house: House = make_house(settings={"dispatch": {"batch": 3}, "limits": {"email": ["1 in 16h"]}})
    for _ in range(10):
        for number in range(12):
            house.due(external_id=f"P{number}")
    gateway = Scripted()

    def work(number: int) -> None:
        engine = open_engine(database_url)
        dispatch(engine, house.project, worker=f"w{number}", clock=lambda: house.now, gateways={"outbox": gateway})
        engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(gateway.addresses) == sorted(f"p{number}@example.com" for number in range(12))
    assert house.states() == {"sent": 12, "skipped": 108}
