"""A campaign that bounces or brings complaints too often is paused by itself, never by small numbers; on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update
from typer.testing import CliRunner

from tests.dispatch.gateways import Scripted, accept
from tests.dispatch.house import House, build
from winback.cli import app
from winback.gateways.base import Outcome, Outgoing, Refused
from winback.plan import explain
from winback.policy import pause_by_results, resume
from winback.scheduler import health, run_pass, standing
from winback.store import campaign_states, messages, reading, receipts, writing

MakeHouse = Callable[..., House]


@pytest.fixture
def make_house(tmp_path: Path, engine: Engine, now: datetime) -> MakeHouse:
    """Give a function that makes a shop whose campaigns are known to the database."""

    def make(**pause: Any) -> House:
        house = build(tmp_path / "shop", engine, now, settings={"pause": {"bounces_from": 40, "complaints_from": 100, **pause}})
        with writing(engine) as connection:
            connection.execute(
                insert(campaign_states),
                [{"name": name, "live_since": now, "definition_hash": ""} for name in house.project.campaigns],
            )
        return house

    return make


def send(house: House, number: int, bounced: int = 0, *, at: datetime | None = None, **columns: Any) -> list[str]:
    """Write messages that were sent, of which so many came back."""
    ids = house.due(number, **columns)
    with writing(house.engine) as connection:
        sent = {"state": "sent", "sent_at": at or house.now - timedelta(hours=1)}
        connection.execute(update(messages).where(messages.c.id.in_(ids)).values(**sent))
        back = {"state": "bounced", "reason": "hard_bounce"}
        connection.execute(update(messages).where(messages.c.id.in_(ids[:bounced])).values(**back))
    return ids


def complain(house: House, ids: list[str]) -> None:
    with writing(house.engine) as connection:
        rows = [
            {"gateway": "g", "provider_id": id_, "kind": "complained", "message_id": id_, "at": house.now, "raw": {}}
            for id_ in ids
        ]
        connection.execute(insert(receipts), rows)


def paused(house: House, at: datetime | None = None) -> dict[str, str]:
    with writing(house.engine) as connection:
        return {each.campaign: each.reason for each in pause_by_results(connection, house.project, at or house.now)}


def test_bounces_pause_their_campaign_and_no_other(make_house: MakeHouse) -> None:
    house = make_house()
    send(house, 60, 3)
    send(house, 60, 2, campaign="gift")
    assert paused(house) == {
        "wake": "by winback, because 3 of 60 messages of 24 hours came back for good (5 %; it pauses at 5 %)"
    }
    assert paused(house) == {}  # once is enough


def test_small_numbers_old_ones_and_those_of_a_trial_pause_nothing(make_house: MakeHouse, now: datetime) -> None:
    house = make_house()
    send(house, 39, 39)
    send(house, 50, 50, campaign="gift", at=now - timedelta(hours=25))
    send(house, 50, 50, campaign="care", message_redirected=True)
    assert paused(house) == {}


def test_complaints_pause_a_campaign(make_house: MakeHouse) -> None:
    house = make_house(complaints="2%")
    complain(house, send(house, 100)[:1])
    assert paused(house) == {}
    complain(house, send(house, 50)[:2])
    assert paused(house) == {
        "wake": "by winback, because 3 of 150 messages of 24 hours brought a complaint (2 %; it pauses at 2 %)"
    }


def test_off_is_off(make_house: MakeHouse) -> None:
    house = make_house(bounces="off", complaints="off")
    complain(house, send(house, 100, 50)[:50])
    assert paused(house) == {}


def test_addresses_that_are_refused_at_once_count_too(make_house: MakeHouse, now: datetime) -> None:
    house = make_house()
    bad = set(house.due(5))
    house.due(45)

    def decide(message: Outgoing) -> Outcome:
        dead = message.message_id in bad
        return Refused("no such mailbox", hard_bounce=True) if dead and message.channel == "email" else accept(message)

    house.run(Scripted(decide=decide))
    assert list(paused(house, now + timedelta(minutes=1))) == ["wake"]


def test_after_it_was_resumed_it_begins_anew(make_house: MakeHouse, now: datetime) -> None:
    house = make_house()
    send(house, 60, 30)
    assert list(paused(house)) == ["wake"]
    with writing(house.engine) as connection:
        assert resume(connection, house.project.campaigns["wake"], now)
        assert not resume(connection, house.project.campaigns["wake"], now)
    assert paused(house) == {}
    later = now + timedelta(hours=2)
    send(house, 39, 39, at=later)
    assert paused(house, later) == {}
    send(house, 1, 0, at=later)
    assert list(paused(house, later)) == ["wake"]


def test_it_is_seen_everywhere_and_lifted_by_a_command(
    make_house: MakeHouse, now: datetime, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house()
    send(house, 60, 30)
    house.due(2, external_id="P1")
    outcome = run_pass(house.engine, house.project, now, "test")
    [done] = outcome.paused
    assert outcome.errors == []
    assert (done.campaign, house.states()["planned"]) == ("wake", 2)
    with reading(house.engine) as connection:
        told = explain(connection, house.project, "wake", "P1", now)
        [item] = [item for item in health(connection, house.project, now) if item.name == "campaign"]
        later = now + timedelta(hours=1)
        waiting = standing.waiting(connection, house.project, later)
    live = next(check for check in told.checks if check.rule == "live")
    assert (live.passed, live.values["why"]) == (False, done.reason)
    assert not item.ok
    assert done.reason in item.message
    assert item.remedy.startswith("winback resume wake")
    assert [(each.count, each.why) for each in waiting] == [
        (2, f"the campaign is paused {done.reason}; to let it go on: winback resume wake")
    ]
    monkeypatch.setenv("WINBACK_DATABASE_URL", database_url)

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--shop", str(house.project.root)])
        assert done.exit_code == 0, done.output
        return done.output

    assert json.loads(command("preview", "wake", "--at", now.isoformat(), "-o", "json"))["pause_reason"] == done.reason
    assert "goes on" in command("resume", "wake")
    assert "was not paused" in command("resume", "wake")
    command("pause", "wake")
    with reading(house.engine) as connection:
        query = select(campaign_states.c.pause_reason).where(campaign_states.c.name == "wake")
        assert connection.scalar(query) == "by a person, on the command line"
