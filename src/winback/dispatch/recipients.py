"""Who a message is for, as templates see them: loaded for a whole batch in a handful of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, or_, select

from winback import clock, ledger
from winback.compose import Money, Recipient
from winback.compose.coupons import coupon_code
from winback.errors import InputError
from winback.policy import zone_of
from winback.project import Campaign, Project, Step
from winback.store import VOID_STATUSES, Channel, customers, enrollments, order_lines, orders, score_states

#: Values in one IN list; SQLite binds at most 32 766 at once.
_BATCH = 500

#: What is read of each; rows have more columns, and reading them takes time. The first are shown as they are.
_AS_THEY_ARE = ("external_id", "first_name", "last_name", "email", "phone", "country", "city", "locale")
_PERSON = [
    customers.c[name]
    for name in (
        *_AS_THEY_ARE,
        *("id", "local_zone", "birth_month", "birth_day", "attributes", "currency", "order_count", "spent_minor"),
        *("first_order_at", "last_order_at", "last_order_id"),
    )
]
_ORDER = [orders.c[name] for name in ("id", "external_id", "placed_at", "total_minor", "currency")]
_LINE = [order_lines.c[name] for name in ("order_id", "name", "quantity", "price_minor", "category", "url")]

_LEAP_DAY = (2, 29)


#: Amounts as templates see them: prices come again and again.
_amount = lru_cache(maxsize=16_384)(Money)


@dataclass(slots=True)
class Addressee:
    """One message to load the recipient of: which step for which customer, about which order if any, by which channel."""

    message_id: str
    campaign: Campaign
    step: Step
    customer_id: int
    order_id: int | None
    channel: Channel


def load_recipients(
    connection: Connection, project: Project, addressees: Sequence[Addressee], now: datetime
) -> dict[str, Recipient]:
    """Return the recipient of each message by the message's id, in the shapes of docs/templates.md."""
    found: dict[str, Recipient] = {}
    for start in range(0, len(addressees), _BATCH):
        found |= _load(connection, project, addressees[start : start + _BATCH], now)
    return found


def recipient_for_preview(  # noqa: PLR0917 - reads in the order of a question: what, to whom, how, when
    connection: Connection, project: Project, campaign: Campaign, step: Step, external_id: str, channel: Channel, now: datetime
) -> Recipient:
    """Return a customer as one step would address them now, whether or not they are in the campaign.

    The message id is in no ledger, so no link of the preview does anything. A campaign about orders shows the order of the
    customer's newest enrollment, else their newest order, one that counts if there is any.
    Raise InputError for an unknown customer.
    """
    customer_id = connection.scalar(select(customers.c.id).where(customers.c.external_id == external_id))
    if customer_id is None:
        raise InputError(f"there is no customer {external_id!r}", "write the id that the customer has in your own system")
    order_id = _newest_order(connection, campaign, customer_id) if campaign.audience.about_an_order else None
    message_id = ledger.message_id(campaign.name, external_id, "preview", step.name)
    addressee = Addressee(message_id, campaign, step, customer_id, order_id, channel)
    return load_recipients(connection, project, [addressee], now)[message_id]


def coupon_expiry(step: Step, zone: ZoneInfo, now: datetime) -> tuple[date, datetime]:
    """Return the last local date on which the coupon of a message sent now is valid, and the moment that date ends."""
    assert step.coupon is not None  # noqa: S101 - asked of steps with a coupon only
    last = (now + step.coupon.expires).astimezone(zone).date()
    return last, clock.local_instant(last + timedelta(days=1), time(0), zone)


def _newest_order(connection: Connection, campaign: Campaign, customer_id: int) -> int | None:
    enrolled = (
        select(enrollments.c.order_id)
        .where(enrollments.c.campaign == campaign.name, enrollments.c.customer_id == customer_id)
        .order_by(enrollments.c.enrolled_at.desc(), enrollments.c.id.desc())
        .limit(1)
    )
    newest = (
        select(orders.c.id)
        .where(orders.c.customer_id == customer_id)
        .order_by(orders.c.status.in_(VOID_STATUSES), orders.c.placed_at.desc(), orders.c.id.desc())
        .limit(1)
    )
    return connection.scalar(enrolled) or connection.scalar(newest)


def _load(connection: Connection, project: Project, addressees: Sequence[Addressee], now: datetime) -> dict[str, Recipient]:
    people = _by_id(connection, {each.customer_id for each in addressees})
    last_orders = {person.last_order_id for person in people.values() if person.last_order_id is not None}
    about = {each.order_id for each in addressees if each.order_id is not None}
    bought = _Orders(connection, about, last_orders)
    campaigns = {each.campaign.name: each.campaign.audience for each in addressees}
    leap_days = {name: getattr(audience, "leap_day", "feb28") for name, audience in campaigns.items()}
    models = {name: audience.score for name, audience in campaigns.items() if hasattr(audience, "score")}
    scores = _scores(connection, models, addressees)
    coupon_key = project.key("coupon")
    found: dict[str, Recipient] = {}
    today: dict[ZoneInfo, date] = {}
    for each in addressees:
        person = people[each.customer_id]
        zone = zone_of(person.local_zone, project)
        if zone not in today:
            today[zone] = now.astimezone(zone).date()
        found[each.message_id] = Recipient(
            message_id=each.message_id,
            channel=each.channel,
            address=(person.email if each.channel is Channel.EMAIL else person.phone) or "",
            customer=_customer(person, project, leap_days[each.campaign.name], zone, today[zone]),
            order=bought.by_id(each.order_id, zone),
            last_order=bought.by_number(person.last_order_id, zone),
            coupon=_coupon(each, coupon_key, zone, now),
            score=scores.get((each.customer_id, models.get(each.campaign.name, ""))),
        )
    return found


def _by_id(connection: Connection, ids: Collection[int]) -> dict[int, Row[Any]]:
    return {row.id: row for row in connection.execute(select(*_PERSON).where(customers.c.id.in_(sorted(ids)))).all()}


def _customer(person: Row[Any], project: Project, leap_day: str, zone: ZoneInfo, today: date) -> dict[str, Any]:
    month, day, attributes, currency, order_count, spent_minor, first_order_at, last_order_at = person[_REST]
    shown = dict(zip(_AS_THEY_ARE, person, strict=False))
    shown["zone"] = zone.key
    shown["birthday"] = None if month is None else next_birthday(month, day, today, leap_day)
    shown["orders"] = order_count
    shown["spent"] = _amount(spent_minor, currency or project.settings.shop.currency)
    shown["first_order_on"] = _local_date(first_order_at, zone)
    shown["last_order_on"] = _local_date(last_order_at, zone)
    shown["attributes"] = attributes or {}
    return shown


#: What the rest is made from: all between the zone and the last order.
_REST = slice(len(_AS_THEY_ARE) + 2, -1)


def next_birthday(month: int | None, day: int | None, today: date, leap_day: str = "feb28") -> date | None:
    """Return the birthday that is today or next; 29 February in other years by `leap_day`: feb28, mar1 or skip."""
    if month is None or day is None:
        return None
    for year in range(today.year, today.year + 9):  # 1900 and 2100 are no leap years: up to eight years without the day
        birthday = _birthday_in(year, month, day, leap_day)
        if birthday is not None and birthday >= today:
            return birthday
    return None


def _birthday_in(year: int, month: int, day: int, leap_day: str) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        if (month, day) != _LEAP_DAY or leap_day == "skip":
            return None
        return date(year, 3, 1) if leap_day == "mar1" else date(year, 2, 28)


def _local_date(moment: datetime | None, zone: ZoneInfo) -> date | None:
    return None if moment is None else moment.astimezone(zone).date()


def _coupon(addressee: Addressee, key: bytes, zone: ZoneInfo, now: datetime) -> dict[str, Any] | None:
    coupon = addressee.step.coupon
    if coupon is None:
        return None
    expires_on, _ = coupon_expiry(addressee.step, zone, now)
    return {
        "code": coupon_code(key, coupon.pool, addressee.message_id),
        "expires_on": expires_on,
        "pool": coupon.pool,
    }


class _Orders:
    """The orders that a batch of messages may show, with their lines."""

    def __init__(self, connection: Connection, ids: Collection[int], numbers: Collection[str]) -> None:
        wanted = or_(orders.c.id.in_(sorted(ids)), orders.c.external_id.in_(sorted(numbers)))
        self._orders = {row[0]: row for row in connection.execute(select(*_ORDER).where(wanted)).all()} if ids or numbers else {}
        self._numbers = {row.external_id: row.id for row in self._orders.values()}
        self._lines: dict[int, list[Any]] = defaultdict(list)
        for batch in _batches(sorted(self._orders)):
            query = select(*_LINE).where(order_lines.c.order_id.in_(batch))
            for line in connection.execute(query.order_by(order_lines.c.order_id, order_lines.c.position)).all():
                self._lines[line[0]].append(line)

    def by_id(self, order_id: int | None, zone: ZoneInfo) -> dict[str, Any] | None:
        row = self._orders.get(order_id) if order_id is not None else None
        return None if row is None else self._shown(row, zone)

    def by_number(self, number: str | None, zone: ZoneInfo) -> dict[str, Any] | None:
        return None if number is None else self.by_id(self._numbers.get(number), zone)

    def _shown(self, order: Any, zone: ZoneInfo) -> dict[str, Any]:
        order_id, number, placed_at, total, currency = order
        return {
            "number": number,
            "placed_on": _local_date(placed_at, zone),
            "total": _amount(total, currency),
            "lines": [
                {"name": name, "quantity": quantity, "price": _amount(price, currency), "category": category, "url": url}
                for _, name, quantity, price, category, url in self._lines[order_id]
            ],
        }


def _scores(
    connection: Connection, models: Mapping[str, str], addressees: Iterable[Addressee]
) -> Mapping[tuple[int, str], dict[str, Any]]:
    """Return the scores that campaigns by score are about, by customer and score; `models` names them by campaign."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for each in addressees:
        if each.campaign.name in models:
            wanted[models[each.campaign.name]].add(each.customer_id)
    found = {}
    for score, people in wanted.items():
        query = select(score_states).where(score_states.c.model == score, score_states.c.customer_id.in_(sorted(people)))
        for row in connection.execute(query):
            found[row.customer_id, score] = {"name": row.model, "value": row.value, "level": row.level}
    return found


def _batches(items: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
