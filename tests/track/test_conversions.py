"""Which message an order followed: borders of the window, the last touch, the held-out, orders that come late or go back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from tests.rows import add_customer, add_message, add_order
from tests.track.shops import Shop
from winback.store import conversions, events, messages, orders, reading, writing
from winback.store.erasure import erase_customer
from winback.track.conversions import COMPLETE_EVERY, LATE, attribute

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
WINDOW = 10 * DAY  # of the campaigns sleeping and lesson


class World:
    """People with messages and orders, some days ago."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.now = shop.now
        self._numbers: Iterator[int] = count(1)

    def person(self) -> int:
        """Write a customer."""
        with writing(self.shop.engine) as connection:
            return add_customer(connection, f"C{next(self._numbers)}", self.now - 300 * DAY)

    def message(self, person: int, at: datetime, campaign: str = "sleeping", **columns: Any) -> str:
        """Write a message that was sent, or virtually sent, at a moment."""
        with writing(self.shop.engine) as connection:
            return add_message(connection, person, at, campaign=campaign, occasion=f"o{next(self._numbers)}", **columns)

    def order(self, person: int, at: datetime, minor: int = 2000, **columns: Any) -> int:
        """Write an order."""
        with writing(self.shop.engine) as connection:
            return add_order(connection, f"O{next(self._numbers)}", person, at, total_minor=minor, **columns)

    def event(self, person: int, name: str, at: datetime) -> None:
        """Write an event."""
        row = {"external_id": f"E{next(self._numbers)}", "customer_id": person, "name": name, "at": at, "properties": {}}
        with writing(self.shop.engine) as connection:
            connection.execute(insert(events).values(row))

    def attribute(self, *, everything: bool = False) -> int:
        """Attribute at the present moment; a second time nothing may change."""
        with writing(self.shop.engine) as connection:
            changed = attribute(connection, self.shop.project, self.now, everything=everything)
        before = self.shop.records(conversions)
        with writing(self.shop.engine) as connection:
            assert attribute(connection, self.shop.project, self.now, everything=True) == 0
        assert self.shop.records(conversions) == before
        return changed

    def found(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return the conversions, in the order of campaigns and orders."""
        names = columns or ("campaign", "message_id", "held_out", "last_touch")
        with reading(self.shop.engine) as connection:
            query = select(*(conversions.c[name] for name in names)).order_by(conversions.c.campaign, conversions.c.source_id)
            return [tuple(row) for row in connection.execute(query)]


@pytest.fixture
def world(shop: Shop) -> World:
    """Give a world to fill, on both databases."""
    return World(shop)


def test_an_order_counts_for_the_message_before_it(world: World) -> None:
    person = world.person()
    message = world.message(person, world.now - 5 * DAY)
    order = world.order(person, world.now - DAY, 2490, currency="EUR")
    assert world.attribute() == 1
    [row] = world.shop.records(conversions)
    assert (row.campaign, row.kind, row.source_id, row.message_id) == ("sleeping", "order", order, message)
    assert (row.value_minor, row.currency, row.at, row.customer_id) == (2490, "EUR", world.now - DAY, person)
    assert (row.held_out, row.last_touch) == (False, True)


@pytest.mark.parametrize(
    ("after", "counts"),
    [(-SECOND, False), (timedelta(0), False), (timedelta(microseconds=1), True), (WINDOW, True), (WINDOW + SECOND, False)],
    ids=str,
)
def test_the_window_has_borders(world: World, after: timedelta, counts: bool) -> None:
    person = world.person()
    sent = world.now - 20 * DAY
    world.message(person, sent)
    world.order(person, sent + after)
    assert world.attribute() == counts


def test_nothing_that_is_still_to_come_counts(world: World) -> None:
    person = world.person()
    world.message(person, world.now - DAY)
    world.order(person, world.now + SECOND)
    assert world.attribute() == 0
    world.now += SECOND
    assert world.attribute() == 1


def test_the_last_message_of_a_campaign_gets_it(world: World) -> None:
    person, other = world.person(), world.person()
    world.message(person, world.now - 6 * DAY)
    last = world.message(person, world.now - 3 * DAY, step="text")
    world.message(person, world.now - DAY)  # after the order
    world.message(other, world.now - 2 * DAY - SECOND)  # somebody else's
    world.order(person, world.now - 2 * DAY)
    world.attribute()
    assert world.found() == [("sleeping", last, False, True)]


def test_each_campaign_has_its_own_and_one_touch_is_the_last(world: World) -> None:
    person = world.person()
    sleeping = world.message(person, world.now - 8 * DAY)
    thanks = world.message(person, world.now - 4 * DAY, "thanks")
    world.order(person, world.now - DAY)
    world.attribute()
    assert world.found() == [("sleeping", sleeping, False, False), ("thanks", thanks, False, True)]
    # A message that was thought not to have arrived did: then it is the last.
    late = world.message(person, world.now - 2 * DAY, state="uncertain")
    world.attribute()
    assert world.found()[0] == ("sleeping", sleeping, False, False)
    with writing(world.shop.engine) as connection:
        connection.execute(update(messages).where(messages.c.id == late).values(state="delivered"))
    world.attribute()
    assert world.found() == [("sleeping", late, False, True), ("thanks", thanks, False, False)]


@pytest.mark.parametrize("state", ["planned", "sending", "failed", "uncertain", "skipped", "cancelled", "bounced"])
def test_what_nobody_saw_is_no_touch(world: World, state: str) -> None:
    person = world.person()
    world.message(person, world.now - 5 * DAY, state=state, sent_at=None if state == "planned" else world.now - 5 * DAY)
    world.order(person, world.now - DAY)
    assert world.attribute() == 0


def test_the_held_out_count_from_their_virtual_message_by_the_same_rule(world: World) -> None:
    for after in (-SECOND, SECOND, WINDOW, WINDOW + SECOND):
        person = world.person()
        world.message(person, world.now - 20 * DAY, held_out=True)
        world.order(person, world.now - 20 * DAY + after)
    assert world.attribute() == 2
    assert world.found("held_out", "last_touch") == [(True, False)] * 2, "a message that never went is nobody's last touch"


def test_a_held_out_person_may_have_a_last_touch_of_another_campaign(world: World) -> None:
    person = world.person()
    virtual = world.message(person, world.now - 2 * DAY, held_out=True)
    thanks = world.message(person, world.now - 4 * DAY, "thanks")
    world.order(person, world.now - DAY)
    world.attribute()
    assert world.found() == [("sleeping", virtual, True, False), ("thanks", thanks, False, True)]


@pytest.mark.parametrize("status", ["cancelled", "refunded", "returned"])
def test_an_order_that_goes_back_takes_its_conversion_along(world: World, status: str) -> None:
    person = world.person()
    world.message(person, world.now - 5 * DAY)
    world.order(person, world.now - 3 * DAY)
    gone = world.order(person, world.now - 2 * DAY)
    world.order(person, world.now - DAY, status=status)  # gone before it was seen
    assert world.attribute() == 2
    with writing(world.shop.engine) as connection:
        connection.execute(update(orders).where(orders.c.id == gone).values(status=status))
    assert world.attribute() == 1
    assert len(world.found()) == 1
    with writing(world.shop.engine) as connection:
        connection.execute(update(orders).where(orders.c.id == gone).values(status="paid"))
    assert world.attribute() == 1
    assert len(world.found()) == 2


def test_an_order_that_changes_is_mended(world: World) -> None:
    person = world.person()
    first = world.message(person, world.now - 8 * DAY)
    world.message(person, world.now - 4 * DAY, step="text")
    order = world.order(person, world.now - DAY)
    world.attribute()
    with writing(world.shop.engine) as connection:
        connection.execute(update(orders).where(orders.c.id == order).values(total_minor=990, placed_at=world.now - 5 * DAY))
    assert world.attribute() > 0
    assert world.found("message_id", "value_minor", "at") == [(first, 990, world.now - 5 * DAY)]


def test_a_message_that_bounced_later_loses_its_order_to_the_one_before(world: World) -> None:
    person = world.person()
    first = world.message(person, world.now - 6 * DAY)
    last = world.message(person, world.now - 3 * DAY, step="text")
    world.order(person, world.now - DAY)
    world.attribute()
    with writing(world.shop.engine) as connection:
        connection.execute(update(messages).where(messages.c.id == last).values(state="bounced"))
    world.attribute()
    assert world.found("message_id") == [(first,)]


def test_events_count_where_the_campaign_says_so(world: World) -> None:
    person = world.person()
    lesson = world.message(person, world.now - 5 * DAY, "lesson")
    world.event(person, "webinar_attended", world.now - DAY)
    world.event(person, "webinar_left", world.now - DAY)
    world.order(person, world.now - DAY)
    assert world.attribute() == 1
    assert world.found("campaign", "kind", "message_id", "value_minor", "currency") == [("lesson", "event", lesson, 0, None)]


def test_orders_that_arrive_late_are_found_by_the_next_pass_or_within_a_day(world: World) -> None:
    person = world.person()
    sent = world.now - WINDOW - LATE
    world.message(person, sent)
    world.message(person, sent - 20 * DAY)
    world.attribute()
    world.order(person, sent + SECOND)  # arrives now
    with writing(world.shop.engine) as connection:
        assert attribute(connection, world.shop.project, world.now) == 1, "within the time that every pass looks back"
    world.order(person, sent - 15 * DAY)
    with writing(world.shop.engine) as connection:
        assert attribute(connection, world.shop.project, world.now) == 0
    world.now += COMPLETE_EVERY
    with writing(world.shop.engine) as connection:
        assert attribute(connection, world.shop.project, world.now) == 1, "once a day everything is looked at"


def test_what_a_campaign_earned_outlives_the_order_and_the_person(world: World) -> None:
    person = world.person()
    world.message(person, world.now - 5 * DAY)
    order = world.order(person, world.now - DAY)
    world.attribute()
    before = world.found("message_id", "value_minor")
    with writing(world.shop.engine) as connection:
        erase_customer(connection, person, now=world.now, key=b"key", source="test")
    assert world.attribute() == 0
    with writing(world.shop.engine) as connection:
        connection.execute(delete(orders).where(orders.c.id == order))
    assert world.attribute() == 0
    assert world.found("message_id", "value_minor") == before


def test_a_campaign_that_measures_something_else_now_starts_afresh(world: World) -> None:
    person = world.person()
    message = world.message(person, world.now - 5 * DAY, "lesson")
    world.order(person, world.now - DAY)
    world.event(person, "webinar_attended", world.now - DAY)
    world.attribute()
    lesson = world.shop.project.campaigns["lesson"]
    changed = lesson.model_copy(update={"measure": lesson.measure.model_copy(update={"conversion": "order"})})
    campaigns = {**world.shop.project.campaigns, "lesson": changed}
    world.shop.project = type(world.shop.project)(world.shop.project.root, world.shop.project.settings, campaigns)
    world.attribute()
    assert world.found("campaign", "kind", "message_id") == [("lesson", "order", message)]


#: A person's days: messages and orders by the hours ago at which they were.
_DAYS = st.lists(st.tuples(st.sampled_from(["sleeping", "thanks", "order", "held"]), st.integers(0, 24 * 25)), max_size=25)


@given(days=_DAYS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_order_counts_once_in_each_campaign_and_for_the_nearest_message(world: World, days: list[tuple[str, int]]) -> None:
    person = world.person()
    sent: dict[str, list[datetime]] = {"sleeping": [], "thanks": []}
    placed: list[datetime] = []
    for what, hours in days:
        at = world.now - timedelta(hours=hours, minutes=1)
        if what == "order":
            placed.append(at)
            world.order(person, at)
        else:
            campaign = "sleeping" if what == "held" else what
            sent[campaign].append(at)
            world.message(person, at, campaign, held_out=what == "held")
    world.attribute(everything=True)
    windows = {"sleeping": WINDOW, "thanks": 5 * DAY}
    expected = sorted(
        (campaign, at, max(touches))
        for campaign, window in windows.items()
        for at in placed
        if (touches := [moment for moment in sent[campaign] if at - window <= moment < at])
    )
    with reading(world.shop.engine) as connection:
        rows = connection.execute(
            select(conversions.c.campaign, conversions.c.at, messages.c.due_at)
            .join(messages, messages.c.id == conversions.c.message_id)
            .where(conversions.c.customer_id == person)
        )
        assert sorted(tuple(row) for row in rows) == expected
        last = connection.execute(
            select(conversions.c.source_id).where(conversions.c.customer_id == person, conversions.c.last_touch)
        ).all()
    assert len(last) == len(set(last)), "an order has one last touch"
