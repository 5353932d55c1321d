"""The rules are asked again in the claim: what changed since planning counts, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted, accept
from tests.dispatch.house import WAKE, House
from tests.rows import add_order
from winback.gateways.base import Outcome, Outgoing, Retry
from winback.store import campaign_states, customers, suppressions, writing
from winback.store.consent import record_consent

#: 22:30 in Berlin.
NIGHT = datetime(2026, 11, 24, 21, 30, tzinfo=UTC)


def _campaign(**changes: Any) -> dict[str, Any]:
    return {**WAKE, "steps": [{name: value for name, value in WAKE["steps"][0].items() if name != "fallback"}], **changes}


def test_who_unsubscribed_since_planning_gets_nothing(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(wake=_campaign())
    [message] = house.due(external_id="C1")
    with writing(house.engine) as connection:
        customer = connection.scalar(select(customers.c.id))
        assert customer is not None
        record_consent(connection, customer, "email", "marketing", False, now, "one-click")
    gateway = Scripted()
    result = house.run(gateway)
    assert (gateway.ids, result.skipped) == ([], {"no_consent": 1})
    assert house.history(message)[1:] == [("planned", "sending", None), ("sending", "skipped", "no_consent")]


def test_consent_withdrawn_while_a_message_waits_for_its_next_attempt_counts(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(wake=_campaign())
    house.due()
    house.run(Scripted(decide=lambda message: Retry("451 later")))
    house.change(customers, email_marketing=False)
    result = house.run(Scripted(), at=now + timedelta(minutes=2))
    assert (result.sent, result.skipped) == (0, {"no_consent": 1})


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"erased_at": datetime(2026, 1, 1, tzinfo=UTC)}, "erased"),
        ({"email": None}, "no_address"),
        ({"message_valid_until": datetime(2026, 11, 24, 9, 59, tzinfo=UTC)}, "late"),
    ],
)
def test_the_first_rule_that_fails_is_the_reason(make_house: MakeHouse, columns: dict[str, Any], reason: str) -> None:
    house = make_house(wake=_campaign())
    house.due(**columns)
    house.due()
    result = house.run(Scripted())
    assert (result.sent, result.skipped, result.counted) == (1, {reason: 1}, 2)
    assert house.rows("state", "reason") == [("skipped", reason), ("sent", None)]


def test_a_suppressed_address_gets_nothing(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(wake=_campaign())
    house.due(email_hash="b" * 32)
    with writing(house.engine) as connection:
        connection.execute(
            insert(suppressions).values(channel="email", address_hash="b" * 32, reason="complaint", at=now, source="t")
        )
    assert house.run(Scripted()).skipped == {"suppressed": 1}


def test_who_ordered_meanwhile_has_left_the_campaign(house: House, now: datetime) -> None:
    [message] = house.due()
    with writing(house.engine) as connection:
        customer = connection.scalar(select(customers.c.id))
        assert customer is not None
        add_order(connection, "O1", customer, now - timedelta(hours=1))
    result = house.run(Scripted())
    assert (result.cancelled, result.sent) == (1, 0)
    assert house.history(message)[-1] == ("sending", "cancelled", "exit")


@pytest.mark.parametrize("change", [{"enabled": False}, {"steps": [{**WAKE["steps"][0], "name": "another"}]}])
def test_a_campaign_that_was_withdrawn_sends_nothing_more(make_house: MakeHouse, change: dict[str, Any]) -> None:
    house = make_house()
    house.due(3)
    withdrawn = make_house(wake={**WAKE, **change})
    result = withdrawn.run(Scripted())
    assert (result.cancelled, house.states()) == (3, {"cancelled": 3})
    assert set(house.rows("reason")) == {("withdrawn",)}


def test_a_paused_campaign_waits_and_goes_when_it_is_resumed(house: House, now: datetime) -> None:
    house.due()
    with writing(house.engine) as connection:
        connection.execute(insert(campaign_states).values(name="wake", live_since=now, paused_at=now, definition_hash="x"))
    result = house.run(Scripted())
    assert (result.put_off, house.states()) == (1, {"planned": 1})
    with writing(house.engine) as connection:
        connection.execute(update(campaign_states).values(paused_at=None))
    assert house.run(Scripted(), at=now + timedelta(hours=1)).sent == 1


def test_only_one_of_two_claimed_at_once_goes_to_the_same_person(house: House) -> None:
    """One e-mail in sixteen hours; the gift has precedence, and the other says why it did not go."""
    [loser] = house.due(external_id="C1")
    [winner] = house.due(external_id="C1", campaign="gift")
    gateway = Scripted()
    result = house.run(gateway)
    assert gateway.ids == [winner]
    assert result.skipped == {"capped": 1}
    assert house.row(loser).reason == "capped"


def test_a_capped_message_may_wait_instead(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(wake={**WAKE, "limits": {"on_capped": "defer"}, "schedule": {"late": "2d"}})
    [message] = house.due(external_id="C1", message_valid_until=now + timedelta(days=2))
    house.due(external_id="C1", campaign="gift")
    result = house.run(Scripted())
    assert (result.sent, result.put_off) == (1, 1), result
    row = house.row(message)
    assert (row.state, row.reason, row.next_attempt_at, row.attempts) == ("planned", "capped", now + timedelta(hours=1), 0)
    assert house.run(Scripted(), at=now + timedelta(hours=16, minutes=1)).sent == 1


def test_a_capped_message_that_is_late_goes_the_next_day(make_house: MakeHouse, now: datetime) -> None:
    house = make_house(wake={**WAKE, "limits": {"on_capped": "defer"}, "schedule": {"at": "11:00", "late": "2h"}})
    [message] = house.due(external_id="C1", message_valid_until=now + timedelta(hours=2))
    house.due(external_id="C1", campaign="gift")
    for hours in range(4):
        house.run(Scripted(), at=now + timedelta(hours=hours))
    row = house.row(message)
    tomorrow = now + timedelta(days=1)  # 11:00 in Berlin again
    assert (row.state, row.reason, row.next_attempt_at) == ("planned", "capped", tomorrow)
    assert row.valid_until == tomorrow + timedelta(hours=2)
    assert house.run(Scripted(), at=tomorrow).sent == 1


def test_what_another_dispatcher_has_in_hand_counts_under_the_cap(house: House, now: datetime) -> None:
    """It asked the rules before and will go, though it is due later than the one claimed now."""
    [in_hand] = house.due(external_id="C1", message_next_attempt_at=now)
    inner = Scripted()
    results = []

    def meanwhile(message: Outgoing) -> Outcome:
        if message.message_id == in_hand:
            house.due(external_id="C1", message_next_attempt_at=now - timedelta(minutes=5))
            results.append(house.run(inner))
        return accept(message)

    outer = Scripted(decide=meanwhile)
    house.run(outer)
    assert (outer.ids, inner.ids) == ([in_hand], [])
    assert results[0].skipped == {"capped": 1}, results


def test_a_text_message_waits_for_the_morning(house: House) -> None:
    [message] = house.due(campaign="care", message_next_attempt_at=NIGHT, message_valid_until=NIGHT + timedelta(hours=12))
    result = house.run(Scripted(), at=NIGHT)
    assert (result.put_off, result.sent) == (1, 0)
    row = house.row(message)
    morning = datetime(2026, 11, 25, 8, tzinfo=UTC)  # 09:00 in Berlin
    assert (row.state, row.reason, row.next_attempt_at) == ("planned", "quiet_hours", morning)
    assert house.run(Scripted(), at=morning - timedelta(seconds=1)).taken == 0
    assert house.run(Scripted(), at=morning).sent == 1


def test_who_cannot_be_reached_by_mail_gets_the_text_message(make_house: MakeHouse) -> None:
    """The other channel has a gateway of its own, whichever of the two is asked first."""
    deliver = {
        "deliver": {"email": "post", "sms": "phone"},
        "gateways": {"post": {"type": "outbox"}, "phone": {"type": "outbox"}},
    }
    house = make_house(settings=deliver, templates={"wake.sms.txt": "Hello from Half Note. Reply STOP for no more\n"})
    [message] = house.due(email=None)
    [reached] = house.due()
    post, phone = Scripted("post"), Scripted("phone")
    result = house.run({"post": post, "phone": phone})
    assert (post.ids, phone.ids) == ([reached], [message])
    assert (result.fell_back, result.sent, result.taken) == (1, 2, 3)
    assert house.row(message).channel == "sms"
    assert house.history(message)[1:] == [
        ("planned", "sending", None),
        ("sending", "planned", "by sms"),
        ("planned", "sending", None),
        ("sending", "sent", None),
    ]


def test_a_campaign_whose_rules_cannot_be_asked_stops_no_other(make_house: MakeHouse, now: datetime) -> None:
    """Its segment is gone from the files, and the running process still has the campaign."""
    in_segment = _campaign(exit={"when": "in_segment('loyal')"})
    house = make_house(wake=in_segment, segments={"loyal": {"title": "Loyal", "where": "orders >= 3"}})
    house.due(2)
    house.due(3, campaign="gift")
    house.project.segments.pop("loyal")  # type: ignore[attr-defined]
    result = house.run(Scripted())
    assert (result.sent, result.put_off, len(result.errors)) == (3, 2, 1)
    assert result.errors[0].startswith("the rules of campaign wake cannot be asked: ")
    assert {row for row in house.rows("state", "reason", "next_attempt_at") if row[0] == "planned"} == {
        ("planned", "rules_failed", now + timedelta(hours=1))
    }


def test_a_database_error_in_one_campaigns_rules_stops_no_other(make_house: MakeHouse) -> None:
    house = make_house(wake=_campaign(exit={"when": "clicked('hello')"}))
    house.due(2)
    house.due(3, campaign="gift")
    with house.losing("interactions") as take_away:
        take_away()
        result = house.run(Scripted())
    assert (result.sent, result.put_off, len(result.errors)) == (3, 2, 1)
    assert result.errors[0].startswith("the rules of campaign wake cannot be asked: ")
