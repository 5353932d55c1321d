"""Numbers, money and times as the pages print them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from winback.web.formatting import Formats

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
BERLIN = Formats.of("Europe/Berlin", "en", NOW)
GERMAN = Formats.of("Europe/Berlin", "de-DE", NOW)


@pytest.mark.parametrize(
    ("formats", "minor", "currency", "text"),
    [
        (BERLIN, 123456, "USD", "$1,234.56"),
        (GERMAN, 123456, "EUR", "1.234,56\xa0€"),
        (BERLIN, 1500, "JPY", "¥1,500"),
        (BERLIN, None, "USD", "–"),
        (BERLIN, 7, None, "7"),
    ],
)
def test_money_is_printed_by_locale_and_currency(formats: Formats, minor: int | None, currency: str | None, text: str) -> None:
    assert formats.money(minor, currency) == text


def test_a_locale_nobody_knows_is_no_reason_to_fail() -> None:
    assert Formats.of("Europe/Berlin", "xx-YY", NOW).count(1234) == "1,234"


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 3, "33%"), (1, 30, "3.3%"), (0, 10, "0%"), (5, 0, "–"), (None, 4, "–"), (10, 10, "100%")]
)
def test_shares_of_nothing_are_not_zero(part: int | None, whole: int, text: str) -> None:
    assert BERLIN.share(part, whole) == text


def test_times_are_in_the_shops_zone() -> None:
    assert BERLIN.moment(NOW) == "24 Nov, 11:00"
    assert BERLIN.moment(NOW - timedelta(days=400)) == "20 Oct 2025, 12:00"  # summer time then
    assert BERLIN.full(NOW) == "Tuesday 24 November 2026, 11:00:00 (Europe/Berlin)"
    assert BERLIN.day(datetime(2026, 11, 24, 23, 30, tzinfo=UTC)) == "25 Nov"
    assert BERLIN.long_day(date(2026, 11, 25)) == "Tomorrow, Wednesday 25 November"


@pytest.mark.parametrize(
    ("away", "text"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=-45), "45 seconds ago"),
        (timedelta(minutes=-1), "1 minute ago"),
        (timedelta(hours=3), "in 3 hours"),
        (timedelta(days=-40), "40 days ago"),
        (timedelta(days=-75), "2 months ago"),
        (timedelta(days=-800), "2 years ago"),
    ],
)
def test_how_long_ago_in_words(away: timedelta, text: str) -> None:
    assert BERLIN.ago(NOW + away) == text
