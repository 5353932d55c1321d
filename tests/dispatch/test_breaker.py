"""A gateway that had trouble is tried with one message, by one dispatcher, and longer left alone each time; on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted, accept
from tests.dispatch.house import House
from winback.gateways.base import Outcome, Outgoing, Refused, Retry, Unknown
from winback.scheduler import health
from winback.store import gateway_states, reading


def busy(message: Outgoing) -> Outcome:
    """Answer for everybody."""
    return Retry("the server is busy", whole_gateway=True)


def told(house: House, at: datetime) -> tuple[bool, str]:
    """Return what is said of the one gateway that had trouble."""
    with reading(house.engine) as connection:
        [item] = [item for item in health(connection, house.project, at) if item.name == "gateway"]
    return item.ok, item.message


@pytest.fixture
def troubled(make_house: MakeHouse) -> House:
    """Give a shop with nine messages due whose gateway has just had trouble."""
    house = make_house()
    house.due(9)
    house.run(Scripted(decide=busy))
    return house


def test_one_message_tries_it_and_the_others_follow(troubled: House, now: datetime) -> None:
    at = now + timedelta(minutes=1)
    assert told(troubled, now) == (False, "the gateway outbox is left alone until 11:01: the server is busy")
    assert told(troubled, at) == (True, "the gateway outbox had trouble, and the next message tries it: the server is busy")
    states: list[dict[str, int]] = []

    def decide(message: Outgoing) -> Outcome:
        states.append(troubled.states())
        if len(states) == 1:
            assert told(troubled, at)[1] == "the gateway outbox is tried with one message since 11:01: the server is busy"
            other = troubled.run(Scripted(decide=busy), at=at)
            assert (other.taken, [pause.reason for pause in other.pauses]) == (0, ["the server is busy"])
        return accept(message)

    assert troubled.run(Scripted(decide=decide), at=at).sent == 9
    assert [state["sending"] for state in states[:2]] == [1, 8]
    assert troubled.pause() is None


@pytest.mark.parametrize("outcome", [Refused("no such mailbox"), Retry("mailbox full")])
def test_a_trial_that_is_decided_on_opens_the_way(troubled: House, now: datetime, outcome: Outcome) -> None:
    result = troubled.run(Scripted(decide=lambda message: outcome), at=now + timedelta(minutes=1))
    assert result.taken == 9
    assert troubled.pause() is None


def test_a_trial_without_an_answer_is_not_repeated_at_once(troubled: House, now: datetime) -> None:
    at = now + timedelta(minutes=1)
    result = troubled.run(Scripted(decide=lambda message: Unknown("no reply in time")), at=at)
    assert (result.taken, result.uncertain) == (1, 1)
    assert troubled.run(Scripted(), at=at + timedelta(minutes=1)).taken == 0
    assert troubled.run(Scripted(), at=at + timedelta(minutes=2)).sent == 8


def test_a_trial_that_was_stopped_before_it_began_holds_nobody_up(troubled: House, now: datetime) -> None:
    at = now + timedelta(minutes=1)
    assert troubled.run(Scripted(), at=at, stop=lambda: "sending" in troubled.states()).given_back == 1
    with reading(troubled.engine) as connection:
        assert connection.execute(select(gateway_states.c.paused_until, gateway_states.c.probed_at)).one() == (at, None)
    assert troubled.run(Scripted(), at=at).sent == 9
