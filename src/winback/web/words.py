"""What the pages call states and reasons, and the tone of colour each has."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import NamedTuple

from winback.audience.presets import (
    AfterEvent,
    AfterOrder,
    Birthday,
    EnteredSegment,
    Inactive,
    Milestone,
    ReachedScore,
    Replenish,
    Sleeping,
)
from winback.durations import format_duration
from winback.policy import REASONS
from winback.project import Campaign
from winback.store import InteractionClass, MessageState
from winback.web.formatting import plural


class Word(NamedTuple):
    """A state as people say it; `tone` is a colour: good, warn, bad, wait or quiet."""

    text: str
    tone: str


MESSAGE_STATES: dict[str, Word] = {
    MessageState.PLANNED: Word("planned", "wait"),
    MessageState.SENDING: Word("on its way", "wait"),
    MessageState.SENT: Word("sent", "good"),
    MessageState.DELIVERED: Word("delivered", "good"),
    MessageState.BOUNCED: Word("bounced", "bad"),
    MessageState.FAILED: Word("failed", "bad"),
    MessageState.UNCERTAIN: Word("uncertain", "warn"),
    MessageState.SKIPPED: Word("not sent", "quiet"),
    MessageState.HELD_OUT: Word("held out", "quiet"),
    MessageState.CANCELLED: Word("cancelled", "quiet"),
}

CHANNELS = {"email": "E-mail", "sms": "SMS"}

#: Who did it, where it was not clearly a person.
DOERS = {InteractionClass.PROXY: "by an image proxy", InteractionClass.MACHINE: "by a machine"}

_MORE_REASONS = {
    "withdrawn": "the campaign or its step is gone from the files",
    "held_out": "in the control group, to measure what the campaign causes",
    "hard_bounce": "the mailbox or number does not exist",
    "soft_bounce": "could not be delivered at present",
    "soft_bounces": "came back again and again",
    "blocked": "turned away because of our server or the letter, not because of the address",
    "unclear_bounce": "came back, perhaps from another address",
    "complaint": "reported as spam",
    "manual": "put on the list by a person",
    "fallback": "goes by the other channel",
    "attempts": "every attempt was used up",
    "resent": "nobody knows whether it arrived, so it goes once more",
    "rules_failed": "the campaign’s rules could not be asked",
    "restored": "may have gone already, before the database was put back from a backup",
    "copied": "was being sent when the database was copied",
    "ordered": "ordered meanwhile",
    "unsubscribed": "unsubscribed",
}


#: Begins the reason of messages that could not be composed; the template's file and line follow.
_RENDER = "render "


def reason_text(reason: str | None) -> str:
    """Return a stored reason in words; one that has no words of ours is shown as it is."""
    if not reason:
        return ""
    if reason.startswith(_RENDER):
        return f"the template failed at {reason.removeprefix(_RENDER)}"
    return REASONS.get(reason) or _MORE_REASONS.get(reason) or reason.replace("_", " ")


def state_word(state: str) -> Word:
    """Return the word of a message's state."""
    return MESSAGE_STATES.get(state, Word(state, "quiet"))


def channel_name(channel: str) -> str:
    """Return a channel's name."""
    return CHANNELS.get(channel, channel)


def audience_text(campaign: Campaign) -> str:
    """Return whom a campaign is for, as a sentence without its `where`."""
    audience = campaign.audience
    match audience:
        case Sleeping():
            return f"customers who have not ordered for {_silence(audience.inactive)}"
        case Birthday():
            what = {"birthday": "birthday", "first_order": "day of the first order"}.get(audience.field)
            when = _days_from(audience.offset)
            return f"everybody on their {what}{when}" if what else f"everybody on {audience.field.partition('.')[2]}{when}"
        case AfterOrder():
            voided = {"voided": "cancelled, refunded or returned"}.get(audience.after, audience.after)
            order = "customers’ first orders" if audience.first else "orders"
            return (
                f"{order}, {format_duration(audience.delay)} after they were {voided}" if audience.delay else f"{order} {voided}"
            )
        case ReachedScore():
            stays = audience.stays
            does = f"has been at {audience.level} for {_spelled(stays)}" if stays else f"reaches {audience.level}"
            return f"people whose score {audience.score} {does}"
        case AfterEvent():
            unless = f", unless they then did {audience.unless}" if audience.unless else ""
            return f"people who did {audience.event}{unless}"
        case EnteredSegment():
            return f"people who {audience.when.removesuffix('s')} the segment {audience.segment}"
        case Milestone():
            values = ", ".join(f"{value:g}" for value in sorted(audience.reaches))
            return f"people whose {audience.field.removeprefix('attributes.')} reach {values}"
        case Replenish():
            return f"customers whose next order is expected{_days_from(audience.offset)}"
        case _:
            days = ", ".join(day if isinstance(day, str) else f"{day:%-d %B %Y}" for day in audience.on)
            return f"everybody, on {days}{_days_from(audience.offset)}"


def _silence(inactive: Inactive) -> str:
    most = f", and for {_spelled(inactive.at_most)} at most" if inactive.at_most else ""
    if inactive.rhythms is not None:
        return f"{inactive.rhythms:g} times their own usual time between orders{most}"
    return f"{_spelled(inactive.at_least or timedelta())} or longer{most}"


def _days_from(offset: timedelta) -> str:
    if not offset:
        return ""
    return f", {_spelled(abs(offset))} {'before' if offset < timedelta() else 'after'}"


def _spelled(duration: timedelta) -> str:
    """Return a duration with the words for its units."""
    units = {"d": "day", "h": "hour", "min": "minute", "s": "second"}
    found = re.findall(r"(\d+)([a-z]+)", format_duration(duration))
    return " ".join(f"{number} {plural(int(number), units[unit])}" for number, unit in found)


#: What a rule asks, as a heading of its answer.
_RULES = {
    "audience": "In the audience",
    "where": "Meets the campaign’s where",
    "already": "Not in it for this occasion yet",
    "live": "The campaign is live",
    "erased": "Not erased",
    "no_address": "Has an address",
    "suppressed": "The address is not blocked",
    "no_consent": "Consented",
    "not_allowed": "Among those whom a shop on trial may write to",
    "exit": "The exit is not reached",
    "cooldown": "Rested since the last time",
    "muted": "Not muted by another campaign",
    "sunset": "Has given a sign of life",
    "detractor": "Was not dissatisfied when asked",
    "only_if": "Meets the step’s only_if",
    "late": "Still in time",
    "capped": "Room under the caps",
    "quiet_hours": "Not at night",
    "country": "Not when their country keeps marketing away",
    "holdout": "Not held out",
}


def rule_name(rule: str) -> str:
    """Return what a rule asks."""
    return _RULES.get(rule, rule.replace("_", " "))
