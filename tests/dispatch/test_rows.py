"""Coupons and links are in the database before the letter that names them leaves, each once, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted, accept
from tests.dispatch.house import LETTER, House
from winback.compose.coupons import coupon_code
from winback.compose.tokens import read
from winback.dispatch import retry
from winback.gateways.base import Outcome, Outgoing, Refused, Retry, Unknown
from winback.store import coupons, customers, links, messages, reading, writing


def _body(message: Outgoing) -> str:
    letter = message_from_bytes(message.content, policy=policy.default)
    part = letter.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def _all(house: House, table: Any) -> list[Any]:
    with reading(house.engine) as connection:
        return list(connection.execute(select(table)))


def _clicks(message: Outgoing) -> Iterator[str]:
    return (urlsplit(url).path.removeprefix("/c/") for url in re.findall(r'href="(http[^"]+/c/[^"]+)"', _body(message)))


def test_a_coupon_is_there_when_its_letter_leaves(house: House, now: datetime) -> None:
    [message] = house.due(campaign="gift")
    seen: list[Any] = []

    def decide(message: Outgoing) -> Outcome:
        seen.extend(_all(house, coupons))
        return accept(message)

    gateway = Scripted(decide=decide)
    house.run(gateway)
    code = coupon_code(house.project.key("coupon"), "WAKE10", message)
    [coupon] = seen
    assert (coupon.code, coupon.pool, coupon.message_id, coupon.given_at) == (code, "WAKE10", message, now)
    # The letter promises the whole of 8 December, where the person lives.
    assert f"{code} until December 8, 2026" in _body(gateway.arrived[0])
    assert coupon.expires_at == datetime(2026, 12, 8, 23, tzinfo=UTC)
    assert [row.code for row in _all(house, coupons)] == [code]


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [(Refused("550 no"), 0), (Retry("451 later"), 0), (Retry("421", whole_gateway=True), 0), (Unknown("the line broke"), 1)],
    ids=["refused", "later", "whole gateway", "unknown"],
)
def test_only_who_may_have_the_letter_has_the_coupon(house: House, outcome: Outcome, kept: int) -> None:
    house.due(campaign="gift")
    house.run(Scripted(decide=lambda message: outcome))
    assert len(_all(house, coupons)) == kept


def test_a_letter_that_goes_later_has_the_same_code_and_its_own_deadline(house: House, now: datetime) -> None:
    house.due(campaign="gift")
    first = Scripted(decide=lambda message: Unknown("the line broke"))
    house.run(first)
    [before] = _all(house, coupons)
    with writing(house.engine) as connection:
        assert retry(connection, house.project, "gift", "uncertain", now + timedelta(days=2)) == 1
    house.run(Scripted(), at=now + timedelta(days=2))
    [after] = _all(house, coupons)
    assert (after.code, after.expires_at - before.expires_at) == (before.code, timedelta(days=2))


def test_who_is_turned_away_has_no_coupon(house: House) -> None:
    house.due(campaign="gift", email_marketing=False)
    house.run(Scripted())
    assert _all(house, coupons) == []


def test_a_link_is_written_once_and_every_letter_names_it(house: House) -> None:
    house.due(7)
    gateway = Scripted()
    house.run(gateway)
    [link] = _all(house, links)
    assert (link.campaign, link.step, link.label) == ("wake", "hello", "New records")
    assert link.url.startswith("https://halfnote.example/new?utm_source=winback")
    key = house.project.key("links")
    clicks = [read(key, "click", token) for message in gateway.arrived for token in _clicks(message)]
    assert [(click.message_id, click.number) for click in clicks] == [(message, link.id) for message in gateway.ids]
    house.due(2)
    house.run(gateway)
    assert len(_all(house, links)) == 1


def test_a_link_is_there_when_its_letter_leaves(house: House) -> None:
    house.due()
    seen: list[Any] = []

    def decide(message: Outgoing) -> Outcome:
        seen.extend(_all(house, links))
        return accept(message)

    house.run(Scripted(decide=decide))
    assert len(seen) == 1


def test_letters_with_links_of_ones_own_have_them_too(make_house: MakeHouse) -> None:
    own = LETTER + '<a href="https://halfnote.example/for/{{ customer.external_id }}" data-link="own">Yours</a>\n'
    house = make_house(templates={"wake.email.html": own}, settings={"dispatch": {"batch": 60}})
    ids = house.due(130)
    gateway = Scripted()
    result = house.run(gateway)
    assert result.sent == 130
    urls = {row.id: row.url for row in _all(house, links)}
    assert len(urls) == 131
    key = house.project.key("links")
    for message in gateway.arrived:
        targets = [urls[read(key, "click", token).number] for token in _clicks(message)]
        with reading(house.engine) as connection:
            external_id = connection.scalar(
                select(customers.c.external_id)
                .join(messages, messages.c.customer_id == customers.c.id)
                .where(messages.c.id == message.message_id)
            )
        assert [urlsplit(target).path for target in targets] == ["/new", f"/for/{external_id}"]
    assert sorted(gateway.ids) == sorted(ids)
