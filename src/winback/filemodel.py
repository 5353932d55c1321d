"""What every table of the shop's files is: strict, frozen, and refusing in plain words; and the values found in most of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from winback.durations import parse_duration

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class FileModel(BaseModel):
    """A table of a file: unknown keys are errors, nothing is converted silently, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def refused(message: str, remedy: str) -> PydanticCustomError:
    """Return the error for a value that cannot be used, in plain words."""
    return PydanticCustomError("refused", "{message}; {remedy}", {"message": message, "remedy": remedy})


def kind_of(value: object) -> str:
    """Say what a value from a file is, in a marketer's words, without quoting it."""
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table", time: "a time"}
    return names.get(type(value), "a date" if hasattr(value, "year") else "something else")


def read_duration(value: Any) -> timedelta:
    """Return the duration that a file says; refuse what is none."""
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        raise refused(message, remedy) from None


def positive(value: timedelta) -> timedelta:
    """Return the duration; refuse one that is nothing."""
    if value <= timedelta():
        raise refused("must be longer than nothing", "write '7d' or '12h'")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > 80:
        raise refused(
            f"{value!r} cannot be a name", "use up to 80 small letters, digits, - and _, beginning with a letter or a digit"
        )
    return value


def is_name(text: str) -> bool:
    """Say whether a text can name a campaign, a step, a variant, a score or a segment."""
    return bool(_NAME.fullmatch(text)) and len(text) <= 80


def _not_blank(value: str) -> str:
    if not value.strip():
        raise refused("is empty", "write something, or take the key out")
    return value


def written_as(convert: Callable[[Any], Any], **schema: Any) -> tuple[BeforeValidator, WithJsonSchema]:
    """Return what an annotated type needs to be read by `convert` and to stand in the JSON Schema as people write it."""
    return BeforeValidator(convert), WithJsonSchema(schema)


_DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^(\d+ ?(w|d|h|min|s) ?)+$",
    "examples": ["7d", "12h", "30min", "2w", "7d 12h"],
}

Duration = Annotated[timedelta, *written_as(read_duration, **_DURATION_SCHEMA)]
PositiveDuration = Annotated[timedelta, *written_as(read_duration, **_DURATION_SCHEMA), AfterValidator(positive)]
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"})]
Text = Annotated[str, AfterValidator(_not_blank)]
Expression = Annotated[str, AfterValidator(_not_blank), Field(examples=["orders >= 2"])]
