"""What a report calls reasons, channels, steps and successes."""

from __future__ import annotations

from winback.policy import REASONS
from winback.store import Channel

_CHANNELS = {Channel.EMAIL.value: "e-mail", Channel.SMS.value: "SMS"}

#: Reasons that are no rule of the policy.
_MORE_REASONS = {
    "withdrawn": "the campaign or its step is gone from the files",
    "hard_bounce": "the mailbox or number does not exist",
    "complaint": "reported as spam",
    "attempts": "every attempt was used up",
    "resent": "nobody knows whether it arrived, so it goes once more",
    "rules_failed": "the campaign's rules could not be asked",
    "restored": "may have gone already, before the database was put back from a backup",
    "copied": "was being sent when the database was copied",
    "unknown": "no reason was kept",
}

#: Begins the reason of messages that could not be composed; the template's file and line follow.
_RENDER = "render "

_EVENT = "event:"
_FALLBACK = ":fallback"


def reason_text(reason: str) -> str:
    """Return a stored reason in words; one that has no words of ours is shown as it is."""
    if reason.startswith(_RENDER):
        return f"the template failed at {reason.removeprefix(_RENDER)}"
    return REASONS.get(reason) or _MORE_REASONS.get(reason) or reason.replace("_", " ")


def channel_text(channel: str) -> str:
    """Return a channel's name; both where it is empty."""
    return _CHANNELS.get(channel, channel) if channel else "e-mail and SMS"


def step_text(step: str) -> str:
    """Return a step's name; one that went again on the other channel says so."""
    name, _, _ = step.partition(":")
    return f"{name}, the other way" if step.endswith(_FALLBACK) else step


def did(conversion: str) -> str:
    """Return what somebody did who converted, as a verb in the past."""
    return "ordered" if conversion == "order" else f"did “{_event(conversion)}”"


def successes(conversion: str) -> str:
    """Return what conversions are called when they are counted."""
    return "Orders" if conversion == "order" else f"“{_event(conversion)}”"


def first_upper(text: str) -> str:
    """Return a text with its first letter large."""
    return text[:1].upper() + text[1:]


def _event(conversion: str) -> str:
    return conversion.removeprefix(_EVENT).replace("_", " ")
