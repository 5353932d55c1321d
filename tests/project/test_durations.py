"""Durations are read as people write them, and never guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("30min", timedelta(minutes=30)),
        ("2w", timedelta(days=14)),
        ("7d 12h", timedelta(days=7, hours=12)),
        ("7d12h", timedelta(days=7, hours=12)),
        (" 1w 1d 1h 1min 1s ", timedelta(days=8, hours=1, minutes=1, seconds=1)),
        ("0d", timedelta()),
    ],
)
def test_a_duration_is_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("7 days", "write '7d'"),
        ("30m", "write '30min'"),
        ("3 months", "'90d'"),
        ("1 year", "'365d'"),
        ("12h 7d", "smaller one first"),
        ("1d 1d", "twice"),
        ("-3d", "not a duration"),
        ("1.5d", "not a duration"),
        ("", "not a duration"),
        ("d", "not a duration"),
        ("7dd", "not a duration"),
        ("9999d", "ten years"),
    ],
)
def test_anything_else_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert hint in str(caught.value)


@given(st.integers(min_value=0, max_value=3660 * 86400))
def test_what_is_formatted_reads_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(("text", "again"), [("2w", "14d"), ("36h", "1d 12h"), ("90d", "90d"), ("0h", "0d")])
def test_a_duration_is_formatted_short(text: str, again: str) -> None:
    assert format_duration(parse_duration(text)) == again
