"""What templates see of a customer is what docs/templates.md promises, loaded for all at once, on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted
from tests.dispatch.house import House
from tests.rows import add_customer, add_order
from winback.compose import Money
from winback.compose.samples import Sample, sample_recipient
from winback.dispatch.recipients import next_birthday, recipient_for_preview
from winback.errors import InputError
from winback.store import Channel, customers, enrollments, order_lines, orders, reading, score_states, writing


def _ada(engine: Engine, now: datetime) -> int:
    """Write a customer in Auckland with a paid order, and a cancelled one after it."""
    with writing(engine) as connection:
        ada = add_customer(
            connection,
            "ADA",
            now,
            first_name="Ada",
            phone="+6421123456",
            country="NZ",
            locale="en-NZ",
            local_zone="Pacific/Auckland",
            birth_month=11,
            birth_day=25,
            attributes={"pet_name": "Byron"},
        )
        # 13:00 UTC is the next day in Auckland.
        paid = add_order(connection, "O-1", ada, datetime(2026, 11, 1, 13, tzinfo=UTC), total_minor=4350, currency="NZD")
        for position, (name, url) in enumerate((("Kind of Blue", "https://halfnote.example/1"), ("Head Hunters", None)), start=1):
            connection.execute(
                insert(order_lines).values(
                    order_id=paid,
                    position=position,
                    product_id=f"P{position}",
                    name=name,
                    quantity=position,
                    price_minor=1450,
                    url=url,
                )
            )
        add_order(connection, "O-2", ada, datetime(2026, 11, 20, tzinfo=UTC), status="cancelled")
    return ada


def test_a_customer_has_everything_that_the_documentation_names(house: House, now: datetime) -> None:
    _ada(house.engine, now)
    campaign = house.project.campaigns["gift"]
    with reading(house.engine) as connection:
        seen = recipient_for_preview(connection, house.project, campaign, campaign.steps[0], "ADA", Channel.EMAIL, now)
    assert seen.address == "ada@example.com"
    assert seen.customer == {
        "external_id": "ADA",
        "first_name": "Ada",
        "last_name": None,
        "email": "ada@example.com",
        "phone": "+6421123456",
        "country": "NZ",
        "city": None,
        "locale": "en-NZ",
        "zone": "Pacific/Auckland",
        "birthday": date(2026, 11, 25),  # it is the 24th, 23:00 there
        "orders": 1,
        "spent": Money(4350, "NZD"),
        "first_order_on": date(2026, 11, 2),
        "last_order_on": date(2026, 11, 2),
        "attributes": {"pet_name": "Byron"},
    }
    assert seen.last_order == {
        "number": "O-1",
        "placed_on": date(2026, 11, 2),
        "total": Money(4350, "NZD"),
        "lines": [
            {
                "name": "Kind of Blue",
                "quantity": 1,
                "price": Money(1450, "NZD"),
                "category": None,
                "url": "https://halfnote.example/1",
            },
            {"name": "Head Hunters", "quantity": 2, "price": Money(1450, "NZD"), "category": None, "url": None},
        ],
    }
    assert seen.order is None  # this campaign is about no order
    assert seen.coupon is not None
    assert (seen.coupon["pool"], seen.coupon["expires_on"]) == ("WAKE10", date(2026, 12, 8))


def _shape(value: Any) -> Any:
    """Return the names inside a value, without what they hold."""
    if isinstance(value, Mapping):
        return {name: _shape(each) for name, each in value.items() if name != "attributes"}
    return [_shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("campaign", ["gift", "care", "lead"])
def test_real_recipients_have_the_shape_of_the_made_up_ones(make_house: MakeHouse, now: datetime, campaign: str) -> None:
    """`winback check` renders templates for made-up people: what works for them works for real ones."""
    house = make_house(lead=_LEAD, scores=_SCORES)
    ada = _ada(house.engine, now)
    found = house.project.campaigns[campaign]
    step = found.steps[0]
    with writing(house.engine) as connection:
        connection.execute(
            insert(score_states).values(model="lead", customer_id=ada, value=34.5, level="warm", since=now, updated_at=now)
        )
        seen = recipient_for_preview(connection, house.project, found, step, "ADA", step.channel, now)
    made_up = sample_recipient(house.project, found, step, sample=Sample.USUAL)
    for part in ("customer", "order", "last_order", "coupon", "score"):
        assert _shape(getattr(seen, part)) == _shape(getattr(made_up, part)), part
        assert (getattr(seen, part) is None) == (getattr(made_up, part) is None), part


_SCORES = {
    "lead": {
        "title": "Interest",
        "rules": [{"event": "visit", "points": 5}],
        "levels": [{"name": "cold", "from": 0}, {"name": "warm", "from": 20}],
    }
}
_LEAD = {
    "title": "Lead",
    "audience": {"preset": "score", "score": "lead", "level": "warm"},
    "steps": [{"name": "hello", "channel": "email", "template": "lead", "subject": "Hello"}],
}


def test_a_message_about_an_order_shows_that_order(make_house: MakeHouse, now: datetime) -> None:
    template = "{{ order.number }} {{ order.lines[0].name }}, last {{ last_order.number }}. Reply STOP for no more\n"
    house = make_house(templates={"care.sms.txt": template})
    ada = _ada(house.engine, now)
    with writing(house.engine) as connection:
        newer = add_order(connection, "O-3", ada, now - timedelta(days=1))
        connection.execute(
            insert(order_lines).values(order_id=newer, position=1, product_id="P", name="X", quantity=1, price_minor=1)
        )
    [message] = house.due(campaign="care", external_id="ADA")
    with writing(house.engine) as connection:
        first = connection.scalar(select(orders.c.id).where(orders.c.external_id == "O-1"))
        connection.execute(enrollments.update().values(order_id=first))
    gateway = Scripted()
    house.run(gateway)
    assert [(each.message_id, each.text[:29]) for each in gateway.arrived] == [(message, "O-1 Kind of Blue, last O-3. R")]
    campaign = house.project.campaigns["care"]
    with reading(house.engine) as connection:
        seen = recipient_for_preview(connection, house.project, campaign, campaign.steps[0], "ADA", Channel.SMS, now)
    assert seen.order is not None
    assert seen.order["number"] == "O-1"
    assert seen.address == "+6421123456"


def test_a_preview_of_somebody_who_is_in_no_campaign_shows_their_newest_order_that_counts(house: House, now: datetime) -> None:
    _ada(house.engine, now)
    campaign = house.project.campaigns["care"]
    with reading(house.engine) as connection:
        seen = recipient_for_preview(connection, house.project, campaign, campaign.steps[0], "ADA", Channel.SMS, now)
    assert seen.order is not None
    assert seen.order == seen.last_order


def test_an_unknown_customer_is_an_error(house: House, now: datetime) -> None:
    campaign = house.project.campaigns["care"]
    with reading(house.engine) as connection, pytest.raises(InputError, match="there is no customer 'NOBODY'"):
        recipient_for_preview(connection, house.project, campaign, campaign.steps[0], "NOBODY", Channel.SMS, now)


def test_many_recipients_take_no_more_queries_than_few(make_house: MakeHouse) -> None:
    house = make_house(settings={"dispatch": {"batch": 50}})

    def statements(count: int) -> int:
        seen: list[str] = []
        house.due(count, campaign="gift")
        listener = lambda *args: seen.append(args[2])  # noqa: E731 - the same object is taken away again
        event.listen(house.engine, "before_cursor_execute", listener)
        house.run(Scripted())
        event.remove(house.engine, "before_cursor_execute", listener)
        return len(seen)

    statements(1)  # the first writes the links
    assert statements(3) == statements(40)


@pytest.mark.parametrize(
    ("month", "day", "today", "leap_day", "birthday"),
    [
        (11, 24, date(2026, 11, 24), "feb28", date(2026, 11, 24)),
        (11, 23, date(2026, 11, 24), "feb28", date(2027, 11, 23)),
        (1, 1, date(2026, 12, 31), "feb28", date(2027, 1, 1)),
        (2, 29, date(2026, 2, 1), "feb28", date(2026, 2, 28)),
        (2, 29, date(2026, 2, 1), "mar1", date(2026, 3, 1)),
        (2, 29, date(2026, 2, 1), "skip", date(2028, 2, 29)),
        (2, 29, date(2028, 2, 29), "feb28", date(2028, 2, 29)),
        (2, 29, date(2097, 1, 1), "skip", date(2104, 2, 29)),
        (2, 30, date(2026, 2, 1), "feb28", None),
        (None, 3, date(2026, 2, 1), "feb28", None),
    ],
)
def test_the_next_birthday(month: int | None, day: int | None, today: date, leap_day: str, birthday: date | None) -> None:
    assert next_birthday(month, day, today, leap_day) == birthday


def test_columns_of_the_customer_that_templates_do_not_see_stay_out(house: House, now: datetime) -> None:
    """Hashes, consent and inner ids are nobody's copy."""
    _ada(house.engine, now)
    campaign = house.project.campaigns["gift"]
    with reading(house.engine) as connection:
        seen = recipient_for_preview(connection, house.project, campaign, campaign.steps[0], "ADA", Channel.EMAIL, now)
        row = connection.execute(select(customers)).one()
    assert row.email_hash not in str(seen)
