"""A shop that is tried out: each message to its customer, to somebody else instead, or to nobody, decided last of all."""

from __future__ import annotations

import re
from dataclasses import replace

from winback.compose import Composed, Recipient
from winback.compose.sms import count_segments
from winback.project.staging import Staging
from winback.store import Channel

#: Tells whom a letter would have gone to; a text message begins with the number.
HEADER = "X-Winback-To"

#: What a header and a text may quote of an address: nothing that could begin another header.
_QUOTABLE = re.compile(r"[!-~]{1,254}")

_SHORT = 60  # letters that a header's first line has room for


def addressed(recipient: Recipient, staging: Staging | None) -> Recipient | None:
    """Return the recipient with the address that the message goes to, None when it goes to nobody."""
    if staging is None or not recipient.address:
        return recipient
    destination = staging.destination(recipient.channel, recipient.address)
    return None if destination is None else replace(recipient, address=destination)


def labeled(message: Composed, recipient: Recipient) -> Composed:
    """Return a message that goes to somebody else with the address of its customer on it."""
    address = recipient.address if _QUOTABLE.fullmatch(recipient.address) else "an address that cannot be shown"
    if recipient.channel is Channel.EMAIL:
        room = " " if len(address) <= _SHORT else "\r\n "
        header = f"{HEADER}:{room}{address}\r\n".encode("ascii")
        return replace(message, outgoing=replace(message.outgoing, content=header + message.outgoing.content))
    text = f"[{address}] {message.outgoing.text}"
    outgoing = replace(message.outgoing, text=text)
    return replace(
        message, outgoing=outgoing, text=text, segments=count_segments(text), size=len(text.encode("utf-8", "replace"))
    )
