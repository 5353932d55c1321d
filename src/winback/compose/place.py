"""Whose language and clock a text is written for: locales, directions, and the filters that follow them.

The language is that of the template, the customs are those of the customer's country: an English letter to Vienna says
"24 November 2026". The place travels beside the template's variables, so filters work in macros imported without context, too.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal
from jinja2 import TemplateRuntimeError, Undefined

from winback.compose.message import Money


@dataclass(frozen=True)
class Place:
    """The locale and time zone that a text is formatted for; what follows from them is found out once."""

    locale: Locale
    zone: ZoneInfo

    @cached_property
    def tag(self) -> str:
        """Return the locale's name as babel writes it."""
        return str(self.locale)

    @cached_property
    def lang(self) -> str:
        """Return the language tag for HTML (BCP 47), such as `en` or `zh-Hant`."""
        script = self.locale.script
        return f"{self.locale.language}-{script}" if script else self.locale.language

    @cached_property
    def direction(self) -> str:
        """Return `rtl` for Arabic, Hebrew, Persian …, else `ltr`."""
        direction: str = self.locale.text_direction
        return direction


_place: ContextVar[Place] = ContextVar("winback_compose_place")


class written_for:  # a generator would take several times as long
    """Let the filters format for a place inside the block."""

    __slots__ = ("_place", "_token")

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> None:
        self._token = _place.set(self._place)

    def __exit__(self, *_error: object) -> None:
        _place.reset(self._token)


@lru_cache(maxsize=1024)
def choose_place(text: str, customer: str | None, country: str | None, zone: str) -> Place:
    """Return the place of a text in the locale `text`, read by a customer in a time zone."""
    return Place(choose_locale(text, customer, country), ZoneInfo(zone))


@lru_cache(maxsize=1024)
def choose_locale(text: str, customer: str | None, country: str | None) -> Locale:
    """Return the locale for a text in the locale `text`, read by a customer: its language, with the customs of their country.

    All are BCP 47 tags or ISO codes; what babel does not know is passed over.
    """
    base = parse_locale(text) or Locale("en")
    theirs = parse_locale(customer)
    territory = country or (theirs.territory if theirs else None)
    if territory is None or territory == base.territory:
        return base
    tag = "_".join(part for part in (base.language, base.script, territory) if part)
    try:
        return Locale.parse(tag, resolve_likely_subtags=False)
    except (UnknownLocaleError, ValueError):
        return base


@lru_cache(maxsize=1024)
def parse_locale(tag: str | None) -> Locale | None:
    """Return babel's locale for a BCP 47 tag, or None for one that it does not know."""
    try:
        return Locale.parse(tag.replace("-", "_")) if tag else None
    except (UnknownLocaleError, ValueError):
        return None


def money(value: Any) -> str:
    """Write an amount as the reader's country does: `{{ order.total | money }}`."""
    if not isinstance(value, Money):
        _refuse(value, "money", "an amount of money, such as order.total")
    return _money_text(value.minor, value.currency, _place.get().tag)


# Remembered by plain values: to compare amounts and locales themselves takes as long as to look up ten texts.
@lru_cache(maxsize=16_384)
def _money_text(minor: int, currency: str, tag: str) -> str:
    return format_currency(Money(minor, currency).amount, currency, locale=Locale.parse(tag))


def date_text(value: Any, style: str = "long") -> str:
    """Write a date: `{{ coupon.expires_on | date }}`; `style` is short, medium, long, full, or CLDR's `d MMMM`."""
    place = _place.get()
    if isinstance(value, datetime):
        value = value.astimezone(place.zone).date()
    if not isinstance(value, date):
        _refuse(value, "date", "a date, such as today")
    return format_date(value, style, locale=place.locale)


def datetime_text(value: Any, style: str = "medium") -> str:
    """Write a moment in the reader's own time zone; styles as for `date`."""
    place = _place.get()
    if not isinstance(value, datetime) or value.tzinfo is None:
        _refuse(value, "datetime", "a moment with its time zone")
    return format_datetime(value, style, tzinfo=place.zone, locale=place.locale)


def number(value: Any) -> str:
    """Write a number with the reader's separators: `{{ score.value | number }}`."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        _refuse(value, "number", "a number")
    return str(format_decimal(value, locale=_place.get().locale))


def _refuse(value: Any, name: str, wanted: str) -> NoReturn:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    got = "nothing" if value is None else f"a {type(value).__name__}"
    raise TemplateRuntimeError(f"the filter {name} wants {wanted}, and got {got}")
