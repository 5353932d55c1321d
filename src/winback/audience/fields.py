"""The catalogue: every field that an expression may name, with its type and meaning, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from babel.core import get_global
from babel.numbers import get_currency_precision
from sqlalchemy import ColumnElement, Float, and_, case, cast, func, literal, null, or_, select
from sqlalchemy.sql.expression import FromClause

from winback.audience.context import AudienceContext
from winback.audience.sql import whole_days
from winback.store import VOID_STATUSES, UtcDateTime, enrollments, orders


class Kind(StrEnum):
    """The type of a value."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "flag"  # true or false
    ANY = "any"  # an attribute: what it is compared with says


@dataclass(frozen=True)
class Scope:
    """The rows an expression is asked about: a customer, and an enrollment where there is one."""

    context: AudienceContext
    customer: FromClause
    enrollment: FromClause | None = None


@dataclass(frozen=True)
class Field:
    """A value that each customer (or enrollment) has."""

    name: str
    kind: Kind
    meaning: str
    example: str
    compile: Callable[[Scope], ColumnElement[Any]]


@dataclass(frozen=True)
class CatalogueEntry:
    """A line of `winback fields`."""

    name: str
    kind: str  # field | function
    type: str
    meaning: str
    example: str
    scope: str  # everywhere | campaign: only in only_if and exit.when


def _column(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    return lambda scope: scope.customer.c[name]


def _yes(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    return lambda scope: scope.customer.c[name].is_(True)


def _there(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    return lambda scope: scope.customer.c[name].is_not(None)


def _days_since(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    return lambda scope: whole_days(scope.customer.c[name], scope.context.now)


def _language(scope: Scope) -> ColumnElement[Any]:
    locale = scope.customer.c.locale
    # A language has two letters, or three: "de-AT", "fil".
    return func.lower(
        case((func.substr(locale, 3, 1).in_(["", "-", "_"]), func.substr(locale, 1, 2)), else_=func.substr(locale, 1, 3))
    )


def _age(scope: Scope) -> ColumnElement[Any]:
    today = scope.context.now.astimezone(ZoneInfo(scope.context.shop_zone)).date()
    customer = scope.customer.c
    had_it = or_(customer.birth_month < today.month, and_(customer.birth_month == today.month, customer.birth_day <= today.day))
    return today.year - customer.birth_year - case((had_it, 0), else_=1)


#: Currencies by how many decimals they have, but for the usual two.
_UNUSUAL = {code: precision for code in get_global("all_currencies") if (precision := get_currency_precision(code)) != 2}


def major_units(minor: ColumnElement[Any], currency: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return SQL for an amount in whole units: 1234 cents are 12.34, 1234 yen are 1234."""
    by_precision: dict[int, list[str]] = {}
    for code, precision in _UNUSUAL.items():
        by_precision.setdefault(precision, []).append(code)
    units = case(
        *((currency.in_(sorted(codes)), literal(float(10**precision))) for precision, codes in sorted(by_precision.items())),
        else_=literal(100.0),
    )
    return cast(minor, Float()) / units


def _spent(scope: Scope) -> ColumnElement[Any]:
    return major_units(scope.customer.c.spent_minor, scope.customer.c.currency)


def _average_order(scope: Scope) -> ColumnElement[Any]:
    return _spent(scope) / cast(func.nullif(scope.customer.c.order_count, 0), Float())


def _overdue(scope: Scope) -> ColumnElement[Any]:
    customer = scope.customer.c
    rhythm = case((customer.median_gap_days > 0, customer.median_gap_days), else_=null())
    return cast(whole_days(customer.last_order_at, scope.context.now), Float()) / rhythm


def _ordered(scope: Scope) -> ColumnElement[Any]:
    """Ask for an order after the one that the enrollment is about, else after its anchor, else after it began."""
    enrollment = _of(scope)
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
    enrollment = _of(scope)
    order = orders.alias()
    return select(order.c.id).where(order.c.id == enrollment.c.order_id, order.c.status.in_(VOID_STATUSES)).exists()


def _of(scope: Scope) -> FromClause:
    return enrollments if scope.enrollment is None else scope.enrollment


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("id", Kind.TEXT, "the customer's id in your own system", "id = 'C0042'", _column("external_id")),
        Field("country", Kind.TEXT, "two capital letters", "country in ('DE', 'AT')", _column("country")),
        Field("city", Kind.TEXT, "as imported", "city = 'Berlin'", _column("city")),
        Field("locale", Kind.TEXT, "language and country", "locale = 'de-AT'", _column("locale")),
        Field("language", Kind.TEXT, "the first part of the locale, in small letters", "language = 'de'", _language),
        Field("zone", Kind.TEXT, "time zone that times of day follow", "zone = 'Europe/Berlin'", _column("local_zone")),
        Field("first_name", Kind.TEXT, "may be empty", "first_name is not null", _column("first_name")),
        Field("last_name", Kind.TEXT, "may be empty", "last_name like 'M%'", _column("last_name")),
        Field("has_email", Kind.FLAG, "an e-mail address is known", "has_email", _there("email")),
        Field("has_phone", Kind.FLAG, "a phone number is known", "not has_phone", _there("phone")),
        Field("email_marketing", Kind.FLAG, "said yes to marketing by e-mail", "email_marketing", _yes("email_marketing")),
        Field("email_service", Kind.FLAG, "said yes to service e-mail", "email_service", _yes("email_service")),
        Field("sms_marketing", Kind.FLAG, "said yes to marketing by SMS", "sms_marketing", _yes("sms_marketing")),
        Field("sms_service", Kind.FLAG, "said yes to service SMS", "sms_service", _yes("sms_service")),
        Field("birth_month", Kind.NUMBER, "1 to 12, empty when unknown", "birth_month = 12", _column("birth_month")),
        Field("birth_day", Kind.NUMBER, "1 to 31, empty when unknown", "birth_day = 24", _column("birth_day")),
        Field("birth_year", Kind.NUMBER, "often unknown", "birth_year >= 1990", _column("birth_year")),
        Field("age", Kind.NUMBER, "in years, empty when the year of birth is unknown", "age >= 18", _age),
        Field(
            "days_known",
            Kind.NUMBER,
            "whole days since the customer was first imported",
            "days_known <= 30",
            _days_since("created_at"),
        ),
        Field(
            "orders", Kind.NUMBER, "orders that count: not cancelled, refunded or returned", "orders >= 2", _column("order_count")
        ),
        Field(
            "spent",
            Kind.NUMBER,
            "money over all orders that count, in whole units of the customer's currency",
            "spent >= 250",
            _spent,
        ),
        Field("average_order", Kind.NUMBER, "money per order, empty without one", "average_order > 60", _average_order),
        Field("currency", Kind.TEXT, "of the newest order", "currency = 'EUR'", _column("currency")),
        Field(
            "days_since_first_order",
            Kind.NUMBER,
            "whole days, empty without an order",
            "days_since_first_order >= 365",
            _days_since("first_order_at"),
        ),
        Field(
            "days_since_last_order",
            Kind.NUMBER,
            "whole days, empty without an order",
            "days_since_last_order between 30 and 90",
            _days_since("last_order_at"),
        ),
        Field(
            "days_between_orders",
            Kind.NUMBER,
            "the customer's usual time between orders (median), empty below two",
            "days_between_orders <= 45",
            _column("median_gap_days"),
        ),
        Field("overdue", Kind.NUMBER, "days since the last order / usual days between orders", "overdue >= 2", _overdue),
    )
}

#: Known only where an enrollment is looked at: in only_if and exit.when.
ENROLLMENT_FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("ordered", Kind.FLAG, "has ordered since what the campaign is about, or since coming in", "ordered", _ordered),
        Field("voided", Kind.FLAG, "the order this is about was cancelled, refunded or returned", "voided", _voided),
    )
}


def fields_of(scope: Scope) -> dict[str, Field]:
    """Return the fields that an expression may name."""
    return FIELDS if scope.enrollment is None else FIELDS | ENROLLMENT_FIELDS


def catalogue() -> list[CatalogueEntry]:
    """Return every field and function of expressions, for `winback fields` and the documentation."""
    from winback.audience.functions import ENROLLMENT_FUNCTIONS, FUNCTIONS

    found = []
    for fields, scope in ((FIELDS, "everywhere"), (ENROLLMENT_FIELDS, "campaign")):
        found += [
            CatalogueEntry(each.name, "field", each.kind.value, each.meaning, each.example, scope) for each in fields.values()
        ]
    found.append(
        CatalogueEntry(
            "attributes.NAME", "field", "any", "your own field NAME, as imported", "attributes.pet = 'cat'", "everywhere"
        )
    )
    for functions, scope in ((FUNCTIONS, "everywhere"), (ENROLLMENT_FUNCTIONS, "campaign")):
        found += [
            CatalogueEntry(each.signature, "function", each.kind.value, each.meaning, each.example, scope)
            for each in functions.values()
        ]
    return found


def moment(at: datetime) -> ColumnElement[datetime]:
    """Return a moment as an SQL value."""
    return literal(at, UtcDateTime())
