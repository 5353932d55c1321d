"""When no message arrives: the shop's own quiet hours, and what countries say about marketing."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from importlib.resources import files
from typing import Self

from pydantic import Field, model_validator

from winback.filemodel import FileModel, Text, refused
from winback.project.values import QuietHours, QuietSpan, Region, is_quiet
from winback.store import Channel


class CountryHours(FileModel):
    """When marketing rests in one country. What is left out is as the shipped rules say, else there is no such rule."""

    sms: QuietSpan = Field(None, description='Hours without SMS; "off" where SMS have no rule.', examples=["22:00-08:00"])
    email: QuietSpan = Field(None, description='Hours without e-mail; "off" where e-mail has no rule.', examples=["20:00-08:00"])
    saturdays: QuietSpan = Field(None, description="Those of Saturdays, where they are others.", examples=["13:00-09:00"])
    sundays: bool | None = Field(None, description="Whether Sundays are free of the channels that have hours.", examples=[True])
    holidays: bool | None = Field(
        None, description="Whether the country's public holidays are, those of its parts left out.", examples=[True]
    )


class CountryRule(CountryHours):
    """The rule of a country as shipped, with where it is written."""

    rule: Text
    source: Text
    read: date


class CountryRules(FileModel):
    """country_rules.toml: what the marketing of some countries has to leave free."""

    as_of: date
    notice: Text
    countries: dict[Region, CountryRule]


@dataclass(frozen=True)
class FreeTime:
    """When a channel's marketing rests in a country, on the clock where each person lives."""

    country: str
    hours: QuietHours
    saturdays: QuietHours | None
    sundays: bool
    holidays: bool


@lru_cache(maxsize=1)
def shipped_rules() -> CountryRules:
    """Return the rules of countries that come with winback."""
    text = files("winback.project").joinpath("country_rules.toml").read_text(encoding="utf-8")
    return CountryRules.model_validate(tomllib.loads(text))


class QuietHourSettings(FileModel):
    """When no message arrives, on the clock where each person lives."""

    email: QuietSpan = Field(None, description='Quiet hours of e-mail; "off" (the default) for none.', examples=["22:00-07:00"])
    sms: QuietSpan = Field(
        QuietHours(time(21), time(9)), description='Quiet hours of SMS; "off" for none.', examples=["21:00-09:00"]
    )
    country_rules: bool = Field(
        False, description="Whether marketing keeps to the rules of countries that come with winback.", examples=[True]
    )
    countries: dict[Region, CountryHours] = Field(
        default_factory=dict,
        description="Rules of countries of your own; they go before those that come with winback.",
        examples=[{"FR": {"sms": "20:00-10:00"}}],
    )

    def for_channel(self, channel: Channel) -> QuietHours | None:
        """Return the quiet hours of a channel, None where there are none."""
        return self.email if channel is Channel.EMAIL else self.sms

    def by_country(self, channel: Channel) -> Mapping[str, FreeTime]:
        """Return when the channel's marketing rests, for each country that has a rule about it."""
        found = {}
        for country, rule in self._rules().items():
            hours = rule.email if channel is Channel.EMAIL else rule.sms
            if hours is not None:
                found[country] = FreeTime(country, hours, rule.saturdays, bool(rule.sundays), bool(rule.holidays))
        return found

    def _rules(self) -> dict[str, CountryHours]:
        rules: dict[str, CountryHours] = dict(shipped_rules().countries) if self.country_rules else {}
        for country, own in self.countries.items():
            written = {key: getattr(own, key) for key in own.model_fields_set}
            rules[country] = rules.get(country, CountryHours()).model_copy(update=written)
        return rules

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        for country, rule in self._rules().items():
            if country in self.countries:
                _check_days(country, self.countries[country], rule)
            for channel, hours in ((Channel.EMAIL, rule.email), (Channel.SMS, rule.sms)):
                spans = [span for span in (hours, self.for_channel(channel)) if span is not None]
                if hours is not None and all(any(is_quiet(end.end, span) for span in spans) for end in spans):
                    raise refused(
                        f"countries.{country} and the quiet hours leave no time of day for {channel}",
                        f'shorten one of them, or write {channel} = "off" there',
                    )
        return self


def _check_days(country: str, own: CountryHours, rule: CountryHours) -> None:
    if (own.sundays or own.holidays or own.saturdays) and rule.sms is None and rule.email is None:
        raise refused(
            f"countries.{country} names days but hours of no channel",
            'say what they hold for, like sms = "22:00-08:00"',
        )
    if own.holidays:
        from winback.audience import has_public_holidays

        if not has_public_holidays(country):
            raise refused(f"the public holidays of {country} are not known", f"take holidays out of countries.{country}")


__all__ = ["CountryHours", "CountryRule", "CountryRules", "FreeTime", "QuietHourSettings", "shipped_rules"]
