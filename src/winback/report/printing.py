"""Numbers, money and dates as a report prints them: the words are English, numbers and money follow the shop's locale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

from winback.report.model import Rate, Revenue

_WORDS = "en_GB"

#: Printed where there is nothing to print.
NOTHING = "–"


@dataclass(frozen=True)
class Printer:
    """How one shop's report prints values."""

    zone: ZoneInfo
    locale: Locale
    currency: str  # the shop's own comes before others

    @classmethod
    def of(cls, zone: str, locale: str, currency: str) -> Printer:
        """Return the printer for a zone and a locale (BCP 47 or POSIX; English where it is not known)."""
        try:
            known: Locale = Locale.parse(locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            known = Locale.parse(_WORDS)
        return cls(ZoneInfo(zone), known, currency)

    def count(self, number: float) -> str:
        """Print a whole number with its groups."""
        return str(format_decimal(round(number), locale=self.locale))

    def percent(self, share: float | None) -> str:
        """Print a share in per cent with one decimal."""
        return NOTHING if share is None else format_percent(share, "#,##0.0%", locale=self.locale)

    def setting(self, share: float) -> str:
        """Print a share that somebody chose: without a decimal that says nothing."""
        return format_percent(share, "#,##0.##%", locale=self.locale)

    def rate(self, rate: Rate) -> str:
        """Print a rate in per cent."""
        return self.percent(rate.value)

    def points(self, difference: float) -> str:
        """Print a difference of shares in points, with its sign."""
        text = format_decimal(abs(difference) * 100, "0.0", locale=self.locale)
        sign = "" if not round(difference, 3) else "+" if difference > 0 else "−"
        return f"{sign}{text}"

    def money(self, amount: Revenue) -> str:
        """Print an amount, `12345` minor units of USD as `$123.45`."""
        value = Decimal(amount.minor).scaleb(-get_currency_precision(amount.currency))
        return format_currency(value, amount.currency, locale=self.locale)

    def round_money(self, amount: Revenue) -> str:
        """Print an amount without its minor units, for estimates."""
        value = Decimal(amount.minor).scaleb(-get_currency_precision(amount.currency))
        pattern = self.locale.currency_formats["standard"].pattern.replace(".00", "")
        return format_currency(round(value), amount.currency, pattern, locale=self.locale, currency_digits=False)

    def amounts(self, revenue: Iterable[Revenue]) -> str:
        """Print amounts of several currencies."""
        return " + ".join(self.money(amount) for amount in self.own_first(revenue)) or NOTHING

    def own_first(self, revenue: Iterable[Revenue]) -> list[Revenue]:
        """Return amounts with the shop's own currency first."""
        return sorted(revenue, key=lambda amount: (amount.currency != self.currency, amount.currency))

    def days(self, number: float) -> str:
        """Print a time in days, as hours below two."""
        if number < 2:
            hours = round(number * 24)
            return f"{hours} {plural(hours, 'hour')}"
        return f"{format_decimal(round(number, 1), locale=self.locale)} days"

    def moment(self, at: datetime) -> str:
        """Print a moment in the shop's zone."""
        return format_datetime(at.astimezone(self.zone), "d MMMM y, HH:mm", locale=_WORDS)

    def day(self, on: date | datetime) -> str:
        """Print a date, that of a moment in the shop's zone."""
        local = on.astimezone(self.zone).date() if isinstance(on, datetime) else on
        return format_date(local, "d MMM y", locale=_WORDS)

    def short_day(self, on: date) -> str:
        """Print a date without its year."""
        return format_date(on, "d MMM", locale=_WORDS)

    def month(self, on: date) -> str:
        """Print a date's month and year."""
        return format_date(on, "MMM y", locale=_WORDS)


def plural(number: int, one: str, many: str = "") -> str:
    """Return the word that goes with a number."""
    return one if number == 1 else many or f"{one}s"
