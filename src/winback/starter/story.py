"""All that ever happens in the demo shop, up to the day before today; it can be told up to any moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from winback.clock import local_instant
from winback.importers import Kind
from winback.starter.history import Order, first_days, orders, purchases
from winback.starter.leads import Happening, leads, visits
from winback.starter.people import Crowd, Person
from winback.starter.records import favourite

#: Before everything.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

_LEADS = 150


@dataclass(frozen=True)
class Story:
    """People, orders and events, each with its moment."""

    people: Sequence[Person]
    orders: Sequence[Order]
    events: Sequence[Happening]

    def rows(self, kind: Kind, since: datetime, until: datetime) -> list[Mapping[str, Any]]:
        """Return the rows that the importer of `kind` gets for what happened after `since` and until `until`.

        An order appears again when it has arrived, was cancelled or was sent back.
        """
        if kind is Kind.CUSTOMERS:
            return [person.row for person in self.people if since < person.since <= until]
        if kind is Kind.ORDERS:
            return [order.row(until) for order in self.orders if order.changed_between(since, until)]
        return [event.row for event in self.events if since < event.at <= until]


def write_story(today: date, seed: int, zone: str, website: str) -> Story:
    """Return what happened before `today` in a shop of this zone; the same arguments give the same story."""
    shop_zone = ZoneInfo(zone)
    until = local_instant(today, time(0), shop_zone)
    bought = purchases(today - timedelta(days=1))
    crowd = Crowd(seed, today)
    people = {}
    for external_id, day in first_days(bought).items():
        genre = favourite(Random(f"{seed}:genre:{external_id}"))  # noqa: S311 - an invented taste, no secret
        people[external_id] = crowd.customer(external_id, local_instant(day, time(0), shop_zone), genre)
    waiting = list(leads(crowd, _LEADS, seed=seed, until=until))
    events = [event for lead in waiting for event in lead.events]
    events += [visit for person in people.values() for visit in visits(person, seed=seed, until=until)]
    return Story(
        people=[*people.values(), *(lead.person for lead in waiting)],
        orders=list(orders(bought, people, seed=seed, shop_zone=shop_zone, website=website.rstrip("/"))),
        events=sorted(events, key=lambda event: event.at),
    )
