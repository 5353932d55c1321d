"""The whole way through a real mail server that misbehaves: each message's end is as documented, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from sqlalchemy import select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.house import House
from tests.servers.smtp import Answer, Bye, Close, Event, SmtpServer, smtp_server
from winback.dispatch import recover
from winback.store import gateway_states, reading, suppressions


@contextmanager
def _served(make_house: MakeHouse, **behaviour: Any) -> Iterator[tuple[House, SmtpServer]]:
    """Run a mail server, and a shop whose e-mail goes there."""
    with smtp_server(**behaviour) as server:
        relay = {
            "type": "smtp",
            "host": server.host,
            "port": server.port,
            "tls": "none",
            "connections": 2,
            "hostname": "shop.example.com",
        }
        yield make_house(settings={"deliver": {"email": "relay"}, "gateways": {"relay": relay}}), server


def test_a_letter_arrives_whole_and_the_ledger_knows_its_queue_id(make_house: MakeHouse) -> None:
    with _served(make_house) as (house, server):
        [message] = house.due(first_name="Zoë", email="zoe@example.com")
        result = house.run()
        assert (result.sent, result.errors, result.pauses) == (1, [], [])
        [received] = server.messages
    assert received.recipient == "zoe@example.com"
    letter = message_from_bytes(received.content, policy=policy.default)
    assert [part.defects for part in letter.walk()] == [[]] * len(list(letter.walk()))
    assert letter["Subject"] == "Hello Zoë"
    assert message in letter["Message-ID"]
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    row = house.row(message)
    assert (row.state, row.gateway) == ("sent", "relay")
    assert row.provider_id
    assert row.provider_id in house.details(message)[0]


def test_each_recipients_trouble_is_its_own(make_house: MakeHouse) -> None:
    refuse = {
        "gone@example.com": "550 5.1.1 <gone@example.com>: Recipient address rejected: User unknown",
        "full@example.com": "452 4.2.2 mailbox full",
        "spam@example.com": "554 5.7.1 this looks like spam",
    }
    with _served(make_house, refuse=refuse) as (house, server):
        house.project.templates.joinpath("wake.sms.txt").write_text("Hello. Reply STOP for no more\n")
        for name in ("a", "gone", "b", "full", "c", "spam", "d"):
            house.due(email=f"{name}@example.com")
        result = house.run()
        assert sorted(each.recipient for each in server.messages) == [f"{name}@example.com" for name in "abcd"]
    states = [row[1] for row in house.rows("step", "state") if row[0] == "hello"]
    assert states == ["sent", "failed", "sent", "planned", "sent", "failed", "sent"]
    # Four letters, and the text message to whose address is gone.
    assert (result.sent, result.failed, result.retrying, result.pauses) == (5, 2, 1, [])
    with reading(house.engine) as connection:
        [suppressed] = connection.execute(select(suppressions)).all()
    assert suppressed.reason == "hard_bounce"
    assert [row for row in house.rows("step", "channel", "state") if row[0] != "hello"] == [("hello:fallback", "sms", "sent")]


def test_a_servers_words_are_kept_without_the_address_they_quote(make_house: MakeHouse) -> None:
    with _served(make_house, refuse={"ada@example.com": "450 4.2.0 <ada@example.com>: come later"}) as (house, _):
        [message] = house.due(email="ada@example.com")
        house.run()
    assert "ada@" not in house.row(message).reason
    assert "come later" in house.row(message).reason
    assert "<ada@example.com>" in house.details(message)[0]  # the raw reply, which goes when the person is erased


@pytest.mark.parametrize("taken", [True, False])
def test_a_line_that_breaks_after_the_last_byte_leaves_one_message_uncertain(make_house: MakeHouse, taken: bool) -> None:
    def script(event: Event) -> Answer:
        return Close(keep=taken) if event.verb == "END" and event.recipient == "broken@example.com" else None

    with _served(make_house, script=script) as (house, server):
        for name in ("a", "b", "broken", "c", "d", "e"):
            house.due(email=f"{name}@example.com")
        result = house.run()
        assert (result.sent, result.uncertain) == (5, 1)
        assert len(server.messages) == 5 + taken
        again = house.run(at=house.now + timedelta(days=1))
        recover(house.engine, house.project, now=house.now + timedelta(days=1))
        assert again.taken == 0
        assert len(server.messages) == 5 + taken
    assert house.rows("state")[2] == ("uncertain",)


@pytest.mark.parametrize(
    "behaviour",
    [
        {"greeting": "421 4.3.2 closed for the night"},
        {"users": {"half-note": "secret"}},
        {"script": lambda event: Bye("421 4.7.0 quota") if event.verb == "MAIL" else None},
    ],
    ids=["closed", "no password", "421 at MAIL"],
)
def test_trouble_with_the_server_costs_nobody_an_attempt(make_house: MakeHouse, behaviour: dict[str, Any]) -> None:
    with _served(make_house, **behaviour) as (house, server):
        house.due(5)
        house.due(2, campaign="care")
        result = house.run()
        assert server.messages == []
    assert set(house.rows("channel", "state", "attempts")) == {("email", "planned", 0), ("sms", "sent", 1)}
    assert (result.sent, result.given_back, result.failed) == (2, 5, 0)
    [pause] = result.pauses
    assert (pause.gateway, pause.channels) == ("relay", ("email",))
    with reading(house.engine) as connection:
        [(name, until)] = connection.execute(select(gateway_states.c.name, gateway_states.c.paused_until)).all()
    assert (name, until) == ("relay", house.now + timedelta(minutes=1))


def test_when_the_server_is_back_everything_goes(make_house: MakeHouse) -> None:
    with smtp_server() as server:
        port = server.port
    relay = {"type": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "hostname": "shop.example.com"}
    house = make_house(settings={"deliver": {"email": "relay"}, "gateways": {"relay": relay}})
    house.due(3)
    away = house.run()
    assert (away.given_back, len(away.pauses)) == (3, 1)
    with _served(make_house) as (back, server):
        assert back.run(at=house.now + timedelta(minutes=1)).sent == 3
        assert len(server.messages) == 3
    with reading(house.engine) as connection:
        assert connection.execute(select(gateway_states)).all() == []


def test_a_server_that_closes_after_every_few_messages_gets_each_once(make_house: MakeHouse) -> None:
    with _served(make_house, goodbye_after=4) as (house, server):
        house.due(30)
        result = house.run()
        assert (result.sent, result.pauses) == (30, [])
        assert len({each.recipient for each in server.messages}) == len(server.messages) == 30
        assert server.violations == []
