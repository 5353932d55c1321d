"""Holidays by their English names, as the package `holidays` has them for each country: public ones and well-known others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import lru_cache

#: The year whose names are taken for all there are.
_ANY_YEAR = 2026

_LANGUAGE = "en_US"


def holiday_names() -> tuple[str, ...]:
    """Return the names of all holidays there are."""
    return tuple(sorted(_holidays(_ANY_YEAR)))


def countries_with(names: Iterable[str], day: date) -> list[str]:
    """Return the countries in which one of these holidays begins on a day."""
    found: set[str] = set()
    for name in names:
        found.update(_holidays(day.year).get(name, {}).get(day, ()))
    return sorted(found)


def has_public_holidays(country: str) -> bool:
    """Say whether the public holidays of a country are known."""
    import holidays

    return country in holidays.list_supported_countries(include_aliases=False)


@lru_cache(maxsize=64)
def public_holidays(country: str, year: int) -> frozenset[date]:
    """Return the public holidays of a whole country, those that are moved to another day included."""
    import holidays

    return frozenset(holidays.country_holidays(country, years=year))


@lru_cache(maxsize=16)
def _holidays(year: int) -> Mapping[str, Mapping[date, frozenset[str]]]:
    """Return the countries of each holiday by its name and first day."""
    import holidays

    found: dict[str, dict[date, set[str]]] = {}
    for country in holidays.list_supported_countries(include_aliases=False):
        calendar = getattr(holidays, country)
        language = _LANGUAGE if _LANGUAGE in (calendar.supported_languages or ()) else None
        # A holiday that goes on over New Year began the year before.
        days = calendar(years=[year - 1, year], language=language, categories=calendar.supported_categories)
        for day in sorted(days):
            for name in days.get_list(day):
                goes_on = name in days.get_list(day - timedelta(days=1))
                if day.year == year and not goes_on and "observed" not in name:
                    found.setdefault(name.replace(" (estimated)", ""), {}).setdefault(day, set()).add(country)
    return {name: {day: frozenset(where) for day, where in dates.items()} for name, dates in found.items()}
