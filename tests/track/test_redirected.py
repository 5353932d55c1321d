"""What comes of a message that somebody else got, in a shop that is tried out, tells nothing of the customer."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.rows import add_customer, add_message
from tests.track.reporter import PROOF, Reporter
from tests.track.shops import Shop, make_project
from winback.store import consents, customers, interactions, messages, suppressions, writing

QA = "qa@halfnote.example"


@pytest.fixture
def shop(engine: Engine, tmp_path: Path, now: datetime) -> Shop:
    """Give a shop whose gateway `relay` reports."""
    return Shop(
        make_project(tmp_path / "shop", gateways={"relay": {"type": "outbox"}}), engine, now, {"relay": Reporter("relay")}
    )


def sent(shop: Shop, external_id: str = "C1", *, redirected: bool = True, count: int = 1, **columns: Any) -> list[str]:
    """Write a customer and messages to them that went, three days apart."""
    address = f"{external_id.lower()}@example.com"
    with writing(shop.engine) as connection:
        person = add_customer(
            connection, external_id, shop.now, email=address, email_hash=shop.hash(address), phone="+4915112345678",
            phone_hash=shop.hash("+4915112345678"), sms_marketing=True,
        )  # fmt: skip
        return [
            add_message(
                connection, person, shop.now - timedelta(days=3 * number, hours=1), gateway="relay",
                provider_id=f"{external_id}-{number}", redirected=redirected, **columns,
            )
            for number in reversed(range(count))
        ]  # fmt: skip


def report(shop: Shop, *events: dict[str, Any]) -> None:
    done = shop.call("POST", "/hooks/relay", content=json.dumps(events), headers=PROOF)
    assert done.status_code == 200


REPORTS: dict[str, dict[str, Any]] = {
    "a bounce": {"kind": "bounced", "hard_bounce": True},
    "a bounce that names the address": {"kind": "bounced", "hard_bounce": True, "recipient": QA},
    "a complaint": {"kind": "complained"},
    "a STOP": {"kind": "replied", "text": "STOP"},
}


@pytest.mark.parametrize("what", REPORTS)
@pytest.mark.parametrize("redirected", [True, False], ids=["redirected", "their own"])
def test_nothing_that_is_reported_touches_the_customer(shop: Shop, what: str, redirected: bool) -> None:
    sent(shop, redirected=redirected)
    report(shop, {**REPORTS[what], "provider_id": "C1-0"})
    changed = [*shop.rows(suppressions, "reason"), *shop.rows(consents, "granted"), *shop.rows(interactions, "kind")]
    assert (changed == []) is redirected
    if redirected:
        assert shop.rows(customers, "email_marketing", "sms_marketing") == [(True, True)]


def test_its_state_is_still_told(shop: Shop) -> None:
    sent(shop)
    report(shop, {"kind": "bounced", "hard_bounce": True, "provider_id": "C1-0"})
    with writing(shop.engine) as connection:
        assert connection.execute(messages.select()).one().state == "bounced"


@pytest.mark.parametrize("redirected", [True, False], ids=["redirected", "their own"])
def test_bounces_at_somebody_elses_do_not_add_up(shop: Shop, redirected: bool) -> None:
    sent(shop, redirected=redirected, count=5)
    for number in reversed(range(5)):
        report(shop, {"kind": "bounced", "provider_id": f"C1-{number}"})
    assert len(shop.rows(suppressions, "reason")) == (0 if redirected else 1)


@pytest.mark.parametrize("redirected", [True, False], ids=["redirected", "their own"])
def test_nor_do_they_with_one_of_their_own(shop: Shop, redirected: bool) -> None:
    sent(shop, redirected=redirected, count=5)
    with writing(shop.engine) as connection:
        connection.execute(messages.update().where(messages.c.provider_id == "C1-0").values(redirected=False))
    for number in reversed(range(5)):
        report(shop, {"kind": "bounced", "provider_id": f"C1-{number}"})
    assert len(shop.rows(suppressions, "reason")) == (0 if redirected else 1)


@pytest.mark.parametrize("redirected", [True, False], ids=["redirected", "their own"])
def test_its_unsubscribe_link_answers_and_changes_nothing(shop: Shop, redirected: bool) -> None:
    [message] = sent(shop, redirected=redirected)
    path = f"/u/{shop.token('unsubscribe', message)}"
    assert shop.call("GET", path).status_code == 200
    assert shop.call("POST", path, content="List-Unsubscribe=One-Click").status_code == 200
    assert shop.rows(customers, "email_marketing") == [(redirected,)]
    assert (shop.rows(consents, "granted") == []) is redirected
