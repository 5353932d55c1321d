"""The real orders of the CDNOW sample, moved to end yesterday, with what the data set does not hold: times, products, fates."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from winback.clock import local_instant
from winback.starter.people import Person
from winback.starter.records import basket, dollars

_MINUTES = 24 * 60

#: How busy each hour of a day is where the customer lives.
_HOURS = (1, 0, 0, 0, 0, 1, 2, 4, 6, 8, 9, 9, 11, 10, 8, 8, 8, 9, 11, 14, 16, 15, 9, 4)

#: Days in the post, at least and at most; elsewhere parcels go further.
_POST = {"DE": (1, 3), "AT": (2, 4), "CH": (2, 5), "FR": (2, 5), "SE": (3, 6), "GB": (3, 7)}
_FAR = (6, 13)

#: The customer of the documentation has ordered lately: these two exchange their numbers in the sample.
_EXCHANGED = {"0042": "2128", "2128": "0042"}

#: Of all orders: cancelled before they leave, returned after they arrived, paid back because something was broken.
_CANCELLED, _RETURNED, _REFUNDED = 0.012, 0.022, 0.006


@dataclass(frozen=True)
class Purchase:
    """One real order: whose, when, how many pieces, how many cents."""

    customer: str
    day: date
    pieces: int
    cents: int


@dataclass(frozen=True)
class Order:
    """An order and its whole fate; `row` tells it as far as it had come at some moment."""

    placed_at: datetime
    delivered_at: datetime | None
    voided_at: datetime | None
    voided: str  # the status once it is void
    about: Mapping[str, Any]  # what never changes, as the importer of orders takes it

    def row(self, at: datetime) -> dict[str, Any]:
        """Return the order as the importer takes it, as it stood at `at`."""
        known: dict[str, Any] = {**self.about, "placed_at": self.placed_at.isoformat(), "status": "paid"}
        if self.delivered_at is not None and self.delivered_at <= at:
            known |= {"status": "delivered", "delivered_at": self.delivered_at.isoformat()}
        if self.voided_at is not None and self.voided_at <= at:
            known |= {"status": self.voided, "voided_at": self.voided_at.isoformat()}
        return known

    def changed_between(self, since: datetime, until: datetime) -> bool:
        """Say whether anything happened to it after `since` and until `until`."""
        moments = (self.placed_at, self.delivered_at, self.voided_at)
        return any(moment is not None and since < moment <= until for moment in moments)


@cache
def _sample() -> tuple[Purchase, ...]:
    packed = (files("winback") / "starter" / "cdnow" / "CDNOW_sample.txt.gz").read_bytes()
    rows = (line.split() for line in gzip.decompress(packed).decode("ascii").splitlines())
    return tuple(
        Purchase(
            f"{_EXCHANGED.get(number, number):>05}",
            date(int(day[:4]), int(day[4:6]), int(day[6:])),
            int(pieces),
            int(dollars.replace(".", "")),  # always two decimals
        )
        for _, number, day, pieces, dollars in rows
    )


def purchases(yesterday: date) -> Sequence[Purchase]:
    """Return the real orders, the newest of them moved to `yesterday` and all others with it, by customer and day."""
    moved = yesterday - max(purchase.day for purchase in _sample())
    return [replace(purchase, day=purchase.day + moved) for purchase in _sample()]


def first_days(bought: Sequence[Purchase]) -> dict[str, date]:
    """Return the day of each customer's first order."""
    first: dict[str, date] = {}
    for purchase in bought:
        first[purchase.customer] = min(purchase.day, first.get(purchase.customer, purchase.day))
    return first


def orders(
    bought: Sequence[Purchase], people: Mapping[str, Person], *, seed: int, shop_zone: ZoneInfo, website: str
) -> Iterator[Order]:
    """Yield the orders with all that is made up about them, numbered from the oldest."""
    by_day = sorted(range(len(bought)), key=lambda place: bought[place].day)
    for number, place in enumerate(by_day, 10_001):
        purchase = bought[place]
        person = people[purchase.customer]
        rng = Random(f"{seed}:order:{place}")  # noqa: S311 - invented details, not secrets
        placed = _time_of_order(rng, purchase.day, person.lives_in, shop_zone)
        genre = person.row["attributes"]["genre"]
        delivered, voided_at, voided = _fate(rng, placed, person)
        about = {
            "order_id": f"HN-{number}",
            "customer_id": person.id,
            "total": dollars(purchase.cents),
            "currency": "USD",
            "lines": basket(rng, genre, purchase.pieces, purchase.cents, website),
        }
        yield Order(placed, delivered, voided_at, voided, about)


def _time_of_order(rng: Random, day: date, home: ZoneInfo, shop: ZoneInfo) -> datetime:
    """Return a moment of the shop's day at which the customer is likely to shop."""
    hour = rng.choices(range(24), _HOURS)[0]
    noon = datetime.combine(day, time(12), UTC)
    ahead = (noon.astimezone(home).utcoffset() or timedelta()) - (noon.astimezone(shop).utcoffset() or timedelta())
    minute = (hour * 60 + rng.randrange(60) - ahead // timedelta(minutes=1)) % _MINUTES
    return local_instant(day, time(minute // 60, minute % 60, rng.randrange(60)), shop)


def _fate(rng: Random, placed: datetime, person: Person) -> tuple[datetime | None, datetime | None, str]:
    """Return when an order arrives, and when and as what it becomes void, if it does."""
    draw = rng.random()
    fast, slow = _POST.get(person.country, _FAR)
    day = placed.astimezone(person.lives_in).date() + timedelta(days=rng.randint(fast, slow))
    arrived = local_instant(day, time(rng.randint(8, 17), rng.randrange(60)), person.lives_in)
    cancelled = placed + timedelta(minutes=rng.randint(20, 20 * 60))
    undone = arrived + timedelta(days=rng.randint(2, 14), minutes=rng.randrange(9 * 60))
    if draw < _CANCELLED:
        return None, cancelled, "cancelled"
    if draw < _CANCELLED + _RETURNED:
        return arrived, undone, "returned"
    if draw < _CANCELLED + _RETURNED + _REFUNDED:
        return arrived, undone, "refunded"
    return arrived, None, ""
