"""What one mail of the mailbox says: a letter came back, somebody complained, is away, or answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal


class Kind(StrEnum):
    """What a mail is about; see `rules` for how a letter that came back is classed."""

    HARD = "hard"  # the address does not exist
    SOFT = "soft"  # the mailbox cannot take it at present: full, unreachable, waited for too long
    BLOCKED = "blocked"  # because of us: our server is on a blocklist, a proof is missing, the letter was taken for spam
    DELAYED = "delayed"  # is still being tried; nothing follows
    DELIVERED = "delivered"  # arrived
    AUTOMATIC = "out_of_office"  # a machine answers for a person: away, thank you for your message; the letter has arrived
    COMPLAINT = "complaint"  # reported as spam (RFC 5965)
    REPLY = "reply"  # a person answers
    OTHER = "other"  # anything else: newsletters, notices that a letter was opened, what cannot be read


#: Letters that came back.
BOUNCES = frozenset({Kind.HARD, Kind.SOFT, Kind.BLOCKED})


@dataclass(frozen=True, slots=True)
class LinkToken:
    """A signed token of one of our links, as it stood in a mail; it may be anybody's invention until it is checked."""

    kind: Literal["click", "open", "unsubscribe"]
    token: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a mail says. Nothing of it is proven: whoever knows the mailbox's address can write anything."""

    kind: Kind
    mail_id: str  # the same whenever, and from wherever, the same mail is read
    at: datetime | None = None
    sender: str = ""  # the address of who writes
    subject: str = ""
    message_ids: tuple[str, ...] = ()  # local parts of the Message-ID of the letter it is about, the likeliest first
    tokens: tuple[LinkToken, ...] = ()  # out of the letter it is about
    recipients: tuple[str, ...] = ()  # the addresses it names as those that the letter was for
    status: str = ""  # enhanced status code (RFC 3463), such as 5.1.1
    diagnostic: str = ""  # what the other server said, on one line
    reason: str = ""  # what that means, in words of ours
    text: str = ""  # what a person wrote, without what is quoted
