"""A message's bytes as SMTP wants them, and whether a server can take them at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parseaddr
from functools import lru_cache

from winback.gateways.base import Outcome, Outgoing, Refused, WireForm

#: A line that begins with a dot, or a CR that no LF follows.
_NEEDS_WORK = re.compile(rb"\r(?!\n(?!\.))")
#: An LF without its CR. Together with a dot it could end the message early for some servers ("SMTP smuggling", CVE-2023-51764).
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_LINE_END = re.compile(rb"\r\n|\r|\n")

#: What may stand between < and >: no spaces, controls or brackets, and a domain (RFC 5321 section 4.1.2, without comments).
_PATH = re.compile(r"[^\x00-\x20\x7f-\x9f<>@]+@[^\x00-\x20\x7f-\x9f<>@]+\Z")
#: RFC 5321 section 4.5.3.1.3.
_PATH_LIMIT = 254


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server said it can do."""

    pipelining: bool = False
    eight_bit: bool = False
    utf8: bool = False
    size: int | None = None  # bytes of the largest message, None where it names no limit
    names_size: bool = False  # whether MAIL may say the size
    starttls: bool = False
    auth: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Delivery:
    """A message on its way: the bytes it needs on one connection, and what became of it there."""

    message: Outgoing
    mail: bytes = b""
    recipient: bytes = b""
    body: bytes = b""  # dot-stuffed, ends with CRLF, without the final dot
    refusal: Outcome | None = None  # what went wrong before the content
    recipient_refused: bool = False
    handed_over: bool = False
    tries: int = 0  # on how many connections something went wrong
    trouble_since: float = 0  # when it did for the first time, by the loop's clock

    def again(self) -> None:
        """Forget what one connection did with it."""
        self.refusal = None
        self.recipient_refused = self.handed_over = False


def prepare(delivery: Delivery, capabilities: Capabilities, envelope_from: str | None) -> Refused | None:
    """Make a delivery's bytes for a server, or return why that server can never take it."""
    message = delivery.message
    content, recipient = message.content, message.recipient
    if message.channel != "email" or not content:
        return Refused("this gateway carries e-mail only, and the message has no e-mail content")
    sender = envelope_from or message.envelope_from or _bare(message.sender)
    for address, whose in ((recipient, "recipient"), (sender, "sender")):
        if not _PATH.match(address) or len(address) > _PATH_LIMIT:
            return Refused(f"the {whose}'s address cannot be written in an envelope")
    parameters = ""
    if not (recipient.isascii() and sender.isascii()):
        if not capabilities.utf8:
            return Refused("the address has letters outside ASCII, and the mail server cannot handle them (SMTPUTF8)")
        parameters = " SMTPUTF8"
    if capabilities.eight_bit:
        parameters += "" if content.isascii() else " BODY=8BITMIME"
    elif not content.isascii():
        return Refused("the message has bytes outside ASCII, and the mail server cannot handle them (8BITMIME)")
    body = content if isinstance(content, WireForm) else wire_form(content)
    if capabilities.names_size:
        size = len(content)
        if capabilities.size is not None and size > capabilities.size:
            return Refused(f"the message is too large: {size} bytes, and the mail server takes {capabilities.size}")
        parameters = f" SIZE={size}{parameters}"
    delivery.mail = f"MAIL FROM:<{sender}>{parameters}\r\n".encode()
    delivery.recipient = f"RCPT TO:<{recipient}>\r\n".encode()
    delivery.body = body
    return None


@lru_cache(maxsize=64)
def _bare(sender: str) -> str:
    """Return the address of a sender with a name, which is the same in many messages."""
    return parseaddr(sender)[1]


def wire_form(content: bytes) -> bytes:
    """Return content with CRLF line ends, also at its end, and dots doubled at the beginning of lines (RFC 5321, 4.5.2)."""
    if not content.endswith(b"\r\n"):
        content += b"" if content.endswith((b"\r", b"\n")) else b"\r\n"
    if _NEEDS_WORK.search(content) or _BARE_LF.search(content):
        content = _LINE_END.sub(b"\r\n", content).replace(b"\r\n.", b"\r\n..")
    return b"." + content if content.startswith(b".") else content
