"""Money, counts, shares and times as the pages print them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

#: The pages are in English, so are their dates; numbers and money follow the shop's locale.
_WORDS = "en_GB"

#: Shown where there is nothing to show.
NOTHING = "–"


@dataclass(frozen=True)
class Formats:
    """How one shop's pages print values. `now` is the moment the page was asked for."""

    zone: ZoneInfo
    locale: Locale
    now: datetime

    @classmethod
    def of(cls, zone: str, locale: str, now: datetime) -> Formats:
        """Return the formats of a shop's zone and locale (BCP 47 or POSIX; English where it is not known)."""
        try:
            known = Locale.parse(locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            known = Locale.parse(_WORDS)
        return cls(ZoneInfo(zone), known, now)

    def money(self, minor: int | None, currency: str | None) -> str:
        """Print an amount of minor units, `12345` USD as `$123.45`."""
        if minor is None:
            return NOTHING
        if currency is None:
            return self.count(minor)
        amount = Decimal(minor).scaleb(-get_currency_precision(currency))
        return format_currency(amount, currency, locale=self.locale)

    def count(self, number: float | None) -> str:
        """Print a whole number with its groups."""
        return NOTHING if number is None else format_decimal(round(number), locale=self.locale)

    def share(self, part: float | None, whole: float | None) -> str:
        """Print part of whole in per cent; nothing where the whole is nothing."""
        return NOTHING if part is None or not whole else self.percent(part / whole)

    def percent(self, value: float | None) -> str:
        """Print a fraction of one in per cent, one decimal below ten."""
        if value is None:
            return NOTHING
        return format_percent(value, "#,##0.#%" if abs(value) < 0.0995 else "#,##0%", locale=self.locale)

    def moment(self, at: datetime | None) -> str:
        """Print a moment in the shop's zone; the year only where it is not this one."""
        if at is None:
            return NOTHING
        local = at.astimezone(self.zone)
        pattern = "d MMM, HH:mm" if local.year == self._today.year else "d MMM y, HH:mm"
        return format_datetime(local, pattern, locale=_WORDS)

    def full(self, at: datetime) -> str:
        """Print a moment with weekday, seconds and zone, for tooltips."""
        return format_datetime(at.astimezone(self.zone), "EEEE d MMMM y, HH:mm:ss", locale=_WORDS) + f" ({self.zone.key})"

    def clock(self, at: datetime) -> str:
        """Print the time of day in the shop's zone."""
        return format_time(at.astimezone(self.zone), "HH:mm", locale=_WORDS)

    def day(self, on: date | datetime | None) -> str:
        """Print a date; a moment's date in the shop's zone."""
        if on is None:
            return NOTHING
        local = on.astimezone(self.zone).date() if isinstance(on, datetime) else on
        return format_date(local, "d MMM" if local.year == self._today.year else "d MMM y", locale=_WORDS)

    def long_day(self, on: date | datetime) -> str:
        """Print a date with its weekday: today and its neighbours by their names."""
        local = on.astimezone(self.zone).date() if isinstance(on, datetime) else on
        near = {-1: "Yesterday", 0: "Today", 1: "Tomorrow"}.get((local - self._today).days)
        pattern = "EEEE d MMMM" if local.year == self._today.year else "EEEE d MMMM y"
        text = format_date(local, pattern, locale=_WORDS)
        return f"{near}, {text}" if near else text

    def ago(self, at: datetime | None) -> str:
        """Print how far a moment is from now: `3 hours ago`, `in 2 days`."""
        if at is None:
            return "never"
        text = self.span(abs(self.now - at))
        if text == "now":
            return "just now" if at <= self.now else "now"
        return f"{text} ago" if at <= self.now else f"in {text}"

    def span(self, length: timedelta) -> str:
        """Print a duration in its largest unit: `40 seconds`, `3 hours`, `2 years`."""
        seconds = length.total_seconds()
        for unit, size in (("year", 31_556_952), ("month", 2_629_746), ("day", 86_400), ("hour", 3_600), ("minute", 60)):
            if seconds >= size * (2 if unit in ("year", "month") else 1):
                number = round(seconds / size)
                return f"{number} {unit}{'' if number == 1 else 's'}"
        return "now" if seconds < 1 else f"{round(seconds)} second{'' if round(seconds) == 1 else 's'}"

    @property
    def _today(self) -> date:
        return self.now.astimezone(self.zone).date()


def plural(number: int, one: str, many: str = "") -> str:
    """Return the word that goes with a number."""
    return one if number == 1 else many or f"{one}s"
