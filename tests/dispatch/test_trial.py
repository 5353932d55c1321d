"""A shop that is tried out: who is not allowed gets nothing, or somebody else gets it instead, and the customer is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from tests.compose.signatures import ed25519_key, verdicts
from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted
from tests.dispatch.house import House
from tests.scheduler.shops import WAKE, add_sleepers, make_shop, rows
from tests.servers.smtp import smtp_server
from winback.compose.dkim_keys import private_pem
from winback.compose.sms import count_segments
from winback.dispatch import recover
from winback.dispatch.journal import Handover, Journal
from winback.gateways.base import Outgoing, Refused
from winback.plan.explain import explain
from winback.scheduler import run_pass
from winback.store import customers, messages, reading, suppressions, writing

QA = "qa@halfnote.example"
QA_PHONE = "+4915100000042"

REDIRECT = {"redirect_email": QA, "redirect_sms": QA_PHONE}


def on_trial(make_house: MakeHouse, **deliver: Any) -> House:
    return make_house(settings={"deliver": deliver})


def reasons(house: House) -> list[tuple[Any, ...]]:
    return house.rows("step", "state", "reason")


def test_only_who_is_allowed_gets_messages_on_either_channel(make_house: MakeHouse) -> None:
    house = on_trial(make_house, allow=["@ourshop.example", "anna@example.com", "+4915112345678"])
    house.due(email="bob@ourshop.example")
    house.due(email="anna@example.com")
    house.due(email="anna@example.com.evil.example")
    house.due(email="bob@example.com", phone="+4915112345678")  # allowed by SMS, but a letter stays a letter
    house.due(campaign="care", phone="+4915112345678")
    house.due(campaign="care", phone="+4915112345679")
    gateway = Scripted()
    result = house.run(gateway)
    assert sorted(gateway.addresses) == ["+4915112345678", "anna@example.com", "bob@ourshop.example"]
    assert (result.sent, dict(result.skipped)) == (3, {"not_allowed": 3})
    assert [row for row in reasons(house) if row[1] != "sent"] == [
        ("hello", "skipped", "not_allowed"),
        ("hello", "skipped", "not_allowed"),
        ("care", "skipped", "not_allowed"),
    ]


@pytest.mark.parametrize("deliver", [{"allow": []}, {"redirect_sms": QA_PHONE}], ids=str)
def test_what_is_not_said_goes_to_nobody(make_house: MakeHouse, deliver: dict[str, Any]) -> None:
    house = on_trial(make_house, **deliver)
    house.due(3)
    gateway = Scripted()
    assert house.run(gateway).sent == 0
    assert gateway.arrived == []
    assert house.states() == {"skipped": 3}


def test_an_address_that_changes_after_the_rules_were_asked_is_asked_about_again(make_house: MakeHouse) -> None:
    house = on_trial(make_house, allow=["@example.com"])
    due = sorted(house.due(120))  # more than are loaded at once; they go in the order of their ids

    def decide(message: Outgoing) -> Refused:
        with writing(house.engine) as connection:
            last = house.row(due[-1]).customer_id
            connection.execute(update(customers).where(customers.c.id == last).values(email="new@elsewhere.example"))
        return Refused("no")

    gateway = Scripted(decide=decide)
    result = house.run(gateway)
    assert (result.failed, dict(result.skipped)) == (119, {"not_allowed": 1})
    assert house.row(due[-1]).reason == "not_allowed"


def test_who_is_not_allowed_comes_into_no_campaign(engine: Engine, database_url: str, tmp_path: Path, now: Any) -> None:
    """So that they come in when the shop is no longer tried out."""
    allowed = {"deliver": {"allow": ["s0001@example.com"]}}
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings=allowed)
    add_sleepers(engine, 3, now)
    outcome = run_pass(engine, project, now, "test")
    assert outcome.plan is not None
    assert outcome.plan.campaigns[0].turned_away == {"not_allowed": 2}
    assert rows(engine, "external_id", "state") == [("S0001", "sent")]
    with reading(engine) as connection:
        failed = explain(connection, project, "wake", "S0000", now).first_failure
    assert failed is not None
    assert failed.rule == "not_allowed"
    live = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings={"deliver": {"email": "outbox"}})
    assert run_pass(engine, live, now, "test").sent == 2


def test_a_letter_goes_to_somebody_else_on_the_wire_and_says_whose_it_is(make_house: MakeHouse) -> None:
    with smtp_server() as server:
        relay = {"type": "smtp", "host": server.host, "port": server.port, "tls": "none"}
        house = make_house(settings={"deliver": {"email": "relay", **REDIRECT}, "gateways": {"relay": relay}})
        house.due(first_name="Zoë", email="zoe@example.com")
        house.due(email="a" * 60 + "@example.com")
        assert house.run().sent == 2
        received = list(server.messages)
    assert [each.recipient for each in received] == [QA, QA]
    letters = [message_from_bytes(each.content, policy=policy.default) for each in received]
    assert [letter["To"] for letter in letters] == [QA, QA]
    assert sorted(letter["X-Winback-To"].strip() for letter in letters) == ["a" * 60 + "@example.com", "zoe@example.com"]
    assert all(len(line) <= 78 for each in received for line in each.content.partition(b"\r\n\r\n")[0].split(b"\r\n")[:2])
    assert sorted(letter["Subject"] for letter in letters) == ["Hello Zoë", "Hello you"]
    assert all(letter["List-Unsubscribe"] for letter in letters)
    assert [part.defects for letter in letters for part in letter.walk()] == [[]] * 6
    assert {row[0] for row in house.rows("redirected")} == {True}


def test_its_signature_holds(make_house: MakeHouse, tmp_path: Path) -> None:
    key = ed25519_key()
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    keys = [{"selector": key.selector, "algorithm": key.algorithm, "private_key": {"file": str(tmp_path / "key.pem")}}]
    house = make_house(settings={"deliver": REDIRECT, "dkim": keys, "shop": {"email_from": "hello@shop.example"}})
    house.due()
    gateway = Scripted()
    house.run(gateway)
    [letter] = gateway.arrived
    assert letter.content.startswith(b"X-Winback-To: ")
    assert verdicts(letter.content, [key]) == [True]
    assert verdicts(letter.content.replace(b"To: " + QA.encode(), b"To: zoe@example.com"), [key]) == [False]


def test_a_text_message_goes_to_somebody_else_and_begins_with_the_number(make_house: MakeHouse) -> None:
    house = on_trial(make_house, **REDIRECT)
    [message] = house.due(campaign="care", phone="+4915112345678")
    gateway = Scripted()
    house.run(gateway)
    [text] = gateway.arrived
    assert text.recipient == QA_PHONE
    assert text.text.startswith("[+4915112345678] Keep records upright.")
    assert house.row(message).segments == count_segments(text.text).count


def test_who_is_allowed_gets_their_own_and_somebody_else_the_rest(make_house: MakeHouse) -> None:
    house = on_trial(make_house, allow=["anna@example.com"], redirect_email=QA)
    own, other = house.due(email="anna@example.com") + house.due(email="bob@example.com")
    gateway = Scripted()
    house.run(gateway)
    assert dict(zip(gateway.ids, gateway.addresses, strict=True)) == {own: "anna@example.com", other: QA}
    assert b"X-Winback-To" not in next(each.content for each in gateway.arrived if each.message_id == own)
    assert (house.row(own).redirected, house.row(other).redirected) == (False, True)


HOSTILE = [
    "a@example.com\r\nBcc: everybody@example.com",
    "a@example.com\nX: y",
    "a@example.com\r\n\r\nbody",
    "ü@example.com",
    "a b@example.com",
    "x" * 300 + "@example.com",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_is_none_makes_no_header(make_house: MakeHouse, address: str) -> None:
    house = on_trial(make_house, **REDIRECT)
    house.due(email=address)
    gateway = Scripted()
    house.run(gateway)
    [arrived] = gateway.arrived
    letter = message_from_bytes(arrived.content, policy=policy.default)
    assert (letter["X-Winback-To"], letter["Bcc"], letter["X"]) == ("an address that cannot be shown", None, None)
    assert letter.get_body() is not None
    assert arrived.recipient == QA


def test_no_address_is_not_replaced(make_house: MakeHouse) -> None:
    house = on_trial(make_house, **REDIRECT)
    house.due(email=None, phone=None)
    gateway = Scripted()
    house.run(gateway)
    assert gateway.arrived == []
    assert [row[2] for row in reasons(house)] == ["no_address"]


def blocked(house: House) -> int:
    with reading(house.engine) as connection:
        return len(connection.execute(select(suppressions)).all())


def bounce(_: Outgoing) -> Refused:
    return Refused("550 5.1.1 no such user", hard_bounce=True)


@pytest.mark.parametrize(("deliver", "suppressed", "fell_back"), [(REDIRECT, 0, 0), ({"allow": ["@example.com"]}, 1, 1)], ids=str)
def test_when_it_bounces_at_somebody_elses_the_customer_is_left_alone(
    make_house: MakeHouse, deliver: dict[str, Any], suppressed: int, fell_back: int
) -> None:
    house = on_trial(make_house, **deliver)
    house.due(email_hash="e" * 32)
    house.run(Scripted(decide=lambda message: bounce(message) if message.channel == "email" else Refused("later")))
    assert reasons(house)[0][:2] == ("hello", "failed")
    assert blocked(house) == suppressed
    assert sum(row[0] == "hello:fallback" for row in reasons(house)) == fell_back


def test_it_is_still_known_after_a_crash(make_house: MakeHouse) -> None:
    house = on_trial(make_house, **REDIRECT)
    [message] = house.due(email_hash="e" * 32)
    killed(house, message, lambda journal: journal.hand_over(message, Handover("outbox", "Hello", None, redirected=True)))
    assert recover(house.engine, house.project, now=house.now, gateways={"outbox": Scripted()}).uncertain == 1
    assert house.row(message).redirected


def test_where_the_journal_was_lost_it_is_taken_for_redirected(make_house: MakeHouse) -> None:
    house = on_trial(make_house, **REDIRECT)
    [message] = house.due()
    killed(house, message, lambda journal: None)
    later = house.now + timedelta(minutes=20)
    for file in (house.project.var / "dispatch").glob("*.journal"):
        file.unlink()
    assert recover(house.engine, house.project, now=later, gateways={}).uncertain == 1
    assert house.row(message).redirected


def killed(house: House, message: str, write: Callable[[Journal], None]) -> None:
    """Leave behind what a dispatcher does that is killed with a message in its hands."""
    journal = Journal.open(house.project.var / "dispatch", "victim")
    write(journal)
    with writing(house.engine) as connection:
        connection.execute(
            update(messages)
            .where(messages.c.id == message)
            .values(state="sending", claimed_by=journal.name, claimed_at=house.now)
        )
    journal.close(keep=True)


def test_while_nobody_knows_to_whom_it_may_write_nothing_goes(make_house: MakeHouse) -> None:
    house = make_house()
    house.due(2)
    house.project = replace(house.project, unclear="to whom messages may go is not clear: config.toml:2: deliver.alow")
    gateway = Scripted()
    result = house.run(gateway)
    assert (gateway.arrived, result.errors) == ([], [f"{house.project.unclear}; nothing is sent"])
    assert house.states() == {"planned": 2}


def test_the_outbox_shows_who_got_it(make_house: MakeHouse) -> None:
    house = on_trial(make_house, **REDIRECT)
    house.due(email="zoe@example.com")
    assert house.run().sent == 1
    [about] = (house.project.var / "outbox").glob("*/*.json")
    assert json.loads(about.read_text())["recipient"] == QA
