"""The presets of `[audience]`: what makes somebody come into a campaign, as checked tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from winback.durations import format_duration
from winback.filemodel import Duration, Expression, FileModel, Name, PositiveDuration, Text, read_duration, refused, written_as

if TYPE_CHECKING:
    from winback.audience.segments import Segment

_RHYTHM = re.compile(r"(\d{1,2}(?:\.\d)?)x")

#: Two dates a year apart are the same day; a leap year lies between at most every eight years.
_LONGEST_OFFSET = timedelta(days=180)


@dataclass(frozen=True)
class Inactive:
    """How long somebody has not ordered: a time, or a multiple of their own time between orders; and at most how long."""

    at_least: timedelta | None = None
    rhythms: float | None = None
    at_most: timedelta | None = None

    def __str__(self) -> str:
        least = f"{self.rhythms:g}x" if self.rhythms is not None else format_duration(self.at_least or timedelta())
        return f"{least}..{format_duration(self.at_most)}" if self.at_most is not None else least


def _inactive(value: Any) -> Inactive:
    if isinstance(value, Inactive):
        return value
    if not isinstance(value, str):
        read_duration(value)  # refuses it with a hint
        raise refused(f"{value!r} is not a time", "write '90d', '90d..365d' or '2x'")
    least, dots, most = value.strip().partition("..")
    at_most = read_duration(most.strip()) if dots else None
    rhythm = _RHYTHM.fullmatch(least.strip())
    if rhythm:
        rhythms = float(rhythm[1])
        if rhythms < 1:
            raise refused(f"{value!r} is less than one usual time between orders", "write '2x' or more")
        return Inactive(rhythms=rhythms, at_most=at_most)
    at_least = read_duration(least.strip())
    if at_most is not None and at_most < at_least:
        raise refused(f"{value!r} ends before it begins", f"write '{most.strip()}..{least.strip()}'")
    if not at_least:
        raise refused(f"{value!r} takes in everybody who ever ordered", "write '90d' or '90d..365d'")
    return Inactive(at_least=at_least, at_most=at_most)


def _offset(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    text = value.strip() if isinstance(value, str) else value
    before = isinstance(text, str) and text[:1] in ("-", "−")
    offset = read_duration(text.lstrip("+-−").strip() if isinstance(text, str) else text)
    if offset % timedelta(days=1):
        raise refused(f"{value!r} is not a number of days", "write '-3d'; the time of day stands in [schedule]")
    if offset > _LONGEST_OFFSET:
        raise refused(f"{value!r} is more than half a year", "count from the other side of the day")
    return -offset if before else offset


_FIELD = re.compile(r"birthday|first_order|attributes\.[A-Za-z_][A-Za-z0-9_]*")


def _yearly_field(value: Any) -> Any:
    if isinstance(value, str) and not _FIELD.fullmatch(value):
        raise refused(f"{value!r} is no yearly date", "write 'birthday', 'first_order' or 'attributes.NAME'")
    return value


def _days(value: Any) -> Any:
    """Return dates as they are, and the names of holidays as they are really written."""
    if not isinstance(value, list):
        return value
    return tuple(_holiday(each) if isinstance(each, str) else each for each in value)


def _holiday(name: str) -> str:
    from winback.audience.holidays import holiday_names

    if re.fullmatch(r"\d{4}-\d\d-\d\d", name):
        raise refused(f"{name!r} is in quotes", f"write the date without them: {name}")
    known = {each.casefold(): each for each in holiday_names()}
    found = known.get(name.casefold().replace("’", "'"))
    if found is None:
        near = get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
        meant = f"did you mean {known[near[0]]!r}?" if near else "write its English name, like 'Easter Monday', or the date"
        raise refused(f"{name!r} is no holiday that is known", meant)
    return found


_MILESTONE_FIELD = re.compile(r"orders|spent|attributes\.[A-Za-z_][A-Za-z0-9_]{0,59}")


def _milestone_field(value: Any) -> Any:
    if isinstance(value, str) and not _MILESTONE_FIELD.fullmatch(value):
        raise refused(f"{value!r} cannot be counted", "write 'orders', 'spent' or 'attributes.NAME'")
    return value


def _values(value: Any) -> Any:
    given = value if isinstance(value, list | tuple) else [value]
    for each in given:
        if isinstance(each, bool) or not isinstance(each, int | float):
            raise refused(f"{each!r} is not a number", "write 10, or [5, 10, 25]")
        if not 0 < each <= 10**12:
            raise refused(f"{each:g} cannot be reached", "write numbers above 0")
    return tuple(float(each) for each in given)


_OFFSET_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^[-+−]?\d+ ?[dw]$", "examples": ["-3d"]}
_INACTIVE_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^(\d+(\.\d)?x|[\dwdhmins ]+)(\.\.[\dwdhmins ]+)?$",
    "examples": ["90d..365d", "90d", "2x"],
}

_ON_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]},
}
_VALUES_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "array", "minItems": 1, "maxItems": 20, "items": {"type": "number", "exclusiveMinimum": 0}},
    ]
}

InactiveTime = Annotated[Inactive, *written_as(_inactive, **_INACTIVE_SCHEMA)]
Offset = Annotated[timedelta, *written_as(_offset, **_OFFSET_SCHEMA)]


class Preset(FileModel):
    """What all presets have in common."""

    preset: str
    where: Expression | None = Field(
        None, description="A condition about the customer; only those whom it fits come in.", examples=["orders >= 2"]
    )

    @property
    def about_an_order(self) -> bool:
        """Say whether the occasion is about an order, which templates then have as `order`."""
        return False

    def watched(self, segments: Mapping[str, Segment]) -> dict[str, Segment]:
        """Return the segments, of those given or of its own, whose coming and going the preset follows."""
        return {}

    #: Whether the occasion is the customer's last order. Its row is looked up when they come in: most who are asked about
    #: are in already, and to find the orders of all takes as long as all the rest of the question.
    by_last_order: ClassVar[bool] = False

    #: Whether what a person has just done lets them in; of the others, whom a date or a long time lets in, nobody is in a hurry.
    at_once: ClassVar[bool] = False

    @property
    def wait(self) -> timedelta:
        """Return how long after what happened people come in."""
        return timedelta()


class Sleeping(Preset):
    """Customers whose last order is long ago. Occasion: that order."""

    preset: Literal["sleeping"] = Field(description="Customers whose last order is long ago.")
    inactive: InactiveTime = Field(
        Inactive(at_least=timedelta(days=90)),
        description="How long ago: '90d' or more, '90d..365d' between the two, '2x' twice the customer's own rhythm.",
        examples=["90d..365d"],
        json_schema_extra={"default": "90d"},
    )

    by_last_order: ClassVar[bool] = True


class Birthday(Preset):
    """A date that comes back every year. Occasion: the year in which it falls."""

    preset: Literal["birthday"] = Field(description="A date that comes back every year.")
    field: Annotated[str, BeforeValidator(_yearly_field)] = Field(
        "birthday",
        description="Which date: 'birthday', 'first_order', or 'attributes.NAME' for one of your own.",
        examples=["birthday"],
    )
    offset: Offset = Field(timedelta(), description="Days before or after: '-3d' is three days before.", examples=["-3d"])
    leap_day: Literal["feb28", "mar1", "skip"] = Field(
        "feb28", description="When those born on 29 February get it in other years.", examples=["feb28"]
    )


class AfterOrder(Preset):
    """Some time after an order. Occasion: the order."""

    preset: Literal["after_order"] = Field(description="Some time after an order.")
    after: Literal["placed", "delivered", "voided"] = Field(
        "placed",
        description="After the order was placed, delivered, or voided: cancelled, refunded, returned.",
        examples=["placed"],
    )
    delay: Duration = Field(timedelta(), description="How long after.", examples=["1d"])
    first: bool = Field(False, description="true: only customers' first orders.", examples=[True])

    at_once: ClassVar[bool] = True

    @property
    def about_an_order(self) -> bool:
        return True

    @property
    def wait(self) -> timedelta:
        return self.delay


class ReachedScore(Preset):
    """People whose score reached a level, or has stayed in it. Occasion: each time they reach it."""

    preset: Literal["score"] = Field(description="People whose score reached a level.")
    score: Name = Field(description="The score's name in campaigns/scores.toml.", examples=["lead"])
    level: Name = Field(description="The level's name.", examples=["warm"])
    stays: PositiveDuration | None = Field(
        None, description="Who has been in the level for this time, instead of who reaches it.", examples=["30d"]
    )

    at_once: ClassVar[bool] = True


class AfterEvent(Preset):
    """People who did something. Occasion: the event."""

    preset: Literal["event"] = Field(description="People who did something.")
    event: Text = Field(description="The event's name.", examples=["cart_left"])
    delay: Duration = Field(timedelta(), description="How long after.", examples=["1h"])
    unless: Text | None = Field(
        None, description="Another event; who did that within the time of `within` does not come in.", examples=["checkout"]
    )
    within: PositiveDuration | None = Field(
        None,
        description="How long after the first event the other one is waited for; without it as long as `delay`.",
        examples=["1h"],
    )

    at_once: ClassVar[bool] = True

    @property
    def wait(self) -> timedelta:
        # Only when the time to wait has passed is it known that the other event did not come.
        return max(self.delay, self.within_or_delay) if self.unless else self.delay

    @property
    def within_or_delay(self) -> timedelta:
        """Return how long the other event is waited for."""
        return self.within or self.delay


class EnteredSegment(Preset):
    """People who enter a segment of campaigns/audiences.toml, or leave it. Occasion: the day on which they do."""

    preset: Literal["segment"] = Field(description="People who enter a segment, or leave it.")
    segment: Name = Field(description="The segment's name in campaigns/audiences.toml.", examples=["loyal"])
    when: Literal["enters", "leaves"] = Field("enters", description="Who enters it, or who leaves it.", examples=["leaves"])

    def watched(self, segments: Mapping[str, Segment]) -> dict[str, Segment]:
        return {self.segment: segments[self.segment]} if self.segment in segments else {}


class Milestone(Preset):
    """People who reach a number of orders, an amount spent, or a value of a field of one's own. Occasion: field and value."""

    preset: Literal["milestone"] = Field(description="People who reach a number: of orders, of money, of points.")
    field: Annotated[str, BeforeValidator(_milestone_field)] = Field(
        "orders",
        description="What is counted: 'orders', 'spent', or 'attributes.NAME' for a number of your own, such as points.",
        examples=["spent"],
    )
    reaches: Annotated[
        tuple[float, ...], Field(min_length=1, max_length=20, strict=False), *written_as(_values, **_VALUES_SCHEMA)
    ] = Field(description="The value, or several; who passes several at once gets the highest.", examples=[[5, 10, 25]])

    at_once: ClassVar[bool] = True

    @property
    def about_an_order(self) -> bool:
        return self.field in ("orders", "spent")

    @property
    def descending(self) -> list[float]:
        """Return the values, the highest first."""
        return sorted(set(self.reaches), reverse=True)

    def occasion(self, value: float) -> str:
        """Return what makes reaching a value happen once: `orders:10`."""
        return f"{self.field}:{_plain(value)}"

    def watched(self, segments: Mapping[str, Segment]) -> dict[str, Segment]:
        from winback.audience.segments import Segment

        if self.about_an_order:
            return {}
        # No segment of the file can have this name: it holds a dot and a colon.
        named = {self.occasion(value): f"{self.field} >= {_plain(value)}" for value in self.reaches}
        return {name: Segment.model_construct(name=name, title=name, where=where) for name, where in named.items()}


def _plain(value: float) -> str:
    """Return a number without exponent and needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


class Replenish(Preset):
    """Customers whose next order is expected, by their own usual time between orders. Occasion: the last order."""

    preset: Literal["replenish"] = Field(description="Customers whose next order is expected.")
    offset: Offset = Field(
        timedelta(), description="Days before or after that moment: '-3d' is three days before.", examples=["-3d"]
    )

    by_last_order: ClassVar[bool] = True

    @property
    def about_an_order(self) -> bool:
        return True


class Everyone(Preset):
    """Everybody, on given days. Occasion: the day."""

    preset: Literal["everyone"] = Field(description="Everybody, on given days.")
    on: Annotated[tuple[date | str, ...], Field(min_length=1, strict=False), *written_as(_days, **_ON_SCHEMA)] = Field(
        description="Dates, without quotes, and names of holidays, each on its date in the person's country.",
        examples=[["Christmas Day", "2026-12-24"]],
    )
    offset: Offset = Field(timedelta(), description="Days before or after: '-7d' is a week before.", examples=["-7d"])

    @property
    def dates(self) -> frozenset[date]:
        """Return the days that are the same for everybody."""
        return frozenset(day for day in self.on if isinstance(day, date))

    @property
    def holidays(self) -> tuple[str, ...]:
        """Return the names of holidays."""
        return tuple(day for day in self.on if isinstance(day, str))


Audience = Annotated[
    Sleeping | Birthday | AfterOrder | ReachedScore | AfterEvent | Milestone | Replenish | EnteredSegment | Everyone,
    Field(discriminator="preset"),
]
