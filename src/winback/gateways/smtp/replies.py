"""What a mail server answers, as RFC 5321 section 4.2 and RFC 3463 write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

#: A reply's line: three digits, and a hyphen where more lines follow (RFC 5321 section 4.2.1).
_LINE = re.compile(rb"[2-5]\d\d(?:[ -]|\Z)")

_ENHANCED = re.compile(r"\A\s*([245]\.\d{1,3}\.\d{1,3})(?:\s|\Z)")

#: Where servers put the name of a message they have taken. Postfix, SendGrid and Mailpit; Exim; Exchange; sendmail; Haraka;
#: and Amazon SES, which gives the bare name.
_QUEUE_ID = re.compile(
    r"queued as <?([^\s>]+)|\bid=([^\s>]+)|\[InternalId=(\d+)|\s([^\s<>]+) Message accepted for delivery"
    r"|Queued \(([0-9A-Fa-f.-]+)\)|\A250 Ok:? ([0-9a-fA-F-]{16,})\Z",
    re.IGNORECASE,
)

_SOON = re.compile(r"\b(?:in|for|after|wait) (?:about )?(\d{1,5}) ?(s|sec|seconds?|m|min|minutes?|h|hours?)\b", re.IGNORECASE)
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


def is_reply_line(line: bytes) -> bool:
    """Say whether a line can be part of a reply."""
    return _LINE.match(line) is not None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its code, and its lines as they came."""

    code: int
    raw: str

    @classmethod
    def of(cls, lines: list[bytes]) -> Reply:
        """Return the reply that lines make; control characters in them become question marks."""
        raw = "\n".join([_printable(line.decode("utf-8", "replace")) for line in lines])
        return cls(int(lines[-1][:3]), raw)

    @property
    def lines(self) -> list[str]:
        """Return the lines without their codes."""
        return [line[4:] for line in self.raw.split("\n")]

    @property
    def enhanced(self) -> str:
        """Return the enhanced status code, such as 5.1.1, or ''."""
        found = _ENHANCED.match(self.raw[4:])
        return found[1] if found else ""

    @property
    def text(self) -> str:
        """Return the words, on one line, without the codes."""
        lines = (_ENHANCED.sub("", line).strip() for line in self.lines)
        return " ".join(line for line in lines if line)

    @property
    def queue_id(self) -> str | None:
        """Return the server's name for a message it has taken, where its reply tells."""
        found = _QUEUE_ID.search(self.raw)
        return next((name for name in found.groups() if name), None) if found else None

    @property
    def after(self) -> timedelta | None:
        """Return how long the server says to wait: "greylisted, try again in 300 seconds"."""
        found = _SOON.search(self.text)
        return int(found[1]) * _UNITS[found[2][0].lower()] if found else None


def _printable(line: str) -> str:
    return line if line.isprintable() else "".join(each if each.isprintable() else "?" for each in line)
