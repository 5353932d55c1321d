"""What the pages call states and reasons, and the tone of colour each has."""

from __future__ import annotations

from typing import NamedTuple

from winback.policy import REASONS
from winback.store import InteractionClass, MessageState


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
    "complaint": "reported as spam",
    "manual": "put on the list by a person",
    "fallback": "goes by the other channel",
    "attempts": "every attempt was used up",
    "ordered": "ordered meanwhile",
    "unsubscribed": "unsubscribed",
}


def reason_text(reason: str | None) -> str:
    """Return a stored reason in words; one that has no words of ours is shown as it is."""
    if not reason:
        return ""
    return REASONS.get(reason) or _MORE_REASONS.get(reason) or reason.replace("_", " ")


def state_word(state: str) -> Word:
    """Return the word of a message's state."""
    return MESSAGE_STATES.get(state, Word(state, "quiet"))


def channel_name(channel: str) -> str:
    """Return a channel's name."""
    return CHANNELS.get(channel, channel)


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
    "exit": "The exit is not reached",
    "cooldown": "Rested since the last time",
    "only_if": "Meets the step’s only_if",
    "late": "Still in time",
    "capped": "Room under the caps",
    "quiet_hours": "Not at night",
    "holdout": "Not held out",
}


def rule_name(rule: str) -> str:
    """Return what a rule asks."""
    return _RULES.get(rule, rule.replace("_", " "))
