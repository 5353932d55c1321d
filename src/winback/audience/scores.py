"""Scores of campaigns/scores.toml: points for what people do, fading with time, and levels with a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from winback.durations import format_duration
from winback.filemodel import Expression, FileModel, Name, PositiveDuration, Text, positive, read_duration, refused, written_as

_AT_MOST = re.compile(r"(\d{1,4})\s+(?:in|per)\s+(.+)")


@dataclass(frozen=True)
class AtMost:
    """How often a rule counts: `count` times in each period of `period`."""

    count: int
    period: timedelta

    def __str__(self) -> str:
        return f"{self.count} in {format_duration(self.period)}"


def _at_most(value: Any) -> AtMost:
    if isinstance(value, AtMost):
        return value
    found = _AT_MOST.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not int(found[1]):
        raise refused(f"{value!r} is not a limit", 'write "5 in 30d": the first five in each 30 days count')
    return AtMost(int(found[1]), positive(read_duration(found[2])))


Limit = Annotated[AtMost, *written_as(_at_most, type="string", pattern=r"^\d+ (in|per) .+$", examples=["5 in 30d"])]


def _list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class ScoreRule(FileModel):
    """Points for one thing that people do: an event of your own, or what they do with our messages."""

    event: Text | None = Field(None, description="The event's name.", examples=["webinar"])
    message: Literal["opened", "clicked"] | None = Field(
        None,
        description='What a person does with a message: "opened" or "clicked"; machines count nothing.',
        examples=["clicked"],
    )
    points: float = Field(description="What it is worth; may be negative.", examples=[5], ge=-1000, le=1000)
    at_most: Limit | None = Field(
        None, description='How often it counts: "5 in 30d" is the first five in each period of 30 days.', examples=["5 in 30d"]
    )
    group: Name | None = Field(
        None, description="A group of rules that a limit holds for together; see groups.", examples=["mail"]
    )

    @model_validator(mode="after")
    def _one_source(self) -> ScoreRule:
        if (self.event is None) == (self.message is None):
            raise ValueError("names nothing that gives points, or two things; write either event or message")
        return self


class ScoreLevel(FileModel):
    """A level, reached when the score is `from` or more."""

    name: Name = Field(description="Name of the level.", examples=["warm"])
    from_: float = Field(alias="from", description="The score from which on it is reached.", examples=[20])


class FitRule(FileModel):
    """Points for who somebody is, as their profile says now."""

    where: Expression = Field(description="A condition about the customer.", examples=["country = 'DE'"])
    points: float = Field(description="What it is worth; may be negative.", examples=[10], ge=-1000, le=1000)


class ScoreModel(FileModel):
    """One score of campaigns/scores.toml.

    The value at any moment is the sum of the points so far, each faded or expired by its age, plus the points for who somebody
    is, cut off at `floor` and `cap`. It follows from the events alone, so it can be computed for any moment again.
    """

    name: Name
    title: Text = Field(description="What people call it.", examples=["How ready a lead is"])
    half_life: PositiveDuration | None = Field(
        None, description="Points lose half of their worth in this time.", examples=["30d"]
    )
    expires: PositiveDuration | None = Field(
        None, description="Points are worth nothing after this time; instead of half_life.", examples=["90d"]
    )
    floor: float = Field(0, ge=-1_000_000, le=1_000_000, description="The lowest value.", examples=[0])
    cap: float = Field(100, ge=-1_000_000, le=1_000_000, description="The highest value.", examples=[100])
    hysteresis: float = Field(
        0, ge=0, description="A level is left only when the score is this much below where it begins.", examples=[10]
    )
    groups: dict[Name, Limit] = Field(
        default_factory=dict,
        description='How often the rules of a group count together: "10 in 30d".',
        examples=[{"mail": "10 in 30d"}],
    )
    rules: Annotated[tuple[ScoreRule, ...], BeforeValidator(_list), Field(min_length=1, strict=False)] = Field(
        description="What gives points."
    )
    fit: Annotated[tuple[FitRule, ...], BeforeValidator(_list), Field(strict=False)] = Field(
        (), description="Points for who somebody is."
    )
    levels: Annotated[tuple[ScoreLevel, ...], BeforeValidator(_list), Field(min_length=1, strict=False)] = Field(
        description="Levels, the lowest first; the first one begins at the floor."
    )

    @model_validator(mode="after")
    def _sound(self) -> ScoreModel:
        if self.half_life is not None and self.expires is not None:
            raise ValueError("has both half_life and expires; keep one of them")
        named = {rule.group for rule in self.rules} - {None}
        for name in sorted(named ^ set(self.groups)):  # type: ignore[type-var]
            wrong = "has no limit; add it to groups" if name in named else "has no rules; give some of them its name"
            raise ValueError(f"has a group {name!r} that {wrong}")
        begins = [level.from_ for level in self.levels]
        if begins != sorted(set(begins)):
            raise ValueError("has levels out of order; write the lowest first, each with a from of its own")
        if begins[0] != self.floor:
            raise ValueError(f"has no level for its lowest values; let the first level begin at {self.floor:g}")
        if len({level.name for level in self.levels}) < len(self.levels):
            raise ValueError("has two levels of one name; give each a name of its own")
        if self.cap <= begins[-1]:
            raise ValueError(f"never reaches its highest level; set cap above {begins[-1]:g}")
        return self

    @property
    def lowest(self) -> str:
        """Return the level of those who have done nothing."""
        return self.levels[0].name
