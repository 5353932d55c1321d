"""What becomes of a message is what its gateway answered, with a history row for each edge, on both databases."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted, accept
from tests.dispatch.house import WAKE, House
from winback.dispatch.taking import Taken, take
from winback.gateways.base import Accepted, Outcome, Outgoing, Refused, Retry, Unknown
from winback.gateways.outbox import read_outbox
from winback.project import Project
from winback.store import customers, messages, reading, suppressions


def test_an_accepted_message_is_sent_with_all_that_is_known_of_it(house: House, now: datetime) -> None:
    [message] = house.due(first_name="Ada")
    gateway = Scripted()
    at = now + timedelta(minutes=3)
    result = house.run(gateway, at=at)
    row = house.row(message)
    assert (row.state, row.sent_at, row.gateway, row.provider_id) == ("sent", at, "outbox", f"p-{message[:8]}")
    assert (row.subject, row.segments, row.attempts, row.reason, row.claimed_by) == ("Hello Ada", None, 1, None, None)
    assert house.history(message) == [
        (None, "planned", None),
        ("planned", "sending", None),
        ("sending", "sent", None),
    ]
    assert house.details(message) == ["250 2.0.0 ok"]
    assert (result.taken, result.sent, result.counted, result.errors) == (1, 1, 1, [])
    assert gateway.arrived[0].message_id == message
    assert b"Hello Ada" in gateway.arrived[0].content


def test_an_sms_keeps_its_segments(house: House) -> None:
    [message] = house.due(campaign="care")
    house.run(Scripted())
    row = house.row(message)
    assert (row.state, row.segments, row.subject) == ("sent", 1, None)


def test_a_second_call_sends_nothing_twice(house: House) -> None:
    house.due(5)
    gateway = Scripted()
    house.run(gateway)
    again = house.run(gateway)
    assert (len(gateway.ids), again.taken, house.states()) == (5, 0, {"sent": 5})
    assert not list((house.project.var / "dispatch").iterdir())


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "attempts"),
    [
        (Refused("550 rejected"), "failed", "550 rejected", 1),
        (Unknown("the line broke"), "uncertain", "the line broke", 1),
        (Retry("451 try later"), "planned", "451 try later", 1),
        (Retry("421 closing", whole_gateway=True), "planned", "421 closing", 0),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else None,
)
def test_every_answer_has_its_edge(house: House, outcome: Outcome, state: str, reason: str, attempts: int) -> None:
    [message] = house.due()
    result = house.run(Scripted(decide=lambda message: outcome))
    row = house.row(message)
    assert (row.state, row.reason, row.attempts, row.claimed_by) == (state, reason, attempts, None)
    assert house.history(message)[2:] == [("sending", state, reason)]
    assert result.counted == result.taken == 1


def test_a_retry_waits_longer_each_time_and_fails_when_the_attempts_are_used_up(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings={"dispatch": {"attempts": 4}})
    [message] = house.due()
    busy = Scripted(decide=lambda message: Retry("451 try later", reply="451 4.7.1 greylisted"))
    at, waits = now, []
    for _ in range(3):
        house.run(busy, at=at)
        row = house.row(message)
        assert row.state == "planned"
        waits.append((row.next_attempt_at - at) / timedelta(minutes=1))
        house.run(busy, at=row.next_attempt_at - timedelta(seconds=1))
        assert house.row(message).attempts == row.attempts
        at = row.next_attempt_at
    assert [1 <= waits[0] <= 1.2, 5 <= waits[1] <= 6, 15 <= waits[2] <= 18] == [True] * 3, waits
    result = house.run(busy, at=at)
    row = house.row(message)
    assert (row.state, row.reason, row.attempts, result.failed) == ("failed", "attempts", 4, 1)
    assert house.details(message)[-1] == "451 try later: 451 4.7.1 greylisted"


def test_the_other_side_may_ask_for_a_longer_wait(house: House, now: datetime) -> None:
    [message] = house.due()
    house.run(Scripted(decide=lambda message: Retry("450 busy", after=timedelta(hours=2))))
    assert house.row(message).next_attempt_at == now + timedelta(hours=2)


def test_trouble_with_one_recipient_touches_no_other(house: House) -> None:
    ids = house.due(7)
    answers: dict[str, Outcome] = {ids[1]: Refused("550 no"), ids[3]: Retry("451 later"), ids[5]: Unknown("the line broke")}
    result = house.run(Scripted(decide=lambda message: answers.get(message.message_id) or accept(message)))
    assert [row[0] for row in house.rows("state")] == ["sent", "failed", "sent", "planned", "sent", "uncertain", "sent"]
    assert (result.taken, result.sent, result.failed, result.retrying, result.uncertain) == (7, 4, 1, 1, 1)
    assert result.counted == 7


def test_trouble_with_the_whole_gateway_pauses_it_and_costs_no_attempt(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(settings={"dispatch": {"batch": 4}})
    house.due(10)
    closed = Scripted(decide=lambda message: Retry("the server is closed", whole_gateway=True))
    at = now
    for failures, minutes in enumerate((1, 2, 4, 8, 15, 15), start=1):
        result = house.run(closed, at=at)
        taken = 4 if failures == 1 else 1  # one batch, later one message that tries it; the rest was not even claimed
        assert (result.taken, result.given_back) == (taken, taken)
        [pause] = result.pauses
        assert (pause.gateway, pause.channels, pause.reason) == ("outbox", ("email", "sms"), "the server is closed")
        assert house.pause() == (at + timedelta(minutes=minutes), "the server is closed", failures)
        waiting = house.run(Scripted(), at=at + timedelta(minutes=minutes) - timedelta(seconds=1))
        assert (waiting.taken, [pause.until for pause in waiting.pauses]) == (0, [at + timedelta(minutes=minutes)])
        at += timedelta(minutes=minutes)
    assert set(house.rows("state", "attempts")) == {("planned", 0)}
    assert house.run(Scripted(), at=at).sent == 10
    assert house.pause() is None


def test_a_gateway_with_nothing_to_do_is_not_asked_after_each_batch_of_another(
    make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "deliver": {"sms": "texts"},
        "gateways": {"outbox": {"type": "outbox"}, "texts": {"type": "outbox", "folder": "texts"}},
    }
    house = make_house(settings={"dispatch": {"batch": 2}, **texts})
    house.due(10)
    asked: list[str] = []

    def noted(connection: Connection, project: Project, gateway: str, *arguments: Any, **options: Any) -> Taken:
        asked.append(gateway)
        return take(connection, project, gateway, *arguments, **options)

    monkeypatch.setattr("winback.dispatch.engine.take", noted)
    house.due(campaign="care")
    assert house.run().sent == 11
    assert asked.count("outbox") == 6
    assert asked.count("texts") <= 3  # its message, nothing more, and once more at the end


def test_nobody_else_is_tried_after_the_whole_gateway_said_no(house: House) -> None:
    house.due(6)
    asked: list[str] = []

    def decide(message: Outgoing) -> Outcome:
        asked.append(message.message_id)
        return Retry("421 closing", whole_gateway=True)

    house.run(Scripted(decide=decide))
    assert len(asked) == 1


def test_what_was_sent_before_the_gateway_broke_stays_sent(house: House) -> None:
    house.due(6)
    left = iter([True] * 3)

    def decide(message: Outgoing) -> Outcome:
        return accept(message) if next(left, False) else Retry("421 closing", whole_gateway=True)

    gateway = Scripted(decide=decide)
    result = house.run(gateway)
    assert (result.sent, result.given_back, house.states()) == (3, 3, {"sent": 3, "planned": 3})


def test_a_template_that_fails_for_one_stops_nobody_else(make_house: MakeHouse) -> None:
    template = '<p>Hello {{ customer.first_name }}</p>\n<a href="{{ unsubscribe_url }}">No more</a>\n'
    house = make_house(templates={"wake.email.html": template})
    house.due(2, first_name="Ada")
    [broken] = house.due(first_name=None)
    house.due(2, first_name="Ida")
    gateway = Scripted()
    result = house.run(gateway)
    row = house.row(broken)
    assert (row.state, row.reason) == ("skipped", "render templates/wake.email.html:1")
    assert len(gateway.ids) == 4
    assert broken not in gateway.ids
    assert result.skipped == {"render templates/wake.email.html:1": 1}
    assert (result.sent, result.counted, result.taken) == (4, 5, 5)


def test_no_reason_of_a_message_tells_who_it_was_for(make_house: MakeHouse) -> None:
    template = '<p>{{ customer.first_name | number }}</p><a href="{{ unsubscribe_url }}">No more</a>\n'
    house = make_house(templates={"wake.email.html": template})
    house.due(first_name="Secretname")
    result = house.run(Scripted())
    [(state, reason)] = house.rows("state", "reason")
    assert state == "skipped"
    assert "Secretname" not in reason + repr(result)


def test_an_address_that_does_not_exist_is_suppressed_and_the_step_goes_by_its_other_channel(house: House, now: datetime) -> None:
    house.due(external_id="C1", first_name="Ada")

    def decide(message: Outgoing) -> Outcome:
        return Refused("550 5.1.1 no such user", hard_bounce=True) if message.channel == "email" else accept(message)

    gateway = Scripted(decide=decide)
    house.project.templates.joinpath("wake.sms.txt").write_text("Hello from Half Note. Reply STOP for no more\n")
    result = house.run(gateway)
    with reading(house.engine) as connection:
        [suppressed] = connection.execute(select(suppressions)).all()
        [person] = connection.execute(select(customers)).all()
    assert (suppressed.channel, suppressed.address_hash, suppressed.reason) == ("email", person.email_hash, "hard_bounce")
    assert suppressed.source == "gateway outbox"
    assert house.rows("step", "channel", "state", "due_on") == [
        ("hello", "email", "failed", now.date()),
        ("hello:fallback", "sms", "sent", now.date()),
    ]
    assert (result.failed, result.sent) == (1, 1)
    assert gateway.addresses == [person.phone]
    # The address is known to be dead now: the next message to it does not even leave.
    house.due(external_id="C1", campaign="gift")
    again = house.run(gateway)
    assert again.skipped == {"suppressed": 1}


@pytest.mark.parametrize("fallback", [None, {"channel": "sms", "on": ["no_address", "suppressed"]}])
def test_a_step_without_such_a_fallback_has_none(make_house: MakeHouse, fallback: dict[str, object] | None) -> None:
    house = make_house(wake={**WAKE, "steps": [{**WAKE["steps"][0], "fallback": fallback}]})
    house.due()
    house.run(Scripted(decide=lambda message: Refused("550 no such user", hard_bounce=True)))
    assert house.rows("step", "state") == [("hello", "failed")]


def test_what_was_refused_for_another_reason_does_not_fall_back(house: House) -> None:
    house.due()
    house.run(Scripted(decide=lambda message: Refused("554 looks like spam")))
    assert house.rows("step", "state") == [("hello", "failed")]


def test_being_told_to_stop_finishes_what_left_and_gives_back_the_rest(make_house: MakeHouse) -> None:
    house = make_house(settings={"dispatch": {"batch": 10}})
    house.due(25)
    gateway = Scripted()
    result = house.run(gateway, stop=lambda: len(gateway.arrived) >= 13)
    assert house.states() == {"sent": 13, "planned": 12}
    assert (result.taken, result.sent, result.given_back) == (20, 13, 7)
    assert {attempts for state, attempts in house.rows("state", "attempts") if state == "planned"} == {0}
    assert house.run(gateway).sent == 12
    assert len(set(gateway.ids)) == len(gateway.ids) == 25


def test_whoever_is_told_to_stop_before_it_begins_takes_nothing(house: House) -> None:
    house.due()
    stop = threading.Event()
    stop.set()
    assert house.run(Scripted(), stop=stop).taken == 0
    assert house.states() == {"planned": 1}


def test_one_connection_carries_all_batches(make_house: MakeHouse) -> None:
    house = make_house(settings={"dispatch": {"batch": 3}})
    house.due(10)
    gateway = Scripted()
    house.run(gateway)
    assert (gateway.connections, len(gateway.ids)) == (1, 10)


def test_messages_go_in_the_order_in_which_they_are_due(house: House, now: datetime) -> None:
    later = house.due(message_due_at=now - timedelta(minutes=1), message_next_attempt_at=now - timedelta(minutes=1))
    first = house.due(message_due_at=now - timedelta(minutes=2), message_next_attempt_at=now - timedelta(minutes=2))
    house.due(message_next_attempt_at=now + timedelta(minutes=1))
    gateway = Scripted()
    house.run(gateway)
    assert gateway.ids == first + later


def test_every_time_that_is_recorded_comes_from_the_clock(house: House) -> None:
    """The demo and the simulation run in the past."""
    [message] = house.due()
    at = datetime(2019, 3, 31, 11, tzinfo=UTC)
    house.change(messages, next_attempt_at=at)
    house.run(at=at)
    assert house.row(message).sent_at == at
    [kept] = read_outbox(house.project.var / "outbox")
    assert (kept.message_id, kept.at) == (message, at)
    assert b"Date: Sun, 31 Mar 2019 11:00:00 +0000" in (kept.eml.read_bytes() if kept.eml else b"")


def test_the_accepted_name_of_a_message_may_be_missing(house: House) -> None:
    [message] = house.due()
    house.run(Scripted(decide=lambda message: Accepted()))
    assert (house.row(message).state, house.row(message).provider_id) == ("sent", None)
