"""Fields about who a customer is, and what they allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Integer, and_, case, func, or_

from winback.audience.entries import Field, Kind, Scope
from winback.audience.sql import whole_days


def column(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    """Return what a column of the customer's row says."""
    return lambda scope: scope.customer.c[name]


def days_since(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    """Return the whole days since a moment of the customer's row."""
    return lambda scope: whole_days(scope.customer.c[name], scope.context.now)


def _yes(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    return lambda scope: scope.customer.c[name].is_(True)


def _there(name: str) -> Callable[[Scope], ColumnElement[Any]]:
    return lambda scope: scope.customer.c[name].is_not(None)


def _language(scope: Scope) -> ColumnElement[Any]:
    locale = scope.customer.c.locale
    # A language has two letters, or three: "de-AT", "fil".
    return func.lower(
        case((func.substr(locale, 3, 1).in_(["", "-", "_"]), func.substr(locale, 1, 2)), else_=func.substr(locale, 1, 3))
    )


def _age(scope: Scope) -> ColumnElement[Any]:
    zone = ZoneInfo(scope.context.shop_zone)

    def of_today(part: str) -> ColumnElement[int]:
        return scope.context.late(lambda clock: getattr(clock.now.astimezone(zone), part), Integer())

    customer, month = scope.customer.c, of_today("month")
    had_it = or_(customer.birth_month < month, and_(customer.birth_month == month, customer.birth_day <= of_today("day")))
    return of_today("year") - customer.birth_year - case((had_it, 0), else_=1)


FIELDS = (
    Field("id", Kind.TEXT, "the customer's id in your own system", "id = 'C0042'", column("external_id")),
    Field("country", Kind.TEXT, "two capital letters", "country in ('DE', 'AT')", column("country")),
    Field("city", Kind.TEXT, "as imported", "city = 'Berlin'", column("city")),
    Field("locale", Kind.TEXT, "language and country", "locale = 'de-AT'", column("locale")),
    Field("language", Kind.TEXT, "the first part of the locale, in small letters", "language = 'de'", _language),
    Field("zone", Kind.TEXT, "time zone that times of day follow", "zone = 'Europe/Berlin'", column("local_zone")),
    Field("first_name", Kind.TEXT, "may be empty", "first_name is not null", column("first_name")),
    Field("last_name", Kind.TEXT, "may be empty", "last_name like 'M%'", column("last_name")),
    Field("has_email", Kind.FLAG, "an e-mail address is known", "has_email", _there("email")),
    Field("has_phone", Kind.FLAG, "a phone number is known", "not has_phone", _there("phone")),
    Field("email_marketing", Kind.FLAG, "said yes to marketing by e-mail", "email_marketing", _yes("email_marketing")),
    Field("email_service", Kind.FLAG, "said yes to service e-mail", "email_service", _yes("email_service")),
    Field("sms_marketing", Kind.FLAG, "said yes to marketing by SMS", "sms_marketing", _yes("sms_marketing")),
    Field("sms_service", Kind.FLAG, "said yes to service SMS", "sms_service", _yes("sms_service")),
    Field("birth_month", Kind.NUMBER, "1 to 12, empty when unknown", "birth_month = 12", column("birth_month")),
    Field("birth_day", Kind.NUMBER, "1 to 31, empty when unknown", "birth_day = 24", column("birth_day")),
    Field("birth_year", Kind.NUMBER, "often unknown", "birth_year >= 1990", column("birth_year")),
    Field("age", Kind.NUMBER, "in years, empty when the year of birth is unknown", "age >= 18", _age),
    Field(
        "days_known",
        Kind.NUMBER,
        "whole days since the customer was first imported",
        "days_known <= 30",
        days_since("created_at"),
    ),
)
