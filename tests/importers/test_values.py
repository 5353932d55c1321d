"""What texts mean: amounts, moments, birthdays, yes and no."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from babel.numbers import format_decimal
from hypothesis import given
from hypothesis import strategies as st

from winback.importers.values import (
    NO_BIRTHDAY,
    Amounts,
    Birthdays,
    CellError,
    Moments,
    parse_country,
    parse_flag,
    parse_locale,
    parse_whole,
)

TODAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12", "EUR", 1200), ("12.00", "EUR", 1200), ("0", "EUR", 0), ("-3", "EUR", -300), ("3-", "EUR", -300),
        ("(12.00)", "USD", -1200), ("−5,00", "EUR", -500), ("1,234.50", "USD", 123450), ("1.234,50", "EUR", 123450),
        ("1.234.567,89", "EUR", 123456789), ("1 234,50", "EUR", 123450), ("1 234,50 €", "EUR", 123450),
        ("€12", "EUR", 1200), ("$1,000,000.00", "USD", 100000000), ("12.5", "EUR", 1250), ("12,5", "EUR", 1250),
        (".99", "USD", 99), ("1'234.50", "CHF", 123450), ("CHF 12.50", "CHF", 1250), ("12,50 zł", "PLN", 1250),
        ("1200", "JPY", 1200), ("1,200,000", "JPY", 1200000), ("0.125", "KWD", 125), ("0,001", "KWD", 1),
        ("12.500", "KWD", None), ("1.234", "EUR", None), ("1,234", "USD", None), ("12.345,6", "EUR", 1234560),
        ("12.999", "EUR", None), ("abc", "EUR", None), ("1.2.3", "EUR", None), ("1,23,45", "EUR", None), ("", "EUR", None),
        ("12 34", "EUR", 123400), ("1e3", "EUR", None), ("12..5", "EUR", None), ("9" * 20, "EUR", None), ("(5", "EUR", None),
        ("5)", "EUR", None), ("0.010", "EUR", 1),
    ],
)  # fmt: skip
def test_amounts(text: str, currency: str, minor: int | None) -> None:
    if minor is None:
        with pytest.raises(CellError):
            Amounts().parse(text, currency)
    else:
        assert Amounts().parse(text, currency) == minor


@pytest.mark.parametrize(
    ("options", "text", "minor"),
    [
        ({"decimal": ","}, "1.234", 123400),
        ({"decimal": "."}, "1,234", 123400),
        ({"decimal": ","}, "1,234", None),
        ({"decimal": ",", "rounded": True}, "1,234", 123),
        ({"rounded": True}, "1234.565", 123457),
        ({"rounded": True}, "-0.005", -1),
        ({"minor": True}, "1177", 1177),
        ({"minor": True}, "11.77", None),
    ],
)
def test_amounts_as_the_map_says(options: dict[str, object], text: str, minor: int | None) -> None:
    amounts = Amounts(**options)  # type: ignore[arg-type]
    if minor is None:
        with pytest.raises(CellError):
            amounts.parse(text, "EUR")
    else:
        assert amounts.parse(text, "EUR") == minor


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(["en_US", "de_DE", "fr_FR", "de_CH"]))
def test_amounts_as_countries_write_them(amount: Decimal, locale: str) -> None:
    text = format_decimal(amount, "#,##0.00", locale=locale)
    assert Amounts().parse(text, "EUR") == int(amount * 100)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("20261124", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("2026-11-24 09:30", datetime(2026, 11, 24, 8, 30, tzinfo=UTC)),
        ("2026-11-24T09:30:15Z", datetime(2026, 11, 24, 9, 30, 15, tzinfo=UTC)),
        ("2026-11-24T09:30:15.123456+05:30", datetime(2026, 11, 24, 4, 0, 15, 123456, tzinfo=UTC)),
        ("2026-11-24 09:30:00 +0200", datetime(2026, 11, 24, 7, 30, tzinfo=UTC)),
        ("2026-11-24 09:30:00 UTC", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("24.11.2026", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("24.11.2026 9:05", datetime(2026, 11, 24, 8, 5, tzinfo=UTC)),
        ("24/11/2026 09:30:10", datetime(2026, 11, 24, 8, 30, 10, tzinfo=UTC)),
        ("24/11/2026, 9:30 PM", datetime(2026, 11, 24, 20, 30, tzinfo=UTC)),
        ("24/11/2026 12:00 a.m.", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("2026-03-29 02:30", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # an hour that never was
        ("2026-10-25 02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # the first of two
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert Moments("Europe/Berlin", "DE", None, lambda at: at).moment(text) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "24.11.26", "11/24/2026", "2026-13-01", "24.11.", "1970-01-01", "0001-01-01", "2026-11-24 25:00", "1e9"]
)
def test_texts_that_are_no_moments(text: str) -> None:
    with pytest.raises(CellError):
        Moments("Europe/Berlin", "DE", None, lambda at: at).moment(text)


@pytest.mark.parametrize(
    ("style", "text", "moment"),
    [
        ("%d-%b-%Y", "24-Nov-2026", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("%m/%d/%y %H:%M", "11/24/26 09:30", datetime(2026, 11, 24, 8, 30, tzinfo=UTC)),
        ("unix", "1795512600", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("unix_ms", "1795512600500", datetime(2026, 11, 24, 9, 30, 0, 500000, tzinfo=UTC)),
        ("%Y-%m-%dT%H:%M:%S%z", "2026-11-24T09:30:00+0100", datetime(2026, 11, 24, 8, 30, tzinfo=UTC)),
        ("unix", "inf", None),
        ("unix", "soon", None),
        ("%Y", "24.11.2026", None),
    ],
)
def test_moments_as_the_map_says(style: str, text: str, moment: datetime | None) -> None:
    moments = Moments("Europe/Berlin", "DE", style, lambda at: at)
    if moment is None:
        with pytest.raises(CellError):
            moments.moment(text)
    else:
        assert moments.moment(text) == moment


def test_slashes_are_month_first_where_people_write_them_so() -> None:
    assert Moments("UTC", "US", None, lambda at: at).moment("11/24/2026") == datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["03/04/2026"], True), (["03/04/2026", "25/04/2026"], False), (["25/04/2026"], False), (["04/04/2026"], False),
        (["2026-04-03"], False),
    ],
)  # fmt: skip
def test_dates_that_can_be_read_in_two_ways_are_told(texts: list[str], told: bool) -> None:
    moments = Moments("UTC", "DE", None, lambda at: at)
    for text in texts:
        moments.moment(text)
    assert (moments.order.note() is not None) is told


@pytest.mark.parametrize(
    ("text", "born"),
    [
        ("1985-11-24", (1985, 11, 24)), ("24.11.1985", (1985, 11, 24)), ("24/11/1985", (1985, 11, 24)),
        ("19851124", (1985, 11, 24)), ("--11-24", (None, 11, 24)), ("11-24", (None, 11, 24)), ("24.11.", (None, 11, 24)),
        ("24/11", (None, 11, 24)), ("24.11.85", (1985, 11, 24)), ("24.11.26", (2026, 11, 24)), ("24.11.27", (1927, 11, 24)),
        ("1985-11-24 00:00:00", (1985, 11, 24)), ("1985-11-24T00:00:00Z", (1985, 11, 24)), ("0004-02-29", (None, 2, 29)),
        ("1604-02-29", (None, 2, 29)), ("--02-29", (None, 2, 29)), ("1984-02-29", (1984, 2, 29)),
        ("1900-01-01", None), ("01/01/1970", None), ("0001-01-01", None), ("0000-00-00", None), ("30.12.1899", None),
    ],
)  # fmt: skip
def test_birthdays(text: str, born: tuple[int | None, int, int] | None) -> None:
    birthdays = Birthdays("DE", None, TODAY)
    found = birthdays.parse(text)
    assert found == (born or NO_BIRTHDAY)
    birthdays.count(found)
    assert (birthdays.read, birthdays.sentinels) == ((0, 1) if born is None else (1, 0))


@pytest.mark.parametrize(
    "text", ["1985-02-29", "31.04.1985", "2026-11-25", "1890-05-01", "1985", "soon", "00.11.1985", "1985-13-01"]
)
def test_texts_that_are_no_birthdays(text: str) -> None:
    with pytest.raises(CellError):
        Birthdays("DE", None, TODAY).parse(text)


@pytest.mark.parametrize(
    ("style", "text", "born"),
    [
        ("%d %B %Y", "24 November 1985", (1985, 11, 24)),
        ("%m/%d", "11/24", (None, 11, 24)),
        ("%m/%d", "02/29", (None, 2, 29)),
        ("%m/%d/%y", "11/24/40", (1940, 11, 24)),
        ("unix", "24.11.1985", (1985, 11, 24)),
    ],
)
def test_birthdays_as_the_map_says(style: str, text: str, born: tuple[int | None, int, int]) -> None:
    assert Birthdays("DE", style, TODAY).parse(text) == born


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("yes Y TRUE 1 on x ja Oui sí да Subscribed opted-in granted", True),
        ("no N false 0 off nein non НЕТ unsubscribed opted-out Denied revoked", False),
        ("pending unknown never not_subscribed none", None),
    ],
)
def test_yes_no_and_nobody_asked(words: str, answer: bool | None) -> None:
    assert {parse_flag(word) for word in words.split()} == {answer}


def test_yes_and_no_of_several_words() -> None:
    assert (parse_flag("Opted in"), parse_flag("opted out"), parse_flag("not subscribed")) == (True, False, None)
    with pytest.raises(CellError):
        parse_flag("maybe")


@pytest.mark.parametrize(
    ("text", "number"),
    [("3", 3), ("-2", -2), ("2.000", 2), ("2,0", 2), ("2.5", None), ("1000001", None), ("", None), ("٣", 3)],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    if number is None:
        with pytest.raises(CellError):
            parse_whole(text)
    else:
        assert parse_whole(text) == number


def test_countries_and_locales() -> None:
    names = ["de", "DEU", "Germany", "Deutschland", "Allemagne", "Германия"]
    assert {parse_country(name) for name in names} == {"DE"}
    assert [parse_locale(name) for name in ("de_DE.UTF-8", "zh-Hant-TW", "EN-us", "sr_Latn")] == [
        "de-DE", "zh-Hant-TW", "en-US", "sr-Latn",
    ]  # fmt: skip
    for parse in (parse_country, parse_locale):
        with pytest.raises(CellError):
            parse("Narnia 7")
