"""What providers report moves messages and blocks addresses, once however often it comes; STOP is a no at once."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from tests.project.builder import campaign, email_step, write_shop
from tests.rows import add_customer, add_message
from tests.track.reporter import PROOF, Reporter
from tests.track.shops import Shop, make_project
from winback import ledger
from winback.ledger import Move
from winback.project import load_project
from winback.store import (
    MessageState,
    consents,
    customers,
    interactions,
    message_history,
    messages,
    receipts,
    suppressions,
    writing,
)
from winback.store.consent import record_consent
from winback.track.deliveries import settle_late

PHONE = "+4915112345678"

State = MessageState


@pytest.fixture
def shop(engine: Engine, tmp_path: Path, now: Any) -> Shop:
    """Give a shop whose gateway `relay` reports, and another one of the same kind."""
    reporters = {name: Reporter(name) for name in ("relay", "other")}
    return Shop(make_project(tmp_path / "shop", gateways={"relay": {"type": "outbox"}}), engine, now, reporters)


def _person(shop: Shop, external_id: str = "C1", **columns: Any) -> int:
    address = f"{external_id.lower()}@example.com"
    phone = columns.pop("phone", PHONE)
    with writing(shop.engine) as connection:
        return add_customer(
            connection, external_id, shop.now, email=address, email_hash=shop.hash(address),
            phone=phone, phone_hash=phone and shop.hash(phone), sms_marketing=True, sms_service=True, **columns,
        )  # fmt: skip


def _sent(shop: Shop, person: int, provider_id: str | None = "q1", *, hours: float = 1, **columns: Any) -> str:
    with writing(shop.engine) as connection:
        row = {"gateway": "relay", "provider_id": provider_id, **columns}
        return add_message(connection, person, shop.now - timedelta(hours=hours), **row)


def _report(shop: Shop, *events: dict[str, Any], gateway: str = "relay") -> int:
    return shop.call("POST", f"/hooks/{gateway}", content=json.dumps(events), headers=PROOF).status_code


def _state(shop: Shop, message_id: str) -> Any:
    return next(row for row in shop.records(messages) if row.id == message_id)


def _history(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(message_history, "from_state", "to_state", "reason", "worker")


DELIVERED = {"kind": "delivered", "provider_id": "q1"}
HARD = {"kind": "bounced", "provider_id": "q1", "hard_bounce": True, "text": "550 5.1.1 no such user"}
SOFT = {"kind": "bounced", "provider_id": "q1"}
COMPLAINED = {"kind": "complained", "provider_id": "q1"}


def test_a_delivery_moves_the_message_once(shop: Shop) -> None:
    message = _sent(shop, _person(shop))
    at = shop.now - timedelta(minutes=10)
    for _ in range(3):
        assert _report(shop, DELIVERED | {"at": at.isoformat()}) == 200
    row = _state(shop, message)
    assert (row.state, row.delivered_at) == ("delivered", at)
    assert _history(shop) == [("sent", "delivered", None, "receipts relay")]
    assert shop.rows(receipts, "gateway", "provider_id", "kind", "message_id", "at", "raw") == [
        ("relay", "q1", "delivered", message, at, {"as": "it came"})
    ]


def test_a_providers_clock_moves_nothing_into_the_future_or_before_the_sending(shop: Shop) -> None:
    first, second = _sent(shop, _person(shop)), _sent(shop, _person(shop, "C2"), "q2")
    ahead, behind = shop.now + timedelta(days=1), shop.now - timedelta(days=1)
    _report(shop, DELIVERED | {"at": ahead.isoformat()}, DELIVERED | {"provider_id": "q2", "at": behind.isoformat()[:19]})
    assert _state(shop, first).delivered_at == shop.now
    assert _state(shop, second).delivered_at == _state(shop, second).sent_at


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        ("sent", DELIVERED, "delivered"),
        ("sent", SOFT, "bounced"),
        ("sent", HARD, "bounced"),
        ("sent", COMPLAINED, "delivered"),
        ("delivered", SOFT, "bounced"),
        ("delivered", DELIVERED, "delivered"),
        ("bounced", DELIVERED, "bounced"),
        ("uncertain", DELIVERED, "delivered"),
        ("uncertain", HARD, "bounced"),
        ("failed", DELIVERED, "failed"),
        ("cancelled", HARD, "cancelled"),
        ("sending", DELIVERED, "sending"),
    ],
    ids=str,
)
def test_messages_move_along_the_ledgers_edges_only(shop: Shop, state: str, event: dict[str, Any], expected: str) -> None:
    message = _sent(shop, _person(shop), state=state)
    assert _report(shop, event) == 200
    assert _state(shop, message).state == expected
    assert len(_history(shop)) == (state != expected)


def test_several_reports_of_one_message_come_in_one_call(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "winback.track")
    message = _sent(shop, _person(shop))
    others = [_sent(shop, _person(shop, f"P{n}", phone=None), f"p{n}") for n in range(5)]
    _report(shop, DELIVERED, DELIVERED, *({**DELIVERED, "provider_id": f"p{n}"} for n in range(5)), HARD)
    assert _state(shop, message).state == "bounced"
    assert {_state(shop, other).state for other in others} == {"delivered"}
    assert len(shop.records(receipts)) == 7
    assert "count=8 bounced=1 delivered=7 new=7" in caplog.text


def test_an_uncertain_message_is_known_by_our_own_id_and_had_gone(shop: Shop) -> None:
    message = _sent(shop, _person(shop), None, state="uncertain", sent_at=None)
    _report(shop, DELIVERED | {"provider_id": message}, gateway="other")
    assert _state(shop, message).state == "uncertain", "another gateway knows nothing of it"
    _report(shop, DELIVERED | {"provider_id": message})
    row = _state(shop, message)
    assert (row.state, row.sent_at) == ("delivered", shop.now)


def test_ids_belong_to_their_gateway(shop: Shop) -> None:
    message = _sent(shop, _person(shop))
    assert _report(shop, HARD, gateway="other") == 200
    assert _state(shop, message).state == "sent"
    assert shop.records(suppressions) == []
    assert shop.rows(receipts, "gateway", "message_id") == [("other", None)]


def test_a_hard_bounce_blocks_the_address(shop: Shop) -> None:
    person = _person(shop)
    message = _sent(shop, person)
    for _ in range(2):
        _report(shop, HARD)
    assert shop.rows(suppressions, "channel", "address_hash", "reason", "source") == [
        ("email", shop.hash("c1@example.com"), "hard_bounce", "gateway relay")
    ]
    assert _history(shop) == [("sent", "bounced", "hard_bounce", "receipts relay")]
    assert shop.rows(message_history, "detail") == [("550 5.1.1 no such user",)]
    assert _state(shop, message).reason == "hard_bounce"
    assert shop.records(consents) == []


def test_a_soft_bounce_blocks_nobody(shop: Shop) -> None:
    _sent(shop, _person(shop))
    _report(shop, SOFT)
    assert shop.records(suppressions) == []


def test_the_address_that_bounced_is_blocked_and_not_the_new_one(shop: Shop) -> None:
    _sent(shop, _person(shop))
    _report(shop, HARD | {"recipient": "Old@Example.com"})
    assert shop.rows(suppressions, "address_hash") == [(shop.hash("old@example.com"),)]


def test_a_step_goes_by_its_other_channel_after_a_hard_bounce(shop: Shop, tmp_path: Path) -> None:
    step = email_step("hello", fallback={"channel": "sms", "on": ["hard_bounce"]})
    shop.project = load_project(write_shop(tmp_path / "other", campaigns={"sleeping": campaign(steps=[step])}))
    _sent(shop, _person(shop))
    for _ in range(2):
        _report(shop, HARD)
    assert sorted(shop.rows(messages, "step", "channel", "state")) == [
        ("hello", "email", "bounced"),
        ("hello:fallback", "sms", "planned"),
    ]


@pytest.mark.parametrize("purpose", ["marketing", "service"])
def test_a_complaint_blocks_the_address_and_is_a_no(shop: Shop, purpose: str) -> None:
    person = _person(shop)
    message = _sent(shop, person, purpose=purpose)
    for _ in range(2):
        _report(shop, COMPLAINED)
    assert shop.rows(suppressions, "channel", "address_hash", "reason") == [("email", shop.hash("c1@example.com"), "complaint")]
    noes = {(channel, "marketing", False, "complaint") for channel in ("email", "sms")} | (
        {("email", "service", False, "complaint")} if purpose == "service" else set()
    )
    assert set(shop.rows(consents, "channel", "purpose", "granted", "source")) == noes
    assert len(shop.records(consents)) == len(noes)
    assert shop.rows(interactions, "message_id", "kind") == [(message, "unsubscribe")]


def test_a_complaint_about_an_unknown_message_still_counts_for_the_address(shop: Shop) -> None:
    _person(shop)
    _report(shop, COMPLAINED | {"recipient": "c1@example.com"})
    assert shop.rows(suppressions, "reason") == [("complaint",)]
    noes = [("email", "marketing", False), ("sms", "marketing", False)]
    assert sorted(shop.rows(consents, "channel", "purpose", "granted")) == noes


def test_what_came_before_its_message_is_settled_with_the_next_call(shop: Shop) -> None:
    person, second = _person(shop), _person(shop, "C2")
    message = _sent(shop, person, None, state="sending", sent_at=None)
    other = _sent(shop, second, "q2", state="sending", sent_at=None)
    _report(shop, HARD, {**DELIVERED, "provider_id": "q2"})
    assert shop.rows(receipts, "message_id") == [(None,), (other,)]
    with writing(shop.engine) as connection:
        assert settle_late(connection, shop.project, shop.now) == 0, "they are still on their way"
    with writing(shop.engine) as connection:  # what the dispatcher records meanwhile
        moves = [
            Move(id_, State.SENDING, State.SENT, values={"sent_at": shop.now, "provider_id": provider_id, "gateway": "relay"})
            for id_, provider_id in ((message, "q1"), (other, "q2"))
        ]
        assert len(ledger.apply(connection, moves, now=shop.now, worker="w")) == 2
    _report(shop, {**DELIVERED, "provider_id": "of nobody"})
    assert (_state(shop, message).state, _state(shop, other).state) == ("bounced", "delivered")
    assert shop.rows(receipts, "message_id") == [(message,), (other,), (None,)]
    assert shop.rows(suppressions, "reason") == [("hard_bounce",)]


def test_a_pass_settles_them_too(shop: Shop) -> None:
    _report(shop, DELIVERED)
    message = _sent(shop, _person(shop))
    with writing(shop.engine) as connection:
        assert settle_late(connection, shop.project, shop.now) == 1
        assert settle_late(connection, shop.project, shop.now) == 0
    assert _state(shop, message).state == "delivered"


def _reply(text: str, number: str = PHONE, **more: Any) -> dict[str, Any]:
    return {"kind": "replied", "recipient": number, "text": text, **more}


@pytest.mark.parametrize("number", [PHONE, "4915112345678", "0151 12345678", " +49 151 12345678 "])
def test_a_stop_is_a_no_to_marketing_by_text_message(shop: Shop, number: str) -> None:
    person = _person(shop)
    _sent(shop, person, "s1", channel="sms", hours=3)
    last = _sent(shop, person, "s2", channel="sms", hours=2)
    service = _sent(shop, person, "s3", channel="sms", purpose="service")
    _sent(shop, person, "q4", hours=0.5)
    for _ in range(3):
        assert _report(shop, _reply("Stop!", number, provider_id="in-1")) == 200
    assert shop.rows(consents, "customer_id", "channel", "purpose", "granted", "source", "at") == [
        (person, "sms", "marketing", False, "stop reply", shop.now)
    ]
    [row] = shop.records(customers)
    assert (row.sms_marketing, row.sms_service, row.email_marketing) == (False, True, True)
    assert shop.rows(interactions, "message_id", "kind") == [(last, "unsubscribe")]
    assert shop.rows(receipts, "provider_id", "kind", "message_id") == [("in-1", "replied", service)]


def test_everybody_with_that_phone_is_meant_and_nobody_else(shop: Shop) -> None:
    family = [_person(shop), _person(shop, "C2")]
    _person(shop, "C3", phone="+4915112345679")
    _report(shop, _reply("STOP"))
    assert shop.rows(consents, "customer_id") == [(id_,) for id_ in family]


@pytest.mark.parametrize("text", ["We have got to STOP this bill", "please restart my order", "Thanks!", "", "START"])
def test_any_other_reply_is_kept_and_changes_nothing(shop: Shop, text: str) -> None:
    _person(shop)
    _report(shop, _reply(text, raw={"text": text}))
    assert shop.records(consents) == []
    assert shop.rows(receipts, "kind", "raw") == [("replied", {"text": text})]


def test_a_stop_after_other_words_is_never_taken_for_a_repetition(shop: Shop) -> None:
    person = _person(shop)
    _sent(shop, person, "s1", channel="sms")
    _report(shop, _reply("Who is this?", provider_id="s1"), _reply("Hello?"))  # one names our message, one nothing
    _report(shop, _reply("STOP", provider_id="s1"))
    assert shop.rows(consents, "granted") == [(False,)]
    with writing(shop.engine) as connection:
        connection.execute(update(customers).values(sms_marketing=True))
    _report(shop, _reply("stop"))
    assert len(shop.records(consents)) == 2


def test_a_start_takes_back_a_stop_and_no_other_no(shop: Shop) -> None:
    person, other = _person(shop), _person(shop, "C2", phone="+4915112345679")
    _report(shop, _reply("STOP", provider_id="1"))
    with writing(shop.engine) as connection:
        record_consent(connection, other, "sms", "marketing", False, shop.now, "phone call")
    shop.now += timedelta(minutes=5)
    for number in (PHONE, "+4915112345679"):
        _report(shop, _reply("please restart my order", number, provider_id=f"2{number}"))
        _report(shop, _reply("START", number, provider_id=f"3{number}"))
    allowed = dict(shop.rows(customers, "id", "sms_marketing"))
    assert allowed == {person: True, other: False}
    shop.now += timedelta(minutes=5)
    _report(shop, _reply("STOP", provider_id="1"))  # the provider repeats itself
    assert dict(shop.rows(customers, "id", "sms_marketing"))[person] is True
    _report(shop, _reply("STOP", provider_id="4"))
    assert dict(shop.rows(customers, "id", "sms_marketing"))[person] is False


def test_a_call_that_is_not_the_providers_changes_nothing(shop: Shop) -> None:
    message = _sent(shop, _person(shop))
    reply = shop.call("POST", "/hooks/relay", content=json.dumps([HARD]))
    assert reply.status_code == 403
    assert "without its proof" in reply.json()["detail"]
    assert (_state(shop, message).state, shop.records(receipts)) == ("sent", [])


def test_answers_for_calls_that_cannot_be_taken(shop: Shop) -> None:
    assert _report(shop, DELIVERED, gateway="nobody") == 404
    assert shop.call("POST", "/hooks/outbox", content=b"").status_code == 403  # takes no receipts
    assert shop.call("POST", "/hooks/relay", content=b"x" * 2_000_001, headers=PROOF).status_code == 413
    assert shop.call("POST", "/hooks/relay", content=b"not what the plugin expects", headers=PROOF).status_code == 400
    assert shop.call("PUT", "/hooks/relay", headers=PROOF).status_code == 405
    assert _report(shop) == 200
    broken = {"sms": {"type": "http_sms", "unknown": 1}}
    shop.project = make_project(shop.project.root.parent / "broken", gateways=broken)
    reply = shop.call("POST", "/hooks/sms", content=b"")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "60")


HOSTILE: list[dict[str, Any]] = [
    {"kind": "delivered", "provider_id": "a\0b"},
    {"kind": "delivered", "provider_id": "\ud800"},
    {"kind": "delivered", "provider_id": "x" * 10_000},
    {"kind": "delivered", "provider_id": ""},
    {"kind": "exploded", "provider_id": "q9"},
    {"kind": "bounced", "provider_id": "q1", "text": "\0" * 5_000, "hard_bounce": True},
    {"kind": "bounced", "provider_id": "q8", "recipient": "\0@\0", "hard_bounce": True},
    {"kind": "complained", "provider_id": "q7", "recipient": "+999"},
    {"kind": "replied", "recipient": "STOP", "text": "STOP"},
    {"kind": "replied", "recipient": None, "text": "\ud800 STOP"},
    {
        "kind": "replied",
        "recipient": "a@b@c",
        "text": "STOP",
        "raw": {"\0": ["\0", "\ud800", 10**400, [[[[[[[[[["deep"]]]]]]]]]]]},
    },
    {"kind": "delivered", "provider_id": "q6", "raw": {"long": "x" * 100_000}},
    {"kind": "delivered", "provider_id": "q5", "at": "0001-01-01T00:00:00"},
]


@pytest.mark.filterwarnings("error")
def test_nothing_that_is_reported_breaks_it(shop: Shop) -> None:
    _sent(shop, _person(shop))
    for event in HOSTILE:
        assert _report(shop, event) == 200, event
    assert _report(shop, *HOSTILE) == 200
    assert _report(shop, DELIVERED | {"provider_id": "after all"}) == 200


def test_nothing_personal_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    _sent(shop, _person(shop))
    _report(shop, HARD | {"recipient": "c1@example.com"}, _reply("STOP"), _reply("My name is Ada"), COMPLAINED)
    shop.call("POST", "/hooks/relay", content=json.dumps([HARD]))
    told = caplog.text
    assert "receipts gateway=relay" in told
    for personal in ("c1@example", PHONE, PHONE[1:], "Ada", "STOP", "550 5.1.1", shop.hash(PHONE)):
        assert personal not in told


SMS = {
    "type": "http_sms",
    "url": "http://127.0.0.1:9/send",
    "form": {"to": "{recipient}", "text": "{text}"},
    "receipts": {
        "query": {"key": {"file": "api.key"}},
        "id": "MessageSid",
        "status": "MessageStatus",
        "statuses": {"delivered": "delivered", "undelivered": "hard"},
        "sender": "From",
        "text": "Body",
    },
}


def test_a_real_gateway_reads_its_providers_forms(engine: Engine, tmp_path: Path, now: Any) -> None:
    shop = Shop(make_project(tmp_path / "shop", gateways={"sms": SMS}), engine, now)
    message = _sent(shop, _person(shop), "SM1", channel="sms", gateway="sms")
    key = {"key": (shop.project.root / "api.key").read_text(encoding="utf-8")}
    status = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    assert shop.call("POST", "/hooks/sms", data=status).status_code == 403
    assert shop.call("POST", "/hooks/sms", data=status, params=key).status_code == 200
    assert _state(shop, message).state == "delivered"
    stop = {"From": PHONE[1:], "Body": "Stop"}
    assert shop.call("GET", "/hooks/sms", params=stop | key).status_code == 200
    assert shop.rows(consents, "channel", "granted", "source") == [("sms", False, "stop reply")]
