"""campaigns/NAME.toml: audience, schedule, limits, measurement and steps, as checked objects that never change."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from winback.audience import Audience
from winback.errors import InputError
from winback.filemodel import Duration, Expression, FileModel, Name, PositiveDuration, Text
from winback.project.values import Conversion, LocalTime, Share, TemplateName, Weekdays
from winback.store import Channel, Purpose

#: Why a step may go to its fallback channel instead.
FallbackReason = Literal["no_address", "no_consent", "suppressed", "hard_bounce"]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Schedule(FileModel):
    """When messages go: the local time of day, the weekdays, and how late is too late."""

    at: LocalTime | None = Field(
        None, description="Time of day where each person lives; without one as soon as the step is due.", examples=["09:30"]
    )
    days: Weekdays | None = Field(
        None, description="Weekdays on which messages go; without them on all.", examples=[["tue", "wed", "thu"]]
    )
    late: PositiveDuration = Field(
        timedelta(hours=12), description="A message later than this is skipped, and the reason stored.", examples=["12h"]
    )


class Limits(FileModel):
    """How often one person may be in this campaign, and what happens to a message that is one too many."""

    cooldown: PositiveDuration | None = Field(
        None, description="Nobody comes in again within this time; without one each occasion counts.", examples=["120d"]
    )
    muted_by: dict[Name, PositiveDuration] = Field(
        default_factory=dict,
        description="Other campaigns, and how long after coming into one of them nobody gets anything of this one.",
        examples=[{"thank_you": "14d"}],
    )
    on_capped: Literal["defer", "skip", "replace"] = Field(
        "defer",
        description=(
            'When the shop\'s caps are reached: "defer" waits for up to a week, "skip" leaves it, "replace" waits until there is '
            "a newer message of this campaign."
        ),
        examples=["defer"],
    )


class Measure(FileModel):
    """How the campaign is judged."""

    holdout: Share = Field(
        0,
        description="Share of people left alone, to see what the campaign causes.",
        examples=["10%"],
        json_schema_extra={"default": "0%"},
    )
    conversion: Conversion = Field(
        "order", description='What counts as success: "order", or "event:NAME".', examples=["order", "event:webinar_attended"]
    )
    window: PositiveDuration = Field(
        timedelta(days=30), description="How long after a message a success is counted for it.", examples=["30d"]
    )


class Exit(FileModel):
    """When people leave the campaign before its last step."""

    when: Expression | None = Field(
        None, description="Asked before every step, and again when its message goes.", examples=["ordered"]
    )


class Coupon(FileModel):
    """A code of one's own for each message."""

    pool: Text = Field(description="What the code begins with, and what the shop system knows it by.", examples=["WAKE10"])
    expires: PositiveDuration = Field(description="How long it is valid after the message went.", examples=["14d"])


class Fallback(FileModel):
    """The other channel, for people whom the step's own does not reach."""

    channel: Annotated[Channel, Field(strict=False)] = Field(description="The other channel.", examples=["sms"])
    on: Annotated[tuple[FallbackReason, ...], BeforeValidator(_tuple), Field(min_length=1, strict=False)] = Field(
        ("no_address", "no_consent", "hard_bounce"),
        description="For which reasons.",
        examples=[["no_address", "no_consent", "hard_bounce"]],
    )
    template: TemplateName | None = Field(
        None, description="Its template; without one the step's, in the other channel's file.", examples=["sleeping/offer"]
    )


class StepVariant(FileModel):
    """What one arm of a test gets instead."""

    subject: Text | None = Field(None, description="Subject of this arm.", examples=["We kept something for you"])
    template: TemplateName | None = Field(None, description="Template of this arm.", examples=["sleeping/hello_b"])
    preheader: Text | None = Field(None, description="Preheader of this arm.", examples=["Three records, picked for you"])


class Step(FileModel):
    """One message of a campaign, some time after the step before."""

    name: Name = Field(description="Name, unique in the campaign; never change it while the campaign runs.", examples=["hello"])
    after: Duration = Field(
        timedelta(), description="Time after the step before; for the first step after the occasion.", examples=["7d"]
    )
    only_if: Expression | None = Field(
        None, description="Asked when the step is due; who does not fit misses this step only.", examples=["not clicked('hello')"]
    )
    channel: Annotated[Channel, Field(strict=False)] = Field(description="How it travels.", examples=["email"])
    template: TemplateName = Field(description="Template under templates/, without its ends.", examples=["sleeping/hello"])
    subject: Text | None = Field(
        None, description="Subject of an e-mail; may use the template's variables.", examples=["It has been a while"]
    )
    preheader: Text | None = Field(
        None, description="The line that mail readers show after the subject.", examples=["Three records, picked for you"]
    )
    at: LocalTime | None = Field(None, description="Time of day of this step, before that of [schedule].", examples=["18:00"])
    fallback: Fallback | None = Field(None, description="The other channel, where this one does not reach somebody.")
    coupon: Coupon | None = Field(None, description="A code of one's own for each message.")
    variants: dict[Name, StepVariant] = Field(
        default_factory=dict,
        description="What arms of the test get instead, by the arm's name.",
        examples=[{"b": {"subject": "We kept something for you"}}],
    )

    def for_variant(self, variant: str) -> Step:
        """Return the step as one arm of the test gets it."""
        own = self.variants.get(variant)
        return self.model_copy(update=own.model_dump(exclude_none=True)) if own else self


class CampaignFile(FileModel):
    """What a campaign file may say."""

    title: Text = Field(description="What people call it.", examples=["Wake sleeping customers"])
    goal: str = Field(
        "", description="What it is for, in one sentence.", examples=["An order within 30 days from a customer we were losing"]
    )
    purpose: Annotated[Purpose, Field(strict=False)] = Field(
        Purpose.MARKETING,
        description='"marketing" goes to people who said yes; "service", about something they did, to all who did not say no.',
        examples=["marketing"],
    )
    priority: int = Field(
        50, ge=0, le=1000, description="The lower one goes first when several campaigns want the same person.", examples=[40]
    )
    enabled: bool = Field(True, description="false stops the campaign at once, messages already planned too.", examples=[True])
    on_uncertain: Literal["hold", "resend"] = Field(
        "hold",
        description='When nobody knows whether a message arrived: "hold" leaves that to a person, "resend" sends it once more.',
        examples=["resend"],
    )
    audience: Audience = Field(description="Who it is for.")
    schedule: Schedule = Field(default_factory=Schedule, description="When messages go.")
    limits: Limits = Field(default_factory=Limits, description="How often.")
    measure: Measure = Field(default_factory=Measure, description="How it is judged.")
    exit: Exit = Field(default_factory=Exit, description="When people leave early.")
    variants: dict[Name, Share] = Field(
        default_factory=dict,
        description='Arms of a test and their shares; the rest is arm "a", which gets the steps as they stand.',
        examples=[{"b": "50%"}],
    )
    steps: Annotated[tuple[Step, ...], BeforeValidator(_tuple), Field(min_length=1, strict=False)] = Field(
        description="The messages, in order."
    )


class Campaign(CampaignFile):
    """A checked campaign. `name` is the file's name without .toml; `definition_hash` changes when what the file says does."""

    name: str
    path: Path
    definition_hash: str

    def find_step(self, name: str) -> Step | None:
        """Return a step by its name, None when there is none."""
        return next((step for step in self.steps if step.name == name), None)

    def step(self, name: str) -> Step:
        """Return a step by its name. Raise InputError when there is none."""
        found = self.find_step(name)
        if found is None:
            steps = ", ".join(step.name for step in self.steps)
            raise InputError(f"campaign {self.name} has no step {name!r}", f"its steps are {steps}")
        return found

    def next_step(self, name: str) -> Step | None:
        """Return the step after this one, None after the last."""
        names = [step.name for step in self.steps]
        place = names.index(name) + 1 if name in names else len(names)
        return self.steps[place] if place < len(names) else None


__all__ = [
    "Campaign",
    "CampaignFile",
    "Coupon",
    "Exit",
    "Fallback",
    "FallbackReason",
    "Limits",
    "Measure",
    "Schedule",
    "Step",
    "StepVariant",
]
