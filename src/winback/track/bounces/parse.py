"""Read one mail of the mailbox: bytes in, what it says out. Whatever the bytes are, nothing fails."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import Literal, TypeVar

from winback.gateways.smtp.verdicts import Phase
from winback.track.bounces.automatic import is_automatic, without_prefix
from winback.track.bounces.mail import LARGEST, Mail, header_text, read_headers, read_mail
from winback.track.bounces.report import Kind, LinkToken, Report
from winback.track.bounces.rules import Diagnosis, classify
from winback.track.bounces.written import own_text

logger = logging.getLogger(__name__)

_Found = TypeVar("_Found")

_WORDS = 1000  # letters of what a server said that are kept
_NAMED = 10  # ids, tokens and addresses of one mail that are looked at

_STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status")  # RFC 3464, RFC 6533
_RETURNED_PARTS = (
    *("message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers"),
    "message/partial",
)
_TEXT_PARTS = ("text/plain", "text/html")

_ADDRESS = re.compile(r"[^\s<>\"'(),:;\[\]]{1,64}@[^\s<>\"'(),:;\[\]]{1,255}")
_MESSAGE_ID = re.compile(r"^[>\s]{0,10}(?:X-)?(?:Original-)?Message-ID:\s*<([^@<>\s]{1,200})@", re.I | re.M)
_ID = re.compile(r"<([^@<>\s]{1,200})@[^<>\s]{1,255}>")
_TOKEN = re.compile(r"/([cou])/([A-Za-z0-9_-]{36,48})(?![A-Za-z0-9_-])")
_TOKEN_KINDS: dict[str, Literal["click", "open", "unsubscribe"]] = {"c": "click", "o": "open", "u": "unsubscribe"}

_CODE = re.compile(r"(?:\A|[\s:#(])([45]\d\d)(?=[\s-])")
_ENHANCED = re.compile(r"(?:\A|[\s:#(<-])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_CODES_AHEAD = re.compile(r"\A\s*(?:[245]\d\d[\s-]+)?(?:[245]\.\d{1,3}\.\d{1,3}\s+)?")

#: What was being said when a server refused, in the words of Postfix, Exim, sendmail and qmail.
_PHASES: tuple[tuple[Phase, re.Pattern[str]], ...] = (
    ("end", re.compile(r"end of data|end of \.|\bDATA command|after (the )?message|failed after I sent the message", re.I)),
    ("rcpt", re.compile(r"RCPT TO|does not like recipient|\brcpt\b", re.I)),
    ("mail", re.compile(r"MAIL FROM|does not like sender", re.I)),
    (
        "greeting",
        re.compile(r"refused to talk to|initial (connection|greeting)|while (sending|performing) the (EHLO|HELO)", re.I),
    ),
)


def parse(content: bytes) -> Report:
    """Return what a mail says, by its first bytes; what is nothing for us, or cannot be read, is `other`."""
    try:
        mail = read_mail(content)
        report = next((found for reader in _READERS for found in [reader(mail)] if found is not None), _report(mail, Kind.OTHER))
        return replace(report, mail_id=_mail_id(mail, report))
    except Exception as error:  # anybody may have written it, to break something
        logger.warning("mail_unreadable error=%s", type(error).__name__)
        return Report(Kind.OTHER, _digest(content[:LARGEST]))


def _report(mail: Mail, kind: Kind, **more: object) -> Report:
    report = Report(kind, "", mail.at, mail.address("From")[:320], mail.header("Subject")[:500])
    return replace(report, **more)  # type: ignore[arg-type]


def _mail_id(mail: Mail, report: Report) -> str:
    """Return an id that does not depend on the way by which the mail came, as its Received lines do."""
    parts = [mail.header(name) for name in ("Message-ID", "Date", "From", "Subject")]
    parts += [report.kind, *report.message_ids, *report.recipients, report.diagnostic, report.text]
    return _digest("\x1f".join(parts).encode("utf-8", "replace"))


def _digest(content: bytes) -> str:
    return "mail:" + blake2b(content, digest_size=16).hexdigest()


# Complaints


def _complaint(mail: Mail) -> Report | None:
    """Read a complaint: the Abuse Reporting Format (RFC 5965), or Microsoft's older one, which only attaches the letter."""
    fields = _first_fields(mail.text_of("message/feedback-report"))
    returned = _returned(mail)
    older = _first_line_of(returned, "X-HmXmrOriginalRecipient") if mail.address("From").endswith("@hotmail.com") else ""
    if not fields and not older:
        return None
    # "not-spam" takes a complaint back; "auth-failure" (RFC 6591) tells of forgeries.
    complains = not fields or fields.get("feedback-type", "").lower() in ("abuse", "fraud", "virus", "other")
    named = [fields.get("original-rcpt-to", ""), older, fields.get("removal-recipient", "")]
    return _about_a_letter(
        mail,
        Kind.COMPLAINT if complains else Kind.OTHER,
        returned,
        recipients=_addresses(" ".join(named)),
        diagnostic=fields.get("user-agent", "")[:_WORDS],
        reason="reported as spam",
    )


# Letters that came back


def _status_report(mail: Mail) -> Report | None:
    """Read a delivery status notification (RFC 3464). A letter of ours has one recipient, so the worst that is told counts."""
    blocks = [block for block in _blocks(mail.text_of(*_STATUS_PARTS)) if "final-recipient" in block or "action" in block]
    if not blocks:
        return None
    worst = min(blocks, key=lambda block: _ACTIONS.index(_action(block)))
    action = _action(worst)
    named = _addresses(f"{worst.get('original-recipient', '')} {worst.get('final-recipient', '')}")
    human = mail.text_of(*_TEXT_PARTS)
    if action != "failed":
        kind = {"delayed": Kind.DELAYED, "delivered": Kind.DELIVERED}.get(action, Kind.OTHER)
        return _about_a_letter(mail, kind, _returned(mail), recipients=named, status=_enhanced(worst.get("status", "")))
    said = re.sub(r"^[\w.-]{1,40}\s*;\s*", "", worst.get("diagnostic-code", "")) or worst.get("x-supplementary-info", "")
    status = _enhanced(worst.get("status", ""))
    if not said and status in ("", "5.0.0", "4.0.0"):
        said = _said_of(named, human)
    return _bounced(mail, said, status, named, human)


#: From the worst to what nobody needs to know.
_ACTIONS = ("failed", "delayed", "delivered", "")


def _action(block: dict[str, str]) -> str:
    word = block.get("action", "").split(" ")[0].lower()
    if not word and block.get("status", "").strip()[:1] in ("4", "5"):
        return "failed"
    return word if word in _ACTIONS else "delivered" if word == "expanded" else ""


def _plain_bounce(mail: Mail) -> Report | None:
    """Read a bounce without a part for machines: qmail, older Exim, and servers of their own make."""
    failed = _addresses(mail.header("X-Failed-Recipients"))
    human, _, _ = _split_copy(mail.text_of(*_TEXT_PARTS))
    sender = mail.address("From").partition("@")[0].lower()
    from_daemon = sender in _DAEMONS or mail.header("From").lower().startswith(("mail delivery s", "mailer-daemon"))
    if not failed and not (from_daemon and _BOUNCE_WORDS.search(f"{mail.header('Subject')}\n{human}")):
        return None
    if _STILL_TRYING.search(f"{mail.header('Subject')}\n{human}"):
        return _about_a_letter(mail, Kind.DELAYED, _returned(mail), recipients=failed)
    named = failed or _addresses("\n".join(re.findall(r"^[ \t]{0,20}<[^\s<>]{3,320}>:?", human, re.MULTILINE)[:_NAMED]))
    return _bounced(mail, _said_of(named, human), "", named, human)


_DAEMONS = frozenset({"mailer-daemon", "postmaster", "mdaemon", "mailerdaemon", "mail-daemon", "mail-delivery"})

_BOUNCE_WORDS = re.compile(
    r"undeliver|not (be )?delivered|delivery (status|failed|failure|has failed|problem)|returned mail|returning message|"
    r"failure notice|mail delivery failed|could ?n[o']t (be )?deliver|unzustellbar|nicht zugestellt|"
    r"non remis|no se pudo entregar|mancato recapito|не доставлено|недоставлен",
    re.IGNORECASE,
)

#: Exim and sendmail tell after some hours that they go on trying.
_STILL_TRYING = re.compile(
    r"not yet been delivered|delivery attempts will continue|will (keep|continue) (on )?trying|"
    r"warning: (message \S{1,40} delayed|could not send message for past)|this is a warning message only",
    re.IGNORECASE,
)


def _bounced(mail: Mail, said: str, status: str, named: tuple[str, ...], human: str) -> Report:
    words = " ".join(said.split())[:_WORDS]
    found = _CODE.search(words)
    enhanced = _enhanced(words) or ("" if status in ("5.0.0", "4.0.0") else status)
    code = int(found[1]) if found else 450 if (status or enhanced).startswith("4") else 550
    kind, reason = classify(Diagnosis(code, enhanced, _CODES_AHEAD.sub("", words), _phase(words, human)))
    return _about_a_letter(
        mail, kind, _returned(mail), recipients=named, status=enhanced or status, diagnostic=words, reason=reason
    )


def _phase(words: str, human: str) -> Phase:
    return next((phase for text in (words, human[:5000]) for phase, pattern in _PHASES if pattern.search(text)), "end")


#: One paragraph, with those before it that only announce it: "For the following reason:".
_PARAGRAPHS = re.compile(r"(?:[^\n]{1,100}:\s*\n[ \t]*\n\s*)?\S[^\n]*(?:\n[ \t]*\S[^\n]*)*")


def _said_of(named: Sequence[str], human: str) -> str:
    """Return what a text for people says of an address: the paragraph after it; else the text's beginning."""
    text, _, _ = _split_copy(human)
    for address in named:
        at = text.find(address)
        if at >= 0:
            begin = at + len(address)
            after = re.sub(r"\A[>\s:]*(?:\([^)]{1,200}\))?[>\s:]*", "", text[begin : begin + 2 * _WORDS])
            said = _PARAGRAPHS.match(after)
            if said is not None:
                return said[0][:_WORDS]
    return text[:_WORDS]


# Answers


def _disposition(mail: Mail) -> Report | None:
    """Read a notification that a letter was opened or deleted (RFC 8098): nothing follows from it."""
    return _report(mail, Kind.OTHER) if any(part.kind == "message/disposition-notification" for part in mail.parts) else None


def _newsletter(mail: Mail) -> Report | None:
    """Leave alone what goes to many people at once; it is nobody's answer."""
    return _report(mail, Kind.OTHER) if mail.header("List-Id") or mail.header("Feedback-ID") else None


def _automatic_answer(mail: Mail) -> Report | None:
    if not is_automatic(mail):
        return None
    return _report(mail, Kind.AUTOMATIC, message_ids=_answered(mail), recipients=_addresses(mail.address("From")))


def _reply(mail: Mail) -> Report | None:
    if not mail.address("From"):
        return None
    written = own_text(mail)
    return _report(mail, Kind.REPLY, message_ids=_answered(mail), text=written or without_prefix(mail.header("Subject"))[:500])


#: In this order: the first that can read a mail says what it is.
_READERS: tuple[Callable[[Mail], Report | None], ...] = (
    _complaint,
    _status_report,
    _disposition,
    _plain_bounce,
    _newsletter,
    _automatic_answer,
    _reply,
)


# Which letter it is about


def _about_a_letter(mail: Mail, kind: Kind, returned: str, **more: object) -> Report:
    """Return a report with all that tells which letter it is about: its Message-ID, and links that only we could have made."""
    ids = [found[1] for found in _first(_MESSAGE_ID.finditer(returned))]
    tokens = tuple(LinkToken(_TOKEN_KINDS[found[1]], found[2]) for found in _first(_TOKEN.finditer(returned)))
    return _report(mail, kind, message_ids=tuple(dict.fromkeys([*ids, *_answered(mail)])), tokens=tokens, **more)


def _answered(mail: Mail) -> tuple[str, ...]:
    """Return the ids of the mails that this one answers, the nearest first."""
    nearest = _ID.findall(mail.header("In-Reply-To"))
    return tuple(
        dict.fromkeys(
            [*nearest, *reversed(_ID.findall(mail.header("References"))), *_ID.findall(mail.header("X-Original-Message-ID"))]
        )
    )[:_NAMED]


def _returned(mail: Mail) -> str:
    """Return the letter, or its headers, that a report gives back; where it is no part of its own, what follows in the text."""
    parts = mail.text_of(*_RETURNED_PARTS)
    if parts:
        return parts
    _, divider, copy = _split_copy(mail.text_of(*_TEXT_PARTS))
    return copy if divider else mail.text_of(*_TEXT_PARTS)


#: What stands above the copy of a letter in a plain bounce: qmail, Exim, sendmail, Exchange, Lotus Notes, Courier.
_COPY = re.compile(
    r"^-{2,} ?(?:Below this line is a copy|Below the next line is|This is a copy|The body of the message|Original message|"
    r"Undelivered message|Returned mail|Unsent message|The header of the original message|Original message headers)[^\n]{0,200}$"
    r"|^Original message headers:\s*$",
    re.IGNORECASE | re.MULTILINE,
)


def _split_copy(text: str) -> tuple[str, str, str]:
    found = _COPY.search(text)
    return (text, "", "") if found is None else (text[: found.start()], found[0], text[found.end() :])


# Fields


def _blocks(text: str) -> Iterator[dict[str, str]]:
    """Give the groups of fields of a report for machines (RFC 3464 section 2.1), names in lower case."""
    for block in re.split(r"\n\s*\n", text.strip())[: _NAMED * 2]:
        headers = read_headers(block.lstrip().encode("utf-8", "replace"))
        fields = {name.lower(): header_text(headers, name) for name in list(headers.keys())[:40]}
        if fields:
            yield fields


def _first_fields(text: str) -> dict[str, str]:
    return next(_blocks(text), {}) if text.strip() else {}


def _first_line_of(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(\S{{1,320}})", text, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


def _addresses(text: str) -> tuple[str, ...]:
    found = (each.strip(".").lower() for each in _first(_ADDRESS.findall(text)))
    return tuple(dict.fromkeys(found))


def _enhanced(text: str) -> str:
    found = _ENHANCED.search(text)
    return found[1] if found else ""


def _first(found: Iterable[_Found]) -> list[_Found]:
    return list(islice(found, _NAMED))
