"""Five soft bounces in a row over a week and more give an address up; any sign of life in between begins the count anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, update

from tests.rows import add_message
from tests.track.bounces.mails import mail, person
from tests.track.reporter import PROOF, Reporter
from tests.track.shops import Shop, make_project
from winback.store import customers, interactions, messages, reading, suppressions, writing
from winback.store.consent import suppress, unblocked, unsuppress
from winback.track.bounces import parse
from winback.track.bounces.taking import take


class Sender:
    """Sends letters to one customer, a number of days before `now`, and has them come back."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.customer = person(shop)
        self.now = shop.now

    def letter(self, days: float, state: str = "sent") -> str:
        at = self.now - timedelta(days=days)
        with writing(self.shop.engine) as connection:
            return add_message(connection, self.customer, at, gateway="relay", state=state, occasion=f"{days}")

    def comes_back(self, days: float, case: str = "mailbox_full") -> None:
        """Send a letter and read its bounce an hour later."""
        message = self.letter(days)
        at = self.now - timedelta(days=days) + timedelta(hours=1)
        with writing(self.shop.engine) as connection:
            take(connection, self.shop.project, [parse(mail(case, message, date=at))], at)

    def blocked(self) -> list[str]:
        return [reason for (reason,) in self.shop.rows(suppressions, "reason")]


@pytest.fixture
def sender(engine: Engine, tmp_path: Path, now: datetime) -> Sender:
    """Give a shop with one customer."""
    reporters = {"relay": Reporter("relay")}
    return Sender(Shop(make_project(tmp_path / "shop", gateways={"relay": {"type": "outbox"}}), engine, now, reporters))


def test_five_in_a_row_over_a_week_give_the_address_up(sender: Sender) -> None:
    for days in (9, 7, 5, 3.5):
        sender.comes_back(days)
        assert sender.blocked() == []
    sender.comes_back(2)
    assert sender.blocked() == ["soft_bounces"]
    [row] = sender.shop.records(suppressions)
    assert (row.channel, row.address_hash, row.source) == ("email", sender.shop.hash("bob@example.com"), "gateway mailbox")


def test_four_in_a_row_do_not(sender: Sender) -> None:
    for days in (30, 20, 10, 1):
        sender.comes_back(days)
    assert sender.blocked() == []


def test_a_week_has_to_pass(sender: Sender) -> None:
    for days in (6, 5, 4, 3, 2, 1):
        sender.comes_back(days)
    assert sender.blocked() == [], "six, but within five days"
    sender.now += timedelta(days=1)
    sender.comes_back(0)
    assert sender.blocked() == ["soft_bounces"]


def _opened(sender: Sender) -> None:
    message = sender.letter(6, "bounced")
    with writing(sender.shop.engine) as connection:
        connection.execute(update(messages).where(messages.c.id == message).values(reason="blocked"))
        row = {"message_id": message, "customer_id": sender.customer, "campaign": "sleeping", "step": "hello", "kind": "open"}
        connection.execute(insert(interactions).values(**row, klass="human", at=sender.now - timedelta(days=4)))


def _arrived_by_report(sender: Sender) -> None:
    sender.letter(4, "delivered")


def _did_not_come_back(sender: Sender) -> None:
    sender.letter(10)


def _said_to_be_good(sender: Sender) -> None:
    address = sender.shop.hash("bob@example.com")
    with writing(sender.shop.engine) as connection:
        suppress(connection, "email", address, "manual", sender.now - timedelta(days=5), "staff")
        assert unsuppress(connection, "email", address, sender.now - timedelta(days=4), "staff Clara") is not None


@pytest.mark.parametrize("sign", [_opened, _arrived_by_report, _did_not_come_back, _said_to_be_good])
def test_a_sign_of_life_begins_the_count_anew(sender: Sender, sign: Callable[[Sender], None]) -> None:
    for days in (14, 12, 8.5, 5):
        sender.comes_back(days)
    sign(sender)
    sender.comes_back(1)
    assert sender.blocked() == []


def _turned_away(sender: Sender) -> None:
    sender.comes_back(4, "spamhaus")


def _on_its_way(sender: Sender) -> None:
    sender.letter(2)  # sent, and may still come back


def _by_sms(sender: Sender) -> None:
    with writing(sender.shop.engine) as connection:
        at = sender.now - timedelta(days=3)
        add_message(connection, sender.customer, at, channel="sms", state="delivered", occasion="sms")


@pytest.mark.parametrize("between", [_turned_away, _on_its_way, _by_sms])
def test_what_tells_nothing_of_the_mailbox_is_passed_over(sender: Sender, between: Callable[[Sender], None]) -> None:
    for days in (14, 12, 8, 5):
        sender.comes_back(days)
    between(sender)
    assert sender.blocked() == []
    sender.comes_back(1)
    assert sender.blocked() == ["soft_bounces"]


def test_being_turned_away_never_counts(sender: Sender) -> None:
    for days in range(20, 0, -1):
        sender.comes_back(days, "spamhaus")
        sender.comes_back(days + 0.5, "taken_for_spam")
    assert sender.blocked() == []


def test_being_turned_away_does_not_fill_up_a_row(sender: Sender) -> None:
    sender.comes_back(14)
    for days in (12, 10, 8, 6):
        sender.comes_back(days, "spamhaus")
    sender.comes_back(1)
    assert sender.blocked() == []


def test_a_webhook_that_says_it_was_us_blocks_nobody(sender: Sender) -> None:
    message = sender.letter(1)
    event = f'[{{"kind": "bounced", "provider_id": "{message}", "hard_bounce": true, "cause": "us"}}]'
    assert sender.shop.call("POST", "/hooks/relay", content=event, headers=PROOF).status_code == 200
    assert sender.shop.rows(messages, "state", "reason") == [("bounced", "blocked")]
    assert sender.blocked() == []


def test_bounces_that_a_webhook_reports_count_as_well(sender: Sender) -> None:
    for number, days in enumerate((9, 7, 5, 3, 1)):
        message = sender.letter(days)
        event = f'[{{"kind": "bounced", "provider_id": "{message}"}}]'
        sender.shop.now = sender.now - timedelta(days=days)
        assert sender.shop.call("POST", "/hooks/relay", content=event, headers=PROOF).status_code == 200
        assert sender.blocked() == (["soft_bounces"] if number == 4 else [])


# Undoing


def test_a_suppression_taken_back_says_who_and_when(sender: Sender) -> None:
    address, at = sender.shop.hash("bob@example.com"), sender.now
    sender.comes_back(1, "postfix_unknown_user")
    with writing(sender.shop.engine) as connection:
        done = unsuppress(connection, "email", address, at, "staff Clara")
        assert unsuppress(connection, "email", address, at, "staff Dora") is None
    assert done is not None
    assert (done.by, done.at, done.reason, done.source) == ("staff Clara", at, "hard_bounce", "gateway mailbox")
    assert sender.blocked() == []
    with reading(sender.shop.engine) as connection:
        assert unblocked(connection, "email", address) == done
        assert unblocked(connection, "sms", address) is None


def test_after_undoing_only_new_bounces_block_again(sender: Sender) -> None:
    address = sender.shop.hash("bob@example.com")
    message = sender.letter(1)
    bounce = parse(mail("postfix_unknown_user", message))
    with writing(sender.shop.engine) as connection:
        take(connection, sender.shop.project, [bounce], sender.now)
        unsuppress(connection, "email", address, sender.now, "staff Clara")
    with writing(sender.shop.engine) as connection:  # the same bounce, read again
        take(connection, sender.shop.project, [bounce], sender.now)
    assert sender.blocked() == []
    sender.comes_back(0.1, "postfix_unknown_user")
    assert sender.blocked() == ["hard_bounce"]
    with writing(sender.shop.engine) as connection:
        again = unsuppress(connection, "email", address, sender.now + timedelta(days=1), "staff Dora")
    assert again is not None
    with reading(sender.shop.engine) as connection:
        assert unblocked(connection, "email", address) == again


def test_nobody_who_asked_to_be_forgotten_is_taken_off_the_list(sender: Sender) -> None:
    address = sender.shop.hash("bob@example.com")
    with writing(sender.shop.engine) as connection:
        suppress(connection, "email", address, "erased", sender.now, "cli")
        assert unsuppress(connection, "email", address, sender.now, "staff Clara") is None
        assert unblocked(connection, "email", address) is None
        connection.execute(update(customers).values(erased_at=sender.now))
    assert sender.blocked() == ["erased"]
