"""Durations as people write them: "90d", "12h", "30min", "2w", "7d 12h". A day is 24 hours, a week 7 days."""

from __future__ import annotations

import re
from datetime import timedelta

#: Units from the largest to the smallest; months and years are left out because they are no fixed time.
_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "min": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}

_PART = re.compile(r"(\d{1,6})\s*(w|d|h|min|s)(?![a-z])")
_WHOLE = re.compile(rf"{_PART.pattern}(?:\s*{_PART.pattern})*")

#: Above this a duration in a file is a slip of the finger: ten years.
_LONGEST = timedelta(days=3660)

#: What people write instead of a unit.
_ALMOST = {
    "day": "d",
    "days": "d",
    "hour": "h",
    "hours": "h",
    "hr": "h",
    "hrs": "h",
    "m": "min",
    "mins": "min",
    "minute": "min",
    "minutes": "min",
    "week": "w",
    "weeks": "w",
    "sec": "s",
    "seconds": "s",
}


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text such as "90d" or "7d 12h" says; raise ValueError with a hint for anything else.

    Each unit may come once, the larger ones first; there are no negative durations and no months.
    """
    if not isinstance(text, str) or not _WHOLE.fullmatch(text.strip()):
        raise ValueError(_hint(text))
    parts = _PART.findall(text)
    places = [list(_UNITS).index(unit) for _, unit in parts]
    if places != sorted(set(places)):
        raise ValueError(f"{text!r} names a unit twice or the smaller one first; write it like '7d 12h'")
    duration = sum((int(number) * _UNITS[unit] for number, unit in parts), timedelta())
    if duration > _LONGEST:
        raise ValueError(f"{text!r} is longer than ten years; write a shorter one")
    return duration


def format_duration(duration: timedelta) -> str:
    """Return a short text that `parse_duration` reads back to this duration; parts of a second are dropped."""
    if duration < timedelta():
        raise ValueError(f"{duration} is negative")
    parts = []
    rest = duration
    for name, unit in _UNITS.items():
        if name == "w":
            continue  # "14d" says more to people than "2w"
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts) or "0d"


def _hint(text: object) -> str:
    words = re.fullmatch(r"(\d+)\s*([a-z]+)", text.strip().lower()) if isinstance(text, str) else None
    if words and words[2] in _ALMOST:
        return f"{text!r} is not a duration; write '{words[1]}{_ALMOST[words[2]]}'"
    if words and words[2] in ("mo", "month", "months", "y", "yr", "year", "years"):
        days = int(words[1]) * (30 if words[2].startswith("mo") else 365)
        return f"{text!r} is no fixed time; say it in days, '{days}d'"
    if isinstance(text, int):
        return f"{text} has no unit; write '{text}d' for days or '{text}h' for hours"
    return f"{text!r} is not a duration; write '7d', '12h', '30min', '2w' or '7d 12h'"
