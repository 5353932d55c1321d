"""Presets about orders: customers asleep, some time after an order, a number of orders reached, the next one expected."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Float, Select, and_, case, cast, exists, func, literal, or_, select

from winback.audience.context import AudienceContext, Clock
from winback.audience.money import major_units
from winback.audience.occasions import DAY, Selected, between, later, row, rows_of, together
from winback.audience.presets import AfterOrder, Milestone, Replenish, Sleeping
from winback.audience.rhythm import UNKNOWN_RHYTHM, asleep, later_by_rhythms
from winback.audience.sql import in_passing
from winback.clock import local_instant
from winback.store import VOID_STATUSES, customers, orders, segment_members

#: Less than the smallest coin.
_ROUNDING = 0.0001


def sleeping(audience: Sleeping, context: AudienceContext) -> Select[Any]:
    inactive = audience.inactive
    last = in_passing(customers.c.last_order_at)
    if inactive.rhythms is None:
        sleeps: ColumnElement[bool] = last < _before(context, inactive.at_least or UNKNOWN_RHYTHM, and_that_day=True)
    else:
        sleeps = asleep(inactive.rhythms, context)
    if inactive.at_most is not None:
        sleeps = and_(sleeps, last >= _before(context, inactive.at_most))
    return row(occasion=customers.c.last_order_id, ripe_at=context.now, anchor_at=context.now).where(sleeps)


def _before(context: AudienceContext, ago: timedelta, *, and_that_day: bool = False) -> ColumnElement[datetime]:
    """Return the moment so long ago; whole days are counted on the shop's calendar, the day itself included if so asked."""
    days, rest = divmod(ago, DAY)
    if rest:
        return context.ago(ago)
    zone = ZoneInfo(context.shop_zone)

    def midnight(clock: Clock) -> datetime:
        day = clock.now.astimezone(zone).date() - days * DAY
        return local_instant(day + DAY if and_that_day else day, time(0), zone)

    return context.late(midnight)


def after_order(audience: AfterOrder, context: AudienceContext) -> Select[Any]:
    at = orders.c[f"{audience.after}_at"]
    void = orders.c.status.in_(VOID_STATUSES)
    selected = (
        row(
            customer_id=orders.c.customer_id,
            occasion=orders.c.external_id,
            ripe_at=later(at, audience.wait),
            anchor_at=at,
            order_id=orders.c.id,
        )
        .select_from(rows_of(orders, audience, of_whom=audience.first))
        .where(*between(at, context, audience.wait), void if audience.after == "voided" else ~void)
    )
    if not audience.first:
        return selected
    # The customer's own row knows when the first order that counts was; of several at that moment it is the one written first.
    first_at, twin = customers.c.first_order_at, orders.alias("twin")
    is_first = first_at == orders.c.placed_at
    if audience.after == "voided":
        is_first = or_(first_at.is_(None), first_at >= orders.c.placed_at)
    # Asked of the customer, not of the order, or SQLite looks for twins before it has left out all but the first.
    at_once = and_(twin.c.customer_id == customers.c.id, twin.c.placed_at == orders.c.placed_at, twin.c.id < orders.c.id)
    return selected.where(is_first, ~exists().where(at_once, twin.c.status.not_in(VOID_STATUSES)))


def replenish(audience: Replenish, context: AudienceContext) -> Select[Any]:
    """Select customers whose next order is expected, so long before or after that moment."""
    expected = later_by_rhythms(1, by=audience.offset)
    found = row(occasion=customers.c.last_order_id, ripe_at=expected, anchor_at=expected)
    return found.where(*between(expected, context, timedelta()))


def milestone(audience: Milestone, context: AudienceContext) -> Selected:
    """Select customers who reached a value; who passes several at once gets the highest."""
    return _by_orders(audience, context) if audience.about_an_order else _by_attribute(audience, context)


def _by_orders(audience: Milestone, context: AudienceContext) -> Select[Any]:
    """Select the orders with which a value was reached: it is above what was before them, and not above what was after."""
    before, worth = _before_and_worth(audience)
    # Materialized, or SQLite looks the other orders up again for each value that it compares.
    placed = (
        select(orders.c.id, orders.c.customer_id, orders.c.placed_at, before.label("before"), worth.label("worth"))
        .join_from(orders, customers, customers.c.id == orders.c.customer_id)
        .where(*between(orders.c.placed_at, context, timedelta()), orders.c.status.not_in(VOID_STATUSES))
        .cte("placed")
        .prefix_with("MATERIALIZED")
    )
    # Added in whole minor units each sum is exact; the two rounded parts may miss a value by the last digit of a float.
    after = placed.c.before + placed.c.worth + _ROUNDING
    reached = {value: and_(placed.c.before + _ROUNDING < value, after >= value) for value in audience.descending}
    occasion = case(*((condition, audience.occasion(value)) for value, condition in reached.items()))
    return (
        row(occasion=occasion, ripe_at=placed.c.placed_at, anchor_at=placed.c.placed_at, order_id=placed.c.id)
        .join_from(customers, placed, placed.c.customer_id == customers.c.id)
        .where(or_(*reached.values()))
    )


def _before_and_worth(audience: Milestone) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return how much the customer had before an order, and how much the order adds.

    The customer's own row knows how much there is by now; what came after the order, mostly nothing, is taken off. Only for an
    order in another currency than the newest one, in which that is counted, what was before it is added up.
    """
    other, at, number = orders.alias("other"), orders.c.placed_at, orders.c.id
    counted = (other.c.customer_id == orders.c.customer_id, other.c.status.not_in(VOID_STATUSES))
    # Written so that an index of the moments is used.
    earlier = (*counted, other.c.placed_at <= at, or_(other.c.placed_at < at, other.c.id < number))
    later = (*counted, other.c.placed_at >= at, or_(other.c.placed_at > at, other.c.id > number))
    if audience.field == "orders":
        coming = select(func.count()).where(*later).scalar_subquery()
        return cast(customers.c.order_count - 1 - coming, Float()), literal(1.0)
    amount, currency = func.coalesce(func.sum(other.c.total_minor), 0), other.c.currency == orders.c.currency
    added, coming = (select(amount).where(*which, currency).scalar_subquery() for which in (earlier, later))
    by_now = customers.c.currency == orders.c.currency
    spent = case((by_now, customers.c.spent_minor - orders.c.total_minor - coming), else_=added)
    return major_units(spent, orders.c.currency), major_units(orders.c.total_minor, orders.c.currency)


def _by_attribute(audience: Milestone, context: AudienceContext) -> Selected:
    """Select who has newly come to have that much of an attribute: each value is watched as a segment of its own."""
    found = []
    higher = segment_members.alias("higher")
    for place, value in enumerate(audience.descending):
        entered = segment_members.c.entered_at
        at_once = exists().where(
            higher.c.segment.in_([audience.occasion(each) for each in audience.descending[:place]]),
            higher.c.customer_id == customers.c.id,
            higher.c.entered_at <= entered,
            higher.c.left_at.is_(None),
        )
        found.append(
            row(occasion=literal(audience.occasion(value)), ripe_at=entered, anchor_at=entered)
            .join_from(customers, segment_members, segment_members.c.customer_id == customers.c.id)
            .where(
                segment_members.c.segment == audience.occasion(value),
                segment_members.c.left_at.is_(None),
                *between(entered, context, timedelta()),
                ~at_once,
            )
        )
    return together(found)
