"""A gateway's table in config.toml: what kind it is, and how much it may send when; the other keys are its plugin's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from winback.addresses import normalise_email
from winback.errors import AddressError
from winback.filemodel import FileModel, Text, refused, written_as

_UNITS = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "day": timedelta(days=1),
}

_RATE = re.compile(r"(\d{1,9})\s*/\s*(s|min|h|day)")

#: Messages on the first day, the second, and so on, where a shop says `warmup = true`.
USUAL_WARMUP = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


@dataclass(frozen=True, order=True)
class Rate:
    """At most `count` messages within any `window`, wherever it begins. Written `"14/s"`."""

    window: timedelta
    count: int

    def __str__(self) -> str:
        unit = next(name for name, window in _UNITS.items() if window == self.window)
        return f"{self.count}/{unit}"

    def within(self, time: timedelta) -> int:
        """Return how many messages may go within some time at most."""
        return self.count * (math.ceil(time / self.window) + 1)


def _rate(value: Any) -> Rate:
    if isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise refused(f"{value!r} is not a rate", 'write "14/s", "30/min", "500/h" or "10000/day"')
    if int(found[1]) < 1:
        raise refused(f"{value!r} would let nothing through", "write at least 1, or name another gateway in [deliver]")
    return Rate(_UNITS[found[2]], int(found[1]))


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _one_for_each_unit(rates: tuple[Rate, ...]) -> tuple[Rate, ...]:
    if len({rate.window for rate in rates}) < len(rates):
        raise refused("there are two rates for the same time", "keep the lower one")
    return tuple(sorted(rates))


def _warmup(value: Any) -> tuple[int, ...]:
    if value is True:
        return USUAL_WARMUP
    if value is False:
        return ()
    remedy = "write true, or the messages of each day, like [1000, 3000, 10000]"
    days = tuple(value) if isinstance(value, list | tuple) else None
    if days is None or not all(isinstance(day, int) and not isinstance(day, bool) and day > 0 for day in days):
        raise refused("is not a list of messages a day", remedy)
    if list(days) != sorted(set(days)):
        raise refused("does not grow from day to day", remedy)
    return days


def _domain(value: str) -> str:
    try:
        return normalise_email(f"anybody@{value.strip().removeprefix('@')}").rpartition("@")[2]
    except AddressError:
        raise refused(f"{value!r} is not a domain", 'write what stands behind the @: "gmail.com"') from None


_RATE_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^\d+ ?/ ?(s|min|h|day)$", "examples": ["14/s"]}

_OneRate = Annotated[Rate, *written_as(_rate, **_RATE_SCHEMA)]
Rates = Annotated[
    tuple[_OneRate, ...],
    BeforeValidator(_listed),
    AfterValidator(_one_for_each_unit),
    Field(strict=False),
    WithJsonSchema({"anyOf": [_RATE_SCHEMA, {"type": "array", "items": _RATE_SCHEMA}]}),
]
Warmup = Annotated[
    tuple[int, ...],
    BeforeValidator(_warmup),
    Field(strict=False),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "integer", "minimum": 1}}]}),
]
Domain = Annotated[str, AfterValidator(_domain)]


class GatewaySettings(FileModel):
    """One way out of the house."""

    model_config = ConfigDict(extra="allow")

    type: Text = Field(description="What kind it is; the other keys are the options of that kind.", examples=["smtp"])
    rate: Rates = Field(
        (), description="How many messages it takes at most; one or several.", examples=["14/s", ["14/s", "10000/day"]]
    )
    per_domain: dict[Domain, Rates] = Field(
        default_factory=dict,
        description="How many e-mails it takes at most for recipients of a domain.",
        examples=[{"gmail.com": "20/min"}],
    )
    warmup: Warmup = Field(
        (),
        description="Messages on its first day, its second and so on; true for the usual ones.",
        examples=[True, [1000, 3000, 10000]],
    )

    @property
    def table(self) -> dict[str, Any]:
        """Return the kind and its own options, as `winback.gateways.registry.configure` takes them."""
        return {"type": self.type, **self.options}

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of the kind, unchecked."""
        return dict(self.model_extra or {})


__all__ = ["USUAL_WARMUP", "GatewaySettings", "Rate", "Rates", "Warmup"]
