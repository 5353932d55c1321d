"""What a mail server may answer to one of many, as a table: its end is as documented, the others go; on both databases.

The table of docs/delivery.md, "When the other side says no", from the wire to the ledger.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.house import House
from tests.gateways.smtp.harness import wait_until
from tests.servers.smtp import Answer, Bye, Close, Event, Hang, SmtpServer, smtp_server
from winback.store import reading, suppressions

MIDDLE = "c@example.com"
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Case:
    """An answer to the middle one of five letters: at which step, and what becomes of it."""

    at: str  # MAIL, RCPT, DATA, or END for the final dot
    answer: Answer
    state: str
    attempts: int = 1
    wait: timedelta | None = None  # at least until the next try, at most a fifth longer
    suppressed: bool = False
    paused: bool = False  # everybody waits; then those behind it may have gone or not
    once: bool = False  # given to the first who asks only


CASES = {
    # The connection: nobody's fault, and it costs no attempt.
    "421 once at MAIL": Case("MAIL", Bye("421 4.3.2 Service shutting down"), "sent", once=True),
    "421 once at RCPT": Case("RCPT", Bye("421 4.4.2 Timeout, closing"), "sent", once=True),
    "421 once instead of 250": Case("END", Bye("421 4.3.2 Service shutting down"), "sent", once=True),
    "the end of the line once at RCPT": Case("RCPT", Close(), "sent", once=True),
    "the end of the line once at DATA": Case("DATA", Close(), "sent", once=True),
    "the end of the line at RCPT, each time": Case("RCPT", Close(), "planned", wait=MINUTE),
    # Not now, for this recipient.
    "450 greylisting": Case("RCPT", "450 4.2.0 Greylisted, try again later", "planned", wait=MINUTE),
    "450 with a time": Case("RCPT", "450 4.2.0 Greylisted, try again in 300 seconds", "planned", wait=5 * MINUTE),
    "450 after the content": Case("END", "450 4.7.0 mailbox busy", "planned", wait=MINUTE),
    "451 at RCPT": Case("RCPT", "451 4.3.0 Temporary lookup failure", "planned", wait=MINUTE),
    "451 after the content": Case("END", "451 4.3.0 Error: queue file write error", "planned", wait=MINUTE),
    "452 a full mailbox": Case("RCPT", "452 4.2.2 The mailbox is over quota", "planned", wait=MINUTE),
    "452 after the content": Case("END", "452 4.3.1 Insufficient system storage", "planned", wait=MINUTE),
    "454 no relay": Case("RCPT", "454 4.7.1 <c@example.com>: Relay access denied", "planned", wait=MINUTE),
    "550 that means a rate": Case("RCPT", "550 5.7.1 Too many messages in a short time, slow down", "planned", wait=MINUTE),
    "550 that means a blocklist": Case(
        "END", "550 5.7.1 Blocked using zen.example.net, listed on a blocklist", "planned", wait=MINUTE
    ),
    # Never.
    "550 no such person": Case("RCPT", "550 5.1.1 User unknown", "failed", suppressed=True),
    "550 after the content": Case("END", "550 5.7.1 Message content rejected as spam", "failed"),
    "552 too large": Case("END", "552 5.3.4 Message size exceeds fixed limit", "failed"),
    # Nobody knows.
    "the end of the line after the last byte": Case("END", Close(), "uncertain"),
    "the end of the line after the last byte, and it was taken": Case("END", Close(keep=True), "uncertain"),
    "silence after the last byte": Case("END", Hang(), "uncertain"),
    # Not now, for anybody.
    "452 of the server": Case("MAIL", "452 4.3.1 Insufficient system storage", "planned", 0, MINUTE, paused=True),
    "454 the provider's limit": Case(
        "END", "454 Throttling failure: Maximum sending rate exceeded", "planned", 0, MINUTE, paused=True
    ),
    "550 the day's limit": Case("RCPT", "550 5.4.5 Daily SMTP relay sending limit exceeded", "planned", 0, MINUTE, paused=True),
}


def _house(make_house: MakeHouse, server: SmtpServer, settings: dict[str, Any] | None = None, **relay: Any) -> House:
    table = {
        "type": "smtp",
        "host": server.host,
        "port": server.port,
        "tls": "none",
        "connections": 1,
        "hostname": "shop.example.com",
    }
    return make_house(settings={"deliver": {"email": "relay"}, "gateways": {"relay": {**table, **relay}}, **(settings or {})})


def _script(case: Case) -> Callable[[Event], Answer]:
    """Return a script that gives the case's answer to the middle one; before RCPT it is known by its place."""
    given: list[Event] = []

    def script(event: Event) -> Answer:
        if event.verb != case.at or (case.once and given):
            return None
        mine = event.message == 2 if event.verb == "MAIL" else MIDDLE in (event.recipient, event.line[9:-1])
        if not mine:
            return None
        given.append(event)
        return case.answer

    return script


@pytest.mark.parametrize("name", CASES)
def test_the_end_of_the_one_in_the_middle_and_of_the_others(name: str, make_house: MakeHouse, now: datetime) -> None:
    case = CASES[name]
    with smtp_server(script=_script(case)) as server:
        house = _house(make_house, server, timeouts={"final": "1s"})
        ids = [house.due(email=f"{each}@example.com")[0] for each in "abcde"]
        result = house.run()
        arrived = [message.recipient for message in server.messages]
    middle, others = house.row(ids[2]), [house.row(each) for each in (*ids[:2], *ids[3:])]
    assert (middle.state, middle.attempts) == (case.state, case.attempts)
    if case.paused:
        assert [pause.gateway for pause in result.pauses] == ["relay"]
        assert [each.state for each in others[:2]] == ["sent", "sent"]
        assert {(each.state, each.attempts) for each in others[2:]} <= {("sent", 1), ("planned", 0)}
    else:
        assert result.pauses == []
        assert [(each.state, each.attempts) for each in others] == [("sent", 1)] * 4
        if case.wait is not None:
            assert now + case.wait <= middle.next_attempt_at <= now + case.wait * 1.2
    assert len(arrived) == len(set(arrived)), "nobody got it twice"
    assert arrived.count(MIDDLE) == (case.state == "sent" or case.answer == Close(keep=True))
    with reading(house.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(suppressions)) == case.suppressed
    assert result.counted == result.taken


def test_an_answer_after_the_time_out_changes_nothing_any_more(make_house: MakeHouse, now: datetime) -> None:
    """The server takes the letter, and says so when nobody listens: it stays uncertain, and does not go again by itself."""
    late = threading.Event()

    def script(event: Event) -> Answer:
        if event.verb == "END" and event.recipient == MIDDLE:
            late.wait(10)
        return None

    with smtp_server(script=script) as server:
        house = _house(make_house, server, timeouts={"final": "1s"})
        for each in "abcde":
            house.due(email=f"{each}@example.com")
        result = house.run()
        late.set()
        wait_until(lambda: len(server.messages) == 5)
        assert (result.sent, result.uncertain) == (4, 1)
        assert house.run(at=now + timedelta(days=1)).taken == 0
        assert len(server.messages) == 5
    assert [row[0] for row in house.rows("state")] == ["sent", "sent", "uncertain", "sent", "sent"]


@pytest.mark.parametrize("behaviour", [{"close_after": 100}, {"goodbye_after": 100}], ids=["without a word", "421"])
def test_a_server_that_drops_after_every_100_messages_gets_each_once(behaviour: dict[str, Any], make_house: MakeHouse) -> None:
    with smtp_server(**behaviour) as server:
        house = _house(make_house, server)
        house.due(250)
        result = house.run()
        assert (result.sent, result.pauses) == (250, [])
        assert len({message.recipient for message in server.messages}) == len(server.messages) == 250
        assert server.violations == []
    assert set(house.rows("state", "attempts")) == {("sent", 1)}


def test_a_server_that_closes_connections_between_two_batches_gets_each_once(make_house: MakeHouse, now: datetime) -> None:
    with smtp_server(idle=0.05) as server:
        house = _house(make_house, server, settings={"dispatch": {"batch": 5}})
        house.due(15)
        waited: list[int] = []

        def clock() -> datetime:
            if len(server.messages) in (5, 10) and len(server.messages) not in waited:
                waited.append(len(server.messages))
                wait_until(lambda: server.open_connections == 0)
            return now

        result = house.run(clock=clock)
        assert waited
        assert server.connections == len(waited) + 1
        assert (result.sent, result.pauses) == (15, [])
        assert len({message.recipient for message in server.messages}) == len(server.messages) == 15
    assert set(house.rows("state", "attempts")) == {("sent", 1)}
