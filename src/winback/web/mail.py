"""Read a message as it was sent, and make its HTML safe to look at: nothing is fetched, so looking never counts as opening."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr

_HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_PIXEL = re.compile(r"/o/[A-Za-z0-9_-]{36,}\.gif")

#: Where a picture would be fetched from; one that the mail itself carries may stay.
_SOURCE = re.compile(r"""\s(?:src|srcset)\s*=\s*(?:"(?!data:)[^"]*"|'(?!data:)[^']*'|(?!["']|data:)[^\s>]+)""", re.IGNORECASE)

#: Every link opens a window of its own, apart from these pages.
_BASE = '<base target="_blank">'


@dataclass(frozen=True)
class Letter:
    """An e-mail as it was sent: what the reader sees, and the whole source."""

    subject: str
    sender: str
    sender_address: str
    recipient: str
    at: datetime | None
    html: str | None
    text: str
    headers: tuple[tuple[str, str], ...]
    source: str


def read_letter(raw: bytes) -> Letter:
    """Return the parts of an RFC 5322 message."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 the default policy makes these
    sender, address = parseaddr(str(message.get("From", "")))
    date = message.get("Date")
    return Letter(
        subject=str(message.get("Subject", "")),
        sender=sender or address,
        sender_address=address,
        recipient=parseaddr(str(message.get("To", "")))[1],
        at=getattr(date, "datetime", None),
        html=_body(message, "html"),
        text=_body(message, "plain") or "",
        headers=tuple((name, str(value)) for name, value in message.items()),
        source=raw.decode("utf-8", "replace"),
    )


def to_look_at(html: str) -> str:
    """Return a mail's HTML without its tracking pixel, other pictures by their alt text, its links opening windows of their own.

    It is served under `security.MAIL_POLICY`, which forbids scripts and every request.
    """
    quiet = _IMAGE.sub(lambda image: "" if _PIXEL.search(image[0]) else _SOURCE.sub("", image[0]), html)
    found = _HEAD.search(quiet) or _DOCTYPE.match(quiet)
    at = found.end() if found else 0
    return f"{quiet[:at]}{_BASE}{quiet[at:]}"


def with_plain_links(html: str, public_url: str, target: Callable[[str], str | None]) -> str:
    """Return HTML whose tracked links lead straight to where they would lead; `target` knows a token's address."""
    from html import escape

    tracked = re.compile(re.escape(public_url.rstrip("/")) + r"/c/([A-Za-z0-9_-]{36,48})")

    def plain(match: re.Match[str]) -> str:
        address = target(match[1])
        return match[0] if address is None else escape(address)

    return tracked.sub(plain, html)


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else str(part.get_content())


_UNSEEN = re.compile(r"<(head|style|script|title)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)
#: What senders put after the preview line, so that mailboxes show nothing more: runs of invisible characters and spaces.
_FILLING = re.compile(r"(?:[\u00ad\u034f\u200b-\u200d\u2060\ufeff]\s*){3,}")


def first_words(html: str) -> str:
    """Return what a mailbox shows beside the subject: the mail's first words, the hidden preview line before all others."""
    from html import unescape

    text = unescape(_UNSEEN.sub(" ", html))
    return " ".join(_FILLING.split(text.lstrip(), maxsplit=1)[0].split())[:140]
