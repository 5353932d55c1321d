"""Trouble of our own, of gateways and of the database: nothing is lost, nothing goes twice, and it is said; on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import pytest

from tests.disk import full_disk
from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted, accept
from tests.dispatch.house import House
from winback.dispatch import recover
from winback.gateways.base import Outcome, Outgoing, Sender


def test_a_gateway_that_cannot_be_set_up_leaves_only_its_channel_waiting(make_house: MakeHouse, now: datetime) -> None:
    tables = {"deliver": {"email": "relay"}, "gateways": {"relay": {"type": "outbox", "folder": "var/out", "tsl": "none"}}}
    house = make_house(settings=tables)
    house.due(2)
    house.due(3, campaign="care")
    result = house.run()
    assert house.states() == {"planned": 2, "sent": 3}
    [pause] = result.pauses
    assert (pause.gateway, pause.channels, pause.until) == ("relay", ("email",), None)
    assert "gateways.relay.tsl: unknown option" in pause.reason
    assert result.errors == [pause.reason]
    assert house.pause() == (None, pause.reason, 0)
    repaired = make_house(settings={**tables, "gateways": {"relay": {"type": "outbox", "folder": "var/out"}}})
    assert repaired.run(at=now + timedelta(minutes=1)).sent == 2
    assert repaired.pause() is None


def test_a_gateway_for_another_channel_is_named(make_house: MakeHouse) -> None:
    class Letters(Scripted):
        channels = frozenset({"email"})

    house = make_house()
    house.due(campaign="care")
    result = house.run(Letters())
    assert result.errors == ["gateways.outbox carries no sms; correct [deliver]"]


class _Breaking(Scripted):
    """Breaks in the middle, with an error that quotes the message."""

    def __init__(self, after: int, *, announced: bool) -> None:
        super().__init__()
        self.after = after
        self.announced = announced

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        yield _BreakingLine(self)


class _BreakingLine(Sender):
    def __init__(self, gateway: _Breaking) -> None:
        self._gateway = gateway

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        for number, message in enumerate(messages):
            broken = number == self._gateway.after
            if not broken or self._gateway.announced:
                on_handover(message.message_id)
            if broken:
                raise ValueError(f"cannot write to {message.recipient}")
            yield message.message_id, self._gateway.take(message)


@pytest.mark.parametrize(
    ("announced", "states"), [(True, {"sent": 2, "uncertain": 1, "planned": 2}), (False, {"sent": 2, "planned": 3})]
)
def test_a_gateway_that_breaks_loses_nothing(house: House, announced: bool, states: dict[str, int]) -> None:
    house.due(5)
    result = house.run(_Breaking(2, announced=announced))
    assert house.states() == states
    assert result.errors == ["gateway outbox: ValueError"]
    assert [pause.reason for pause in result.pauses] == ["gateway outbox: ValueError"]
    assert result.counted == result.taken == 5


class _Silent(Scripted):
    @contextmanager
    def connect(self) -> Iterator[Sender]:
        yield _SilentLine()


class _SilentLine(Sender):
    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        list(messages)
        return iter(())


def test_a_gateway_that_answers_nothing_is_left_alone(house: House) -> None:
    house.due(3)
    result = house.run(_Silent())
    assert house.states() == {"planned": 3}
    assert [pause.reason for pause in result.pauses] == ["gateway outbox took messages and did not answer"]


def test_a_line_that_cannot_be_opened_pauses_the_gateway(house: House) -> None:
    class Closed(Scripted):
        @contextmanager
        def connect(self) -> Iterator[Sender]:
            raise ConnectionRefusedError("nobody listens")
            yield

    house.due(3)
    result = house.run(Closed())
    assert house.states() == {"planned": 3}
    assert [pause.reason for pause in result.pauses] == ["gateway outbox: ConnectionRefusedError"]


def test_an_interruption_is_passed_on_when_everything_is_recorded(house: House) -> None:
    ids = house.due(5)

    def decide(message: Outgoing) -> Outcome:
        if message.message_id == ids[2]:
            raise KeyboardInterrupt
        return accept(message)

    with pytest.raises(KeyboardInterrupt):
        house.run(Scripted(decide=decide))
    assert [row[0] for row in house.rows("state")] == ["sent", "sent", "uncertain", "planned", "planned"]
    assert house.pause() is None
    assert not list((house.project.var / "dispatch").iterdir())


def test_a_database_that_fails_while_composing_gives_back_what_did_not_leave(house: House) -> None:
    ids = house.due(120)
    with house.losing("customers") as take_away:

        def decide(message: Outgoing) -> Outcome:
            if message.message_id == ids[10]:
                take_away()
            return accept(message)

        result = house.run(Scripted(decide=decide))
    assert len(result.errors) == 1
    assert result.errors[0].startswith("the database failed: ")
    assert (result.sent, result.given_back, result.pauses) == (100, 20, [])
    assert house.states() == {"sent": 100, "planned": 20}
    assert house.pause() is None


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ValueError("the gateway breaks")])
def test_a_database_that_fails_while_recording_loses_no_answer(house: House, end: BaseException) -> None:
    ids = house.due(5)
    with house.losing("message_history") as take_away:

        def decide(message: Outgoing) -> Outcome:
            if message.message_id == ids[3]:
                take_away()
                raise end
            return accept(message)

        with suppress(KeyboardInterrupt):
            result = house.run(Scripted(decide=decide))
            assert result.errors[-1].startswith("the database failed: ")
            assert not isinstance(end, KeyboardInterrupt), "it must not be swallowed"
    assert house.states() == {"sending": 5}
    recovered = recover(house.engine, house.project, now=house.now, gateways={"outbox": Scripted()})
    assert (recovered.sent, recovered.uncertain, recovered.given_back) == (3, 1, 1)
    assert [row[0] for row in house.rows("state")] == ["sent", "sent", "sent", "uncertain", "planned"]


def test_a_journal_that_cannot_be_begun_sends_nothing(house: House) -> None:
    house.due(3)
    house.project.var.mkdir(exist_ok=True)
    (house.project.var / "dispatch").write_text("a file where the folder should be")
    result = house.run(gateway := Scripted())
    assert (gateway.ids, house.states()) == ([], {"planned": 3})
    assert [error.partition(" (")[0] for error in result.errors] == ["the dispatcher's journal cannot be written: File exists"]


def test_without_room_for_a_batch_in_the_journal_nothing_is_claimed(house: House) -> None:
    house.due(3)
    with full_disk(800_000):  # a batch of 500 takes more, the database less
        result = house.run(gateway := Scripted())
    assert (gateway.ids, house.states(), result.taken) == ([], {"planned": 3}, 0)
    [error] = result.errors
    assert error.startswith("the dispatcher's journal cannot be written: File too large (")
    assert house.run(gateway).sent == 3


def test_the_journal_holds_one_batch_at_most(make_house: MakeHouse) -> None:
    house = make_house(settings={"dispatch": {"batch": 5}})
    house.due(40)
    sizes: list[int] = []

    def decide(message: Outgoing) -> Outcome:
        [journal] = (house.project.var / "dispatch").glob("*.journal")
        sizes.append(journal.stat().st_size)
        return accept(message)

    house.run(Scripted(decide=decide))
    assert max(sizes[5:]) <= max(sizes[:5])


def test_a_time_zone_that_means_nothing_stops_nobody(house: House) -> None:
    house.due(local_zone="Mars/Olympus")
    house.due(campaign="gift", local_zone="Mars/Olympus")
    house.due(3)
    assert house.run(Scripted()).sent == 5
