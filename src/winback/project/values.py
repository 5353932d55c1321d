"""How values are written in the shop's files, and what they become: durations, times of day, shares, caps, weekdays, names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time, timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from winback.durations import format_duration
from winback.filemodel import kind_of, positive, read_duration, refused, written_as


@dataclass(frozen=True, order=True)
class Cap:
    """At most `count` messages to one person within any `window`, written `"4 in 7d"`."""

    count: int
    window: timedelta

    def __str__(self) -> str:
        return f"{self.count} in {format_duration(self.window)}"


@dataclass(frozen=True)
class QuietHours:
    """From `start` to just before `end`, on the clock where the person lives; may span midnight. Written `"21:00-09:00"`."""

    start: time
    end: time

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def is_quiet(at: time, quiet: QuietHours) -> bool:
    """Say whether a local wall-clock time lies in the quiet hours; they may span midnight, their end is awake."""
    if quiet.start <= quiet.end:
        return quiet.start <= at < quiet.end
    return at >= quiet.start or at < quiet.end


#: Weekdays as written, Monday = 0 as in `date.weekday`.
WEEKDAYS = {"mon": 0, "tue": 1, "wed": 2, "thu": 3, "fri": 4, "sat": 5, "sun": 6}

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::00)?")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s*%")
_CAP = re.compile(r"(\d{1,4})\s+(?:in|per)\s+(.+)")
_TEMPLATE = re.compile(r"[a-z0-9][a-z0-9_-]*(?:/[a-z0-9][a-z0-9_-]*)*")
_COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")

#: Ends of template files; a step names a template without them.
TEMPLATE_ENDS = (".email.html", ".email.txt", ".sms.txt")


def parse_time(value: Any) -> time:
    """Return the time of day of `"09:30"` or of a TOML local time, in whole minutes."""
    if isinstance(value, time):
        if value.second or value.microsecond or value.tzinfo is not None:
            raise refused(f"{value.isoformat()} is not a whole minute", f'write "{value:%H:%M}"')
        return value
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        shown = repr(value) if isinstance(value, str | int | float) else kind_of(value)
        raise refused(f"{shown} is not a time of day", 'write "09:30", on the 24-hour clock, in quotes')
    return time(int(found[1]), int(found[2]))


def _quiet_hours(value: Any) -> QuietHours | None:
    if isinstance(value, QuietHours) or value is None:
        return value
    if value == "off":
        return None
    start, dash, end = value.partition("-") if isinstance(value, str) else ("", "", "")
    if not dash:
        raise refused(f"{value!r} is not a span of hours", 'write "21:00-09:00", or "off" for none')
    quiet = QuietHours(parse_time(start), parse_time(end))
    if quiet.start == quiet.end:
        raise refused(f"{value!r} begins and ends at the same time", 'write "21:00-09:00", or "off" for none')
    return quiet


_PRICE = re.compile(r"\d{1,6}(?:\.\d{1,6})?")


def _price(value: Any) -> Decimal:
    """Return a price in whole units of a currency, with as many digits as providers quote."""
    if isinstance(value, Decimal):
        return value
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _PRICE.fullmatch(text.strip()):
        raise refused(f"{value!r} is not a price", 'write "0.075", without a currency')
    return Decimal(text.strip())


def _share(value: Any) -> int:
    """Return basis points (1/100 of a percent)."""
    found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        hint = f'write "{value}%"' if isinstance(value, int) and not isinstance(value, bool) else 'write "10%"'
        raise refused(f"{value!r} is not a share of people", f"{hint}, with the percent sign, in quotes")
    points = int(Decimal(found[1]) * 100)
    if points > 10_000:
        raise refused(f"{value!r} is more than everybody", "write at most '100%'")
    return points


def _threshold(value: Any) -> int:
    """Return basis points, 0 for none."""
    if value == "off":
        return 0
    points = _share(value)
    if points == 0:
        raise refused(f"{value!r} is reached by everything", 'write "off" for none')
    return points


def _cap(value: Any) -> Cap:
    if isinstance(value, Cap):
        return value
    found = _CAP.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise refused(f"{value!r} is not a cap", 'write "4 in 7d": at most four messages in any seven days')
    count, window = int(found[1]), positive(read_duration(found[2]))
    if count < 1:
        raise refused(
            f"{value!r} would let nothing through", "write at least 1, or switch the campaigns off with enabled = false"
        )
    return Cap(count, window)


def _sunset(value: Any) -> Cap | None:
    if value is None or value == "off":
        return None
    if not isinstance(value, Cap) and (not isinstance(value, str) or _CAP.fullmatch(value.strip()) is None):
        raise refused(
            f"{value!r} is no sunset", 'write "5 in 60d": after five unanswered messages in sixty days or more, or "off"'
        )
    sunset = _cap(value)
    if sunset.window % timedelta(days=1):
        raise refused(f"{value!r} is not a number of days", 'write "5 in 60d"')
    return sunset


def _rest(value: Any) -> timedelta | None:
    return None if value is None or value == "off" else positive(read_duration(value))


def _region(value: str) -> str:
    from babel.core import get_global

    if not re.fullmatch("[A-Z]{2}", value) or value not in get_global("territory_zones"):
        raise refused(f"{value!r} is not a country", 'write its two capital letters, like "DE"')
    return value


def _caps(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _weekdays(value: Any) -> frozenset[int]:
    if isinstance(value, frozenset):
        return value
    remedy = 'write them like ["mon", "tue", "wed", "thu", "fri"]'
    if not isinstance(value, list) or not value:
        raise refused("is not a list of weekdays", remedy)
    days = set()
    for each in value:
        day = each.strip().lower()[:3] if isinstance(each, str) else ""
        if day not in WEEKDAYS or not _is_weekday(each, day):
            raise refused(f"{each!r} is not a weekday", remedy)
        days.add(WEEKDAYS[day])
    return frozenset(days)


def _is_weekday(text: str, day: str) -> bool:
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")[WEEKDAYS[day]]
    return text.strip().lower() in (day, full)


def _template(value: str) -> str:
    for end in TEMPLATE_ENDS:
        if value.endswith(end):
            raise refused(
                f"{value!r} has the end of a file name", f'write "{value.removesuffix(end)}"; the channel says which file'
            )
    if not _TEMPLATE.fullmatch(value):
        raise refused(
            f"{value!r} cannot be a template", 'write "folder/name" as under templates/, in small letters, digits, - and _'
        )
    return value


def _color(value: str) -> str:
    if not _COLOR.fullmatch(value):
        raise refused(f"{value!r} is not a colour", 'write "#1f6f5c": # and six digits or letters a to f')
    return value


def _conversion(value: str) -> str:
    kind, colon, event = value.partition(":")
    if value == "order" or (kind == "event" and colon and event.strip()):
        return value
    raise refused(f"{value!r} is nothing that can be counted", 'write "order", or "event:NAME" for one of your events')


LocalTime = Annotated[time, *written_as(parse_time, type="string", pattern=r"^\d{1,2}:\d{2}$", examples=["09:30"])]
Price = Annotated[Decimal, *written_as(_price, type="string", pattern=r"^\d+(\.\d+)?$", examples=["0.075"])]
Share = Annotated[int, *written_as(_share, type="string", pattern=r"^\d{1,3}(\.\d{1,2})? ?%$", examples=["10%"])]
Threshold = Annotated[
    int, *written_as(_threshold, type="string", pattern=r"^(off|\d{1,3}(\.\d{1,2})? ?%)$", examples=["5%", "off"])
]
QuietSpan = Annotated[
    QuietHours | None,
    *written_as(_quiet_hours, type="string", pattern=r"^(off|\d{1,2}:\d{2}-\d{1,2}:\d{2})$", examples=["21:00-09:00", "off"]),
]
Weekdays = Annotated[
    frozenset[int],
    *written_as(_weekdays, type="array", items={"enum": list(WEEKDAYS)}, minItems=1, examples=[["tue", "wed", "thu"]]),
]
_OneCap = Annotated[Cap, *written_as(_cap, type="string", pattern=r"^\d+ (in|per) .+$", examples=["4 in 7d"])]
Sunset = Annotated[
    Cap | None, *written_as(_sunset, type="string", pattern=r"^(off|\d+ (in|per) .+)$", examples=["5 in 60d", "off"])
]
Rest = Annotated[
    timedelta | None, *written_as(_rest, type="string", pattern=r"^(off|(\d+ ?(w|d|h|min|s) ?)+)$", examples=["90d", "off"])
]
Region = Annotated[str, AfterValidator(_region)]
Caps = Annotated[tuple[_OneCap, ...], BeforeValidator(_caps), Field(strict=False)]
TemplateName = Annotated[str, AfterValidator(_template), WithJsonSchema({"type": "string", "examples": ["sleeping/hello"]})]
Color = Annotated[
    str, AfterValidator(_color), WithJsonSchema({"type": "string", "pattern": _COLOR.pattern, "examples": ["#1f6f5c"]})
]
Conversion = Annotated[
    str, AfterValidator(_conversion), WithJsonSchema({"type": "string", "pattern": "^(order|event:.+)$", "examples": ["order"]})
]
