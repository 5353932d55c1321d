"""What a mail says moves the message it is about and blocks its address, once; what proves nothing changes nobody."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from tests.project.builder import campaign, email_step, sms_step, write_shop
from tests.track.bounces.mails import RELAYS, mail, person, sent
from tests.track.shops import Shop, make_project
from winback.project import load_project
from winback.store import consents, customers, interactions, message_history, messages, receipts, suppressions, writing
from winback.store.consent import record_consent
from winback.track.bounces import Kind, parse
from winback.track.bounces.taking import Taken, take
from winback.track.deliveries import settle_late


@pytest.fixture
def shop(engine: Engine, tmp_path: Path, now: datetime) -> Shop:
    """Give a shop with a gateway named relay."""
    return Shop(make_project(tmp_path / "shop", gateways={"relay": {"type": "outbox"}}), engine, now)


def took(shop: Shop, *mails: bytes) -> Taken:
    """Work off mails as a pass does."""
    with writing(shop.engine) as connection:
        return take(connection, shop.project, [parse(each) for each in mails], shop.now)


def state(shop: Shop, message_id: str) -> tuple[str, str | None]:
    row = next(row for row in shop.records(messages) if row.id == message_id)
    return row.state, row.reason


def blocked(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(suppressions, "channel", "address_hash", "reason", "source")


def log(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(receipts, "kind", "message_id")


BOB = "bob@example.com"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("postfix_unknown_user", ("bounced", "hard_bounce")),
        ("mailbox_full", ("bounced", "soft_bounce")),
        ("spamhaus", ("bounced", "blocked")),
        ("forwarded_then_unknown", ("bounced", "unclear_bounce")),
        ("postfix_still_trying", ("sent", None)),
        ("delivered_notification", ("delivered", None)),
        ("away_de_subject_only", ("delivered", None)),
        ("arf_abuse", ("delivered", "complaint")),
        ("arf_not_spam", ("sent", None)),
        ("reply_question", ("sent", None)),
        ("newsletter", ("sent", None)),
        ("read_receipt", ("sent", None)),
    ],
)
def test_a_mail_moves_the_message_it_is_about(shop: Shop, name: str, expected: tuple[str, str | None]) -> None:
    message = sent(shop, person(shop))
    other = sent(shop, person(shop, "C2", "eve@example.com"))
    for _ in range(2):  # read again by another process, or after a kill
        took(shop, mail(name, message))
    assert state(shop, message) == expected
    assert state(shop, other) == ("sent", None)
    assert len(shop.rows(message_history, "id")) == (expected[0] != "sent")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("postfix_unknown_user", "hard_bounce"),
        ("gmail_unknown_user", "hard_bounce"),
        ("exim_old_plain_text", "hard_bounce"),
        ("arf_abuse", "complaint"),
        ("hotmail_jmrp", "complaint"),
        ("mailbox_full", None),
        ("spamhaus", None),
        ("dmarc_rejected", None),
        ("taken_for_spam", None),
        ("forwarded_then_unknown", None),
        ("away_en_outlook", None),
    ],
)
def test_only_what_tells_of_the_address_blocks_it(shop: Shop, name: str, reason: str | None) -> None:
    took(shop, mail(name, sent(shop, person(shop))))
    assert blocked(shop) == ([] if reason is None else [("email", shop.hash(BOB), reason, "gateway mailbox")])


def test_what_the_server_said_is_kept(shop: Shop) -> None:
    message = sent(shop, person(shop))
    took(shop, mail("postfix_unknown_user", message))
    [(gateway, kind, about, raw)] = shop.rows(receipts, "gateway", "kind", "message_id", "raw")
    assert (gateway, kind, about) == ("mailbox", "bounced", message)
    assert raw["mail"] == "hard"
    assert raw["status"] == "5.1.1"
    assert raw["recipients"] == [BOB]
    said = "550 5.1.1 <bob@example.com>: Recipient address rejected: User unknown in virtual mailbox table"
    assert raw["diagnostic"] == said
    assert shop.rows(message_history, "to_state", "reason", "detail", "worker") == [
        ("bounced", "hard_bounce", said, "receipts mailbox")
    ]


def test_a_complaint_is_a_no_to_marketing_on_every_channel(shop: Shop) -> None:
    customer = person(shop)
    took(shop, mail("arf_abuse", sent(shop, customer)))
    assert sorted(shop.rows(consents, "customer_id", "channel", "purpose", "granted", "source")) == [
        (customer, channel, "marketing", False, "complaint") for channel in ("email", "sms")
    ]
    assert shop.rows(interactions, "kind") == [("unsubscribe",)]


def test_a_step_that_falls_back_goes_by_the_other_channel(engine: Engine, tmp_path: Path, now: datetime) -> None:
    step = email_step("hello", fallback={"channel": "sms", "on": ["hard_bounce"], "template": "text"})
    project = make_project(tmp_path / "shop")
    (project.root / "campaigns" / "sleeping.toml").unlink()
    write_shop(project.root, campaigns={"sleeping": campaign(steps=[step, sms_step("text", after="2d")])})
    shop = Shop(load_project(project.root), engine, now)
    took(shop, mail("postfix_unknown_user", sent(shop, person(shop))))
    assert ("hello:fallback", "sms", "planned") in shop.rows(messages, "step", "channel", "state")


# Which message it is about


def test_a_letter_that_the_relay_renamed_is_known_by_its_name_for_it(shop: Shop) -> None:
    message = sent(shop, person(shop), provider_id=RELAYS)
    took(shop, mail("ses_unknown_user"))
    assert state(shop, message) == ("bounced", "hard_bounce")


def test_a_short_name_that_can_be_guessed_proves_nothing(shop: Shop) -> None:
    message = sent(shop, person(shop), provider_id="4F2A1C0DE", hours=24 * 8)
    forged = mail("postfix_unknown_user").replace(b"0b9d7c7e-2a41-5c3b-9d0f-3c6f6d2b7a51@", b"4F2A1C0DE@")
    took(shop, forged)
    assert state(shop, message) == ("sent", None)


def test_a_link_that_the_shop_signed_proves_the_letter(shop: Shop) -> None:
    message = sent(shop, person(shop))
    token = shop.token("unsubscribe", message)
    took(shop, mail("postfix_unknown_user", "somebody-elses-own-message-id", token=token))
    assert state(shop, message) == ("bounced", "hard_bounce")


def test_a_link_that_another_shop_signed_proves_nothing(shop: Shop) -> None:
    message = sent(shop, person(shop), hours=24 * 8)
    token = Shop.token(shop, "unsubscribe", message)
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    took(shop, mail("arf_abuse", "somebody-elses-own-message-id", token=changed))
    assert state(shop, message) == ("sent", None)
    assert blocked(shop) == []


def test_an_uncertain_letter_that_comes_back_had_gone(shop: Shop) -> None:
    message = sent(shop, person(shop), state="uncertain", sent_at=None)
    took(shop, mail("mailbox_full", message))
    assert state(shop, message) == ("bounced", "soft_bounce")


def test_a_bounce_that_comes_while_the_letter_is_being_recorded_counts_with_the_next_pass(shop: Shop) -> None:
    message = sent(shop, person(shop), state="sending", sent_at=None)
    took(shop, mail("postfix_unknown_user", message), mail("mailbox_full", message))
    assert state(shop, message) == ("sending", None)
    with writing(shop.engine) as connection:
        connection.execute(messages.update().values(state="sent", sent_at=shop.now))
    with writing(shop.engine) as connection:
        assert settle_late(connection, shop.project, shop.now) >= 1
    assert state(shop, message) == ("bounced", "hard_bounce")
    with writing(shop.engine) as connection:
        assert settle_late(connection, shop.project, shop.now) == 0


def test_a_letter_turned_away_because_of_us_does_not_count_when_settled_late(shop: Shop) -> None:
    message = sent(shop, person(shop), state="sending", sent_at=None)
    took(shop, mail("spamhaus", message))
    with writing(shop.engine) as connection:
        connection.execute(messages.update().values(state="sent", sent_at=shop.now))
        settle_late(connection, shop.project, shop.now)
    assert state(shop, message) == ("bounced", "blocked")


# What anybody can write


def test_a_bounce_of_an_address_that_nobody_wrote_to_is_kept_and_changes_nothing(shop: Shop) -> None:
    message = sent(shop, person(shop))
    forged = mail("postfix_unknown_user", str(uuid.uuid4()), "mallory@example.com")
    assert took(shop, forged).settled == frozenset()
    assert log(shop) == [("bounced", None)]
    assert state(shop, message) == ("sent", None)
    assert blocked(shop) == []


def test_a_bounce_that_merely_names_an_address_of_ours_blocks_nobody(shop: Shop) -> None:
    customer = person(shop)
    older, newest = sent(shop, customer, hours=30, occasion="a"), sent(shop, customer, hours=2, occasion="b")
    took(shop, mail("only_an_address"))
    assert state(shop, newest) == ("bounced", "unclear_bounce")
    assert state(shop, older) == ("sent", None)
    assert blocked(shop) == []
    # The real one still counts.
    took(shop, mail("postfix_unknown_user", newest))
    assert blocked(shop) == [("email", shop.hash(BOB), "hard_bounce", "gateway mailbox")]


def test_nor_does_it_reach_back_to_letters_of_long_ago(shop: Shop) -> None:
    message = sent(shop, person(shop), hours=24 * 8)
    took(shop, mail("only_an_address"))
    assert state(shop, message) == ("sent", None)


def test_a_complaint_that_merely_names_an_address_of_ours_blocks_nobody(shop: Shop) -> None:
    message = sent(shop, person(shop))
    took(shop, mail("arf_abuse", str(uuid.uuid4())))
    assert (blocked(shop), shop.records(consents), state(shop, message)) == ([], [], ("sent", None))
    assert log(shop) == [("complained", None)]


def test_who_got_a_letter_cannot_have_another_address_blocked_with_it(shop: Shop) -> None:
    mallory = sent(shop, person(shop, "M", "mallory@example.com"))
    victim = sent(shop, person(shop))
    took(shop, mail("postfix_unknown_user", mallory, BOB), mail("arf_abuse", mallory, BOB))
    assert state(shop, victim) == ("sent", None)
    assert [row[1] for row in blocked(shop)] == [shop.hash("mallory@example.com")]


def test_an_old_address_that_bounces_does_not_block_the_new_one(shop: Shop) -> None:
    customer = person(shop)
    message = sent(shop, customer)
    with writing(shop.engine) as connection:
        new = {"email": "bob@new.example", "email_hash": shop.hash("bob@new.example")}
        connection.execute(customers.update().values(**new))
    took(shop, mail("postfix_unknown_user", message))
    assert state(shop, message) == ("bounced", "unclear_bounce")
    assert blocked(shop) == []


def test_an_erased_person_gets_nothing_new(shop: Shop) -> None:
    message = sent(shop, person(shop))
    with writing(shop.engine) as connection:
        connection.execute(customers.update().values(email=None, email_hash=None, erased_at=shop.now))
    took(shop, mail("postfix_unknown_user", message))
    assert blocked(shop) == []


# Answers


def test_an_answer_is_kept_for_people_to_read(shop: Shop) -> None:
    message = sent(shop, person(shop))
    for _ in range(2):
        assert took(shop, mail("reply_question", message)).settled == frozenset()
    [(kind, about, raw)] = shop.rows(receipts, "kind", "message_id", "raw")
    assert (kind, about, raw["from"], raw["subject"]) == ("replied", message, BOB, "Re: Hello again")
    assert raw["text"] == "Do you have it on vinyl, too?\n\nBob"
    assert shop.records(consents) == []


@pytest.mark.parametrize("name", ["reply_stop", "reply_stop_de_outlook_html", "unsubscribe_by_subject"])
def test_a_stop_by_mail_is_a_no_to_marketing_by_mail(shop: Shop, name: str) -> None:
    customer = person(shop, sms_marketing=True)
    message = sent(shop, customer)
    for _ in range(2):
        took(shop, mail(name, message))
    assert shop.rows(consents, "customer_id", "channel", "purpose", "granted") == [(customer, "email", "marketing", False)]
    with shop.engine.connect() as connection:
        assert connection.scalar(select(customers.c.sms_marketing)) is True


def test_a_stop_from_another_address_stops_who_got_the_letter(shop: Shop) -> None:
    customer = person(shop)
    message = sent(shop, customer)
    took(shop, mail("reply_stop", message, "bobs-other-address@example.com"))
    assert shop.rows(consents, "customer_id", "granted") == [(customer, False)]


def test_a_forged_start_takes_no_stop_back(shop: Shop) -> None:
    customer = person(shop)
    message = sent(shop, customer)
    took(shop, mail("reply_stop", message))
    start = mail("reply_stop", message, date=shop.now).replace(b"Stop!", b"START")
    shop.now += timedelta(minutes=1)
    took(shop, start.replace(message.encode(), b"nothing-that-we-ever-sent"))
    assert [granted for (granted,) in shop.rows(consents, "granted")] == [False]
    took(shop, start)  # in answer to the letter it counts
    assert [granted for (granted,) in shop.rows(consents, "granted")] == [False, True]


def test_other_peoples_mail_is_not_kept(shop: Shop) -> None:
    person(shop)
    taken = took(shop, mail("strangers_letter"), mail("newsletter"), mail("reply_question", str(uuid.uuid4())))
    assert shop.records(receipts) == []
    assert taken.settled == frozenset()
    assert taken.counts == {Kind.REPLY: 2, Kind.OTHER: 1}


def test_many_mails_at_once_are_each_about_their_own(shop: Shop) -> None:
    people = [person(shop, f"C{number}", f"p{number}@example.com") for number in range(40)]
    ids = [sent(shop, each) for each in people]
    names = ["postfix_unknown_user", "mailbox_full", "spamhaus", "away_fr"]
    mails = [mail(names[number % 4], each, f"p{number}@example.com") for number, each in enumerate(ids)]
    taken = took(shop, *mails, *mails)
    assert taken.counts["new"] == 40
    assert len(taken.settled) == 40
    expected = [("bounced", "hard_bounce"), ("bounced", "soft_bounce"), ("bounced", "blocked"), ("delivered", None)]
    assert [state(shop, each) for each in ids] == [expected[number % 4] for number in range(40)]
    assert len(blocked(shop)) == 10


def test_a_withdrawn_consent_is_not_given_back_by_a_later_bounce(shop: Shop) -> None:
    customer = person(shop)
    message = sent(shop, customer)
    with writing(shop.engine) as connection:
        record_consent(connection, customer, "email", "marketing", False, shop.now, "one-click")
    took(shop, mail("mailbox_full", message))
    assert len(shop.records(consents)) == 1
