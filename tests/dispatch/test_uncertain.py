"""A message whose answer never came waits for a person, or goes once more: as its campaign says. On both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email import message_from_bytes

import pytest

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted
from tests.dispatch.house import WAKE, House
from tests.servers.smtp import Answer, Close, Event, SmtpServer, smtp_server
from winback.dispatch import recover
from winback.dispatch.journal import Handover, Journal
from winback.gateways.base import Unknown
from winback.ledger import claim
from winback.store import writing

RESENDING = {**WAKE, "on_uncertain": "resend"}

MakeServed = Callable[[int], tuple[House, SmtpServer]]


@pytest.fixture
def served(make_house: MakeHouse) -> Iterator[MakeServed]:
    """Give a function that makes a shop whose mail server takes so many messages without an answer, and then answers."""
    silent = 0

    def script(event: Event) -> Answer:
        nonlocal silent
        if event.verb != "END" or not silent:
            return None
        silent -= 1
        return Close(keep=True)

    with smtp_server(script=script) as server:

        def make(number: int) -> tuple[House, SmtpServer]:
            nonlocal silent
            silent = number
            relay = {"type": "smtp", "host": server.host, "port": server.port, "tls": "none", "hostname": "shop.example.com"}
            settings = {"deliver": {"email": "relay"}, "gateways": {"relay": relay}}
            return make_house(settings=settings, wake=RESENDING), server

        yield make


def test_it_goes_once_more_under_the_same_message_id(served: MakeServed) -> None:
    house, server = served(1)
    [message] = house.due()
    result = house.run()
    assert (result.taken, result.uncertain, result.retrying) == (1, 0, 1)
    row = house.row(message)
    assert (row.state, row.reason, row.attempts, row.gateway) == ("planned", "resent", 1, "relay")
    assert timedelta(minutes=1) <= row.next_attempt_at - house.now <= timedelta(minutes=1.2)
    assert house.run(at=row.next_attempt_at).sent == 1
    first, second = (message_from_bytes(each.content) for each in server.messages)
    assert first["Message-ID"] == second["Message-ID"]
    assert [edge[:2] for edge in house.history(message)[1:]] == [
        ("planned", "sending"),
        ("sending", "uncertain"),
        ("uncertain", "planned"),
        ("planned", "sending"),
        ("sending", "sent"),
    ]


def test_a_server_that_takes_everything_and_never_answers_gets_it_twice_at_most(served: MakeServed) -> None:
    house, server = served(99)
    [message] = house.due()
    for hours in range(5):
        house.run(at=house.now + timedelta(hours=hours))
    assert (house.row(message).state, len(server.messages)) == ("uncertain", 2)


def test_a_crash_leaves_what_was_on_the_line_to_go_once_more(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(wake=RESENDING)
    journal = Journal.open(house.project.var / "dispatch", "gone")
    for_the_other_campaign = house.due(campaign="gift")
    lost, waiting = house.due(2)
    with writing(house.engine) as connection:
        claim(connection, worker=journal.name, now=now, limit=9, channels={"email"})
    for message in (lost, *for_the_other_campaign):
        journal.hand_over(message, Handover("outbox"))
    journal.close(keep=True)
    recovered = recover(house.engine, house.project, now=now, gateways={"outbox": Scripted()})
    assert (recovered.uncertain, recovered.retrying, recovered.given_back) == (1, 1, 1)
    assert [house.row(each).state for each in (lost, waiting, *for_the_other_campaign)] == ["planned", "planned", "uncertain"]
    gateway = Scripted()
    house.run(gateway, at=now + timedelta(minutes=2))
    assert sorted(gateway.ids) == sorted((lost, waiting))


@pytest.mark.parametrize(
    "changes", [{"message_valid_until": timedelta(seconds=59)}, {"message_attempts": 5}], ids=["too late", "tried too often"]
)
def test_it_waits_for_a_person_where_it_may_not_go_again(
    make_house: MakeHouse, now: datetime, changes: dict[str, timedelta | int]
) -> None:
    house = make_house(wake=RESENDING)
    columns = {name: now + value if isinstance(value, timedelta) else value for name, value in changes.items()}
    [message] = house.due(**columns)
    assert house.run(Scripted(decide=lambda _: Unknown("the line broke"))).uncertain == 1
    assert house.row(message).state == "uncertain"
