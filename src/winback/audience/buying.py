"""Fields and functions about what customers ordered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, FromClause, String, and_, case, cast, exists, func, literal, null, select

from winback.audience.entries import ANY_DAYS, DAYS, Arguments, Cost, Field, Function, Kind, Parameter, Scope
from winback.audience.money import major_units
from winback.audience.rhythm import SLEEPING_RHYTHMS, asleep, rhythm_days
from winback.audience.sql import whole_days
from winback.audience.who import column, days_since
from winback.store import VOID_STATUSES, OrderStatus, UtcDateTime, order_lines, orders

#: Who is asleep and has not ordered for this long is lost.
_LOST = timedelta(days=365)


def _spent(scope: Scope) -> ColumnElement[Any]:
    return major_units(scope.customer.c.spent_minor, scope.customer.c.currency)


def _average_order(scope: Scope) -> ColumnElement[Any]:
    return _spent(scope) / cast(func.nullif(scope.customer.c.order_count, 0), Float())


def _rhythm(scope: Scope) -> ColumnElement[Any]:
    return rhythm_days(scope.customer)


def _silent_days(scope: Scope) -> ColumnElement[Any]:
    return cast(whole_days(scope.customer.c.last_order_at, scope.context.now), Float())


def _expected_in(scope: Scope) -> ColumnElement[Any]:
    return _rhythm(scope) - _silent_days(scope)


def overdue(scope: Scope) -> ColumnElement[Any]:
    """Return the days since the last order in usual times between orders."""
    return _silent_days(scope) / func.nullif(_rhythm(scope), 0.0)


def _lifecycle(scope: Scope) -> ColumnElement[Any]:
    customer = scope.customer.c
    sleeps = asleep(SLEEPING_RHYTHMS, scope.context, scope.customer)
    lost = and_(sleeps, customer.last_order_at <= scope.context.ago(_LOST))
    return case(
        (customer.order_count == 0, literal("lead", String())),
        (lost, literal("lost", String())),
        (sleeps, literal("sleeping", String())),
        (customer.order_count == 1, literal("first-time", String())),
        else_=literal("repeat", String()),
    )


def _churn(scope: Scope) -> ColumnElement[Any]:
    late = overdue(scope)
    return case(
        (late < 1.0, literal("low", String())),
        (late < SLEEPING_RHYTHMS, literal("medium", String())),
        (late >= SLEEPING_RHYTHMS, literal("high", String())),
        else_=null(),
    )


def _ordered(scope: Scope) -> ColumnElement[Any]:
    """Ask for an order after the one that the enrollment is about, else after its anchor, else after it began."""
    enrollment = scope.about
    order, about = orders.alias(), orders.alias()
    # Two levels down SQLAlchemy does not correlate by itself.
    placed = select(about.c.placed_at).where(about.c.id == enrollment.c.order_id).correlate(enrollment).scalar_subquery()
    since = func.coalesce(placed, enrollment.c.anchor_at, enrollment.c.enrolled_at, type_=UtcDateTime())
    return (
        select(order.c.id)
        .where(order.c.customer_id == enrollment.c.customer_id, order.c.status.not_in(VOID_STATUSES), order.c.placed_at > since)
        .exists()
    )


def _voided(scope: Scope) -> ColumnElement[Any]:
    order = orders.alias()
    return select(order.c.id).where(order.c.id == scope.about.c.order_id, order.c.status.in_(VOID_STATUSES)).exists()


def recent(scope: Scope, at: ColumnElement[Any], arguments: Arguments, place: int) -> list[ColumnElement[bool]]:
    """Return the conditions for "up to now, and at most so many days ago", the days being the argument at a place."""
    conditions = [at <= scope.context.now]
    if len(arguments) > place:
        conditions.append(at > scope.context.ago(timedelta(days=float(arguments[place]))))
    return conditions


def _counting(scope: Scope, order: FromClause, arguments: Arguments, place: int) -> list[ColumnElement[bool]]:
    """Return the conditions for the customer's own orders that count."""
    own = [order.c.customer_id == scope.customer.c.id, order.c.status.not_in(VOID_STATUSES)]
    return own + recent(scope, order.c.placed_at, arguments, place)


def _orders_in(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    order = orders.alias()
    return select(func.count()).select_from(order).where(*_counting(scope, order, arguments, 0)).scalar_subquery()


def _spent_in(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    """Sum in the currency of the newest order, as `spent` does: euros and dollars do not add up."""
    order = orders.alias()
    conditions = [*_counting(scope, order, arguments, 0), order.c.currency == scope.customer.c.currency]
    total = select(func.coalesce(func.sum(order.c.total_minor), 0)).where(*conditions).scalar_subquery()
    return major_units(total, scope.customer.c.currency)


def _average_in(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    return _spent_in(scope, arguments) / cast(func.nullif(_orders_in(scope, arguments), 0), Float())


def _with_status(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    order = orders.alias()
    own = (order.c.customer_id == scope.customer.c.id, order.c.status == arguments[0])
    return select(func.count()).select_from(order).where(*own, *recent(scope, order.c.placed_at, arguments, 1)).scalar_subquery()


def _lines(by: str, scope: Scope, arguments: Arguments) -> tuple[FromClause, FromClause, list[ColumnElement[bool]]]:
    """Return orders and their lines, and the conditions for those with a product or of a category."""
    order, line = orders.alias(), order_lines.alias()
    here = [line.c.order_id == order.c.id, line.c[by] == arguments[0]]
    return order, line, here + _counting(scope, order, arguments, 1)


def _bought(by: str) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    return lambda scope, arguments: exists().where(*_lines(by, scope, arguments)[2])


def _bought_count(by: str) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    def compiled(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
        order, _, conditions = _lines(by, scope, arguments)
        return select(func.count(order.c.id.distinct())).where(*conditions).scalar_subquery()

    return compiled


def _days_since_bought(by: str) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    def compiled(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
        order, _, conditions = _lines(by, scope, arguments)
        newest = select(func.max(order.c.placed_at, type_=UtcDateTime())).where(*conditions).scalar_subquery()
        return whole_days(newest, scope.context.now)

    return compiled


def _spent_on(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    order, line, conditions = _lines("category", scope, arguments)
    same = order.c.currency == scope.customer.c.currency
    total = select(func.coalesce(func.sum(line.c.quantity * line.c.price_minor), 0)).where(*conditions, same).scalar_subquery()
    return major_units(total, scope.customer.c.currency)


def _no_status(word: str) -> tuple[str, str] | None:
    if word in set(OrderStatus):
        return None
    return f"{word!r} is no status of an order", f"there are {', '.join(OrderStatus)}"


FIELDS = (
    Field("orders", Kind.NUMBER, "orders that count: not cancelled, refunded or returned", "orders >= 2", column("order_count")),
    Field(
        "spent",
        Kind.NUMBER,
        "money over all orders that count, in whole units of the customer's currency",
        "spent >= 250",
        _spent,
    ),
    Field("average_order", Kind.NUMBER, "money per order, empty without one", "average_order > 60", _average_order),
    Field("currency", Kind.TEXT, "of the newest order", "currency = 'EUR'", column("currency")),
    Field(
        "days_since_first_order",
        Kind.NUMBER,
        "whole days, empty without an order",
        "days_since_first_order >= 365",
        days_since("first_order_at"),
    ),
    Field(
        "days_since_last_order",
        Kind.NUMBER,
        "whole days, empty without an order",
        "days_since_last_order between 30 and 90",
        days_since("last_order_at"),
    ),
    Field(
        "days_between_orders",
        Kind.NUMBER,
        "the customer's own time between orders (median), empty below two",
        "days_between_orders <= 45",
        column("median_gap_days"),
    ),
    Field(
        "rhythm",
        Kind.NUMBER,
        "days between orders to reckon with: the customer's own from three orders on, below that the shop's with it",
        "rhythm <= 45",
        _rhythm,
    ),
    Field(
        "expected_order_in",
        Kind.NUMBER,
        "days until the next order by rhythm, below 0 overdue",
        "expected_order_in <= 7",
        _expected_in,
    ),
    Field("overdue", Kind.NUMBER, "days since the last order / rhythm", "overdue >= 2", overdue),
    Field(
        "lifecycle",
        Kind.TEXT,
        "lead, first-time, repeat; sleeping after twice the rhythm, then lost after a year",
        "lifecycle in ('first-time', 'repeat')",
        _lifecycle,
    ),
    Field(
        "churn",
        Kind.TEXT,
        "how likely they are gone, by rhythm: low, medium (overdue), high (twice overdue); empty without a rhythm",
        "churn = 'high'",
        _churn,
    ),
)

ENROLLMENT_FIELDS = (
    Field(
        "ordered", Kind.FLAG, "has ordered since what the campaign is about, or since coming in", "ordered", _ordered, Cost.LOOKUP
    ),
    Field("voided", Kind.FLAG, "the order this is about was cancelled, refunded or returned", "voided", _voided, Cost.LOOKUP),
)

_PRODUCT = Parameter("product", Kind.TEXT)
_CATEGORY = Parameter("category", Kind.TEXT)

FUNCTIONS = (
    Function(
        "bought",
        (_PRODUCT, ANY_DAYS),
        Kind.FLAG,
        "bought a product, by its id; in the last days",
        "not bought('gift-card', 30)",
        _bought("product_id"),
    ),
    Function(
        "bought_category",
        (_CATEGORY, ANY_DAYS),
        Kind.FLAG,
        "bought something of a category",
        "bought_category('Jazz', 365)",
        _bought("category"),
    ),
    Function(
        "bought_count",
        (_PRODUCT, ANY_DAYS),
        Kind.NUMBER,
        "orders with a product",
        "bought_count('gift-card', 365) >= 2",
        _bought_count("product_id"),
    ),
    Function(
        "bought_category_count",
        (_CATEGORY, ANY_DAYS),
        Kind.NUMBER,
        "orders with something of a category",
        "bought_category_count('Jazz') >= 3",
        _bought_count("category"),
    ),
    Function(
        "days_since_bought",
        (_PRODUCT,),
        Kind.NUMBER,
        "whole days since the last order of a product, empty without one",
        "days_since_bought('stylus') >= 300",
        _days_since_bought("product_id"),
    ),
    Function(
        "days_since_bought_category",
        (_CATEGORY,),
        Kind.NUMBER,
        "the same for a category",
        "days_since_bought_category('Jazz') > 90",
        _days_since_bought("category"),
    ),
    Function(
        "spent_on",
        (_CATEGORY, ANY_DAYS),
        Kind.NUMBER,
        "money for a category, by the prices of the lines",
        "spent_on('Jazz', 365) >= 100",
        _spent_on,
    ),
    Function("orders_in", (DAYS,), Kind.NUMBER, "orders in the last days", "orders_in(365) >= 4", _orders_in),
    Function("spent_in", (DAYS,), Kind.NUMBER, "money in the last days", "spent_in(365) >= 500", _spent_in),
    Function(
        "average_in",
        (DAYS,),
        Kind.NUMBER,
        "money per order in the last days, empty without one",
        "average_in(365) > 60",
        _average_in,
    ),
    Function(
        "orders_with_status",
        (Parameter("status", Kind.TEXT, wrong=_no_status), ANY_DAYS),
        Kind.NUMBER,
        f"orders that are {', '.join(OrderStatus)}",
        "orders_with_status('returned', 365) = 0",
        _with_status,
    ),
)
