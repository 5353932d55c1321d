"""What people do in a simulation: about the messages they get, by the assumed shares, and, whatever we write, their usual orders.

Everything follows from the seed and the message's id, so that two runs are alike, and a change of one campaign shows.
"""

from __future__ import annotations

import heapq
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from math import log
from typing import Any

from sqlalchemy import Connection, Insert, String, bindparam, cast, func, insert, literal, select

from winback.project import Project
from winback.simulation.assumptions import Assumptions
from winback.store import (
    VOID_STATUSES,
    Channel,
    InteractionClass,
    InteractionKind,
    OrderStatus,
    customers,
    interactions,
    order_lines,
    orders,
    plus_seconds,
)
from winback.store.aggregates import refresh_customers
from winback.store.consent import record_consent

#: Half of those who look at a message at all have done so after this time; nobody does after three days.
_HALF_LOOK = timedelta(hours=4)
_LONGEST_LOOK = timedelta(days=3)

#: As many days as a year has whole weeks: who orders on Saturdays does so again.
YEAR = timedelta(weeks=52)

#: Values in one IN list.
_BATCH = 500

ORDER = "order"


@dataclass(frozen=True)
class Sent:
    """A message that went to somebody."""

    id: str
    customer_id: int
    campaign: str
    step: str
    channel: str
    purpose: str
    at: datetime


@dataclass(frozen=True)
class _Action:
    """Something that somebody does about a message."""

    kind: str  # an InteractionKind, or an order
    message: Sent


class People:
    """Everybody in a simulated shop, from one moment on."""

    def __init__(self, connection: Connection, project: Project, assumed: Assumptions, start: datetime) -> None:
        self._connection = connection
        self._assumed = assumed
        self._currency = project.settings.shop.currency
        self._coming: list[tuple[datetime, int, _Action]] = []
        self._scheduled = 0
        self.done: Counter[tuple[str, str]] = Counter()  # by campaign and what they did
        self._past = _PastYear.before(connection, start) if assumed.orders.as_last_year else _PastYear()

    def at(self, connection: Connection) -> People:
        """Return the same people, who act in another transaction from now on."""
        self._connection = connection
        return self

    def receive(self, sent: Iterable[Sent]) -> None:
        """Let people have these messages; what they do about them comes with time."""
        for message in sent:
            for at, kind in self._reactions(message):
                self._scheduled += 1
                heapq.heappush(self._coming, (at, self._scheduled, _Action(kind, message)))

    def act(self, since: datetime, until: datetime) -> None:
        """Do what happens after `since` and until `until`."""
        touched = self._past.repeat(self._connection, since, until)
        hits: list[dict[str, Any]] = []
        bought: list[tuple[Sent, datetime]] = []
        while self._coming and self._coming[0][0] <= until:
            at, _, action = heapq.heappop(self._coming)
            self.done[action.message.campaign, action.kind] += 1
            if action.kind == ORDER:
                bought.append((action.message, at))
            else:
                hits.append(_hit(action, at))
            if action.kind == InteractionKind.UNSUBSCRIBE:
                message = action.message
                record_consent(self._connection, message.customer_id, message.channel, message.purpose, False, at, "simulation")
        if hits:
            self._connection.execute(insert(interactions), hits)
        touched |= self._buy(bought)
        refresh_customers(self._connection, sorted(touched))

    def _reactions(self, message: Sent) -> list[tuple[datetime, str]]:
        """Return what somebody does about a message, and when; one number says how far they go."""
        rates = self._assumed.rates(message.campaign, Channel(message.channel))
        reach = self._draw(message, "reach")
        looks = message.at + min(timedelta(minutes=2) - log(1 - self._draw(message, "look")) / log(2) * _HALF_LOOK, _LONGEST_LOOK)
        done: list[tuple[datetime, str]] = []
        if reach < rates.share("open") and message.channel == Channel.EMAIL:
            done.append((looks, InteractionKind.OPEN))
        if reach < rates.share("click"):
            done.append((looks + timedelta(seconds=90), InteractionKind.CLICK))
        if reach < rates.share("order"):
            done.append((looks + timedelta(minutes=20), ORDER))
        if self._draw(message, "unsubscribe") < rates.share("unsubscribe"):
            done.append((looks + timedelta(minutes=3), InteractionKind.UNSUBSCRIBE))
        return done

    def _draw(self, message: Sent, what: str) -> float:
        """Return a number from 0 to just below 1 that is the message's own for `what`."""
        digest = blake2b(f"{self._assumed.seed}:{message.id}:{what}".encode(), digest_size=6).digest()
        return int.from_bytes(digest) / 2**48

    def _buy(self, bought: Sequence[tuple[Sent, datetime]]) -> set[int]:
        """Write orders worth as much as the customer's usual one; return whose they are."""
        if not bought:
            return set()
        who = sorted({message.customer_id for message, _ in bought})
        usual: dict[int, tuple[int, str]] = {}
        for start in range(0, len(who), _BATCH):
            query = select(customers.c.id, customers.c.spent_minor, customers.c.order_count, customers.c.currency)
            for row in self._connection.execute(query.where(customers.c.id.in_(who[start : start + _BATCH]))):
                usual[row.id] = (row.spent_minor // max(row.order_count, 1), row.currency or self._currency)
        rows = [
            {
                "external_id": f"simulated {message.id}",
                "customer_id": message.customer_id,
                "placed_at": at,
                "status": OrderStatus.PAID.value,
                "total_minor": usual[message.customer_id][0],
                "currency": usual[message.customer_id][1],
                "attributes": {},
                "updated_at": at,
            }
            for message, at in bought
        ]
        self._connection.execute(insert(orders), rows)
        return set(who)


def _hit(action: _Action, at: datetime) -> dict[str, Any]:
    message = action.message
    return {
        "message_id": message.id,
        "customer_id": message.customer_id,
        "campaign": message.campaign,
        "step": message.step,
        "kind": str(action.kind),
        "klass": InteractionClass.HUMAN.value,
        "at": at,
    }


@dataclass(frozen=True)
class _PastYear:
    """The orders of the 52 weeks before the simulation, which come again every 52 weeks."""

    moments: Sequence[datetime] = ()
    ids: Sequence[int] = ()

    @classmethod
    def before(cls, connection: Connection, start: datetime) -> _PastYear:
        """Return the orders that count of the year before a moment."""
        rows = connection.execute(
            select(orders.c.placed_at, orders.c.id)
            .where(orders.c.placed_at > start - YEAR, orders.c.placed_at <= start, orders.c.status.not_in(VOID_STATUSES))
            .order_by(orders.c.placed_at, orders.c.id)
        ).all()
        return cls([row.placed_at for row in rows], [row.id for row in rows])

    def repeat(self, connection: Connection, since: datetime, until: datetime) -> set[int]:
        """Write the orders that come again after `since` and until `until`; return whose they are."""
        touched: set[int] = set()
        years = 1
        while self.moments and self.moments[0] + years * YEAR <= until:
            first = bisect_right(self.moments, since - years * YEAR)
            last = bisect_right(self.moments, until - years * YEAR)
            for place in range(first, last, _BATCH):
                touched |= _again(connection, self.ids[place : min(place + _BATCH, last)], years)
            years += 1
        return touched


def _again(connection: Connection, ids: Sequence[int], years: int) -> set[int]:
    """Write orders again, so many years later, with their lines; return whose they are."""
    which = {"ids": json.dumps(ids)}
    write_orders, write_lines = _repetition(years)
    connection.execute(write_orders, which)
    connection.execute(write_lines, which)
    return set(connection.scalars(_BUYERS, which))


#: Orders by their ids, as one value: they are few mostly, and of another number each time.
_THESE = select(func.json_each(bindparam("ids", type_=String())).table_valued("value").c.value).scalar_subquery()
_BUYERS = select(orders.c.customer_id).where(orders.c.id.in_(_THESE))


@lru_cache(maxsize=8)
def _repetition(years: int) -> tuple[Insert, Insert]:
    """Return what writes orders again, so many years later, and what writes their lines."""
    later = literal((years * YEAR).total_seconds())
    copied = ("customer_id", "status", "total_minor", "currency", "attributes")
    number = orders.c.external_id.concat(f" +{years}")
    moved = ("placed_at", "delivered_at", "updated_at")
    again = select(number, *(orders.c[name] for name in copied), *(plus_seconds(orders.c[name], later) for name in moved))
    old = orders.alias("old")
    line = ("position", "product_id", "name", "category", "quantity", "price_minor", "url")
    lines = (
        select(orders.c.id, *(order_lines.c[name] for name in line))
        .join_from(old, orders, orders.c.external_id == cast(old.c.external_id.concat(f" +{years}"), String()))
        .join(order_lines, order_lines.c.order_id == old.c.id)
        .where(old.c.id.in_(_THESE))
    )
    return (
        insert(orders).from_select(["external_id", *copied, *moved], again.where(orders.c.id.in_(_THESE))),
        insert(order_lines).from_select(["order_id", *line], lines),
    )
