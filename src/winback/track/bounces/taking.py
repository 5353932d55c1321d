"""Find the message that a mail is about, and hand over what it says as a receipt: the same that a gateway's webhook brings.

Anybody can write to the mailbox. So only what proves itself has an effect on a person: the Message-ID of a letter in the ledger,
or a link that this shop signed, both known to nobody but who got the letter. What merely names an address is kept, and at most
ends up in the history of the newest letter to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, select

from winback.compose import tokens
from winback.errors import TokenError
from winback.gateways.base import ReceiptEvent
from winback.project import Project
from winback.store import Channel, MessageState, messages
from winback.track import deliveries, replies
from winback.track.bounces.report import BOUNCES, Kind, Report
from winback.track.receipt_log import MAILBOX, Desk, storable_event
from winback.track.stop_words import is_start, is_stop

#: Some relays put a Message-ID of their own into a letter (Amazon SES), and give it as their name for it when they take it. Such
#: a name is only trusted where it is too long to be guessed; a queue id like 4F2A1C is not.
_UNGUESSABLE = 20

#: A letter that names no letter is about the newest to its address that went at most so long ago: servers try for five days.
_BACK = timedelta(days=7)

_WENT = (MessageState.SENT, MessageState.DELIVERED)

Cause = Literal["address", "us", "unclear"]


@dataclass(frozen=True)
class Taken:
    """What became of some mails: how many were of each kind and new, and which were a machine's about one of our messages."""

    counts: Counter[str]
    settled: frozenset[str]  # by `mail_id`: no person has to look at them


def take(connection: Connection, project: Project, reports: Sequence[Report], now: datetime) -> Taken:
    """Work off mails in the caller's transaction. Doing it again changes nothing."""
    desk = Desk(connection, project, MAILBOX, now, any_gateway=True)
    named = {report.mail_id: _named(report, project.key("links")) for report in reports}
    known = deliveries.find_messages(desk, [message_id for ids in named.values() for message_id in ids])
    events: list[ReceiptEvent] = []
    settled = set()
    for report in reports:
        message = next((known[each] for each in named[report.mail_id] if each in known), None)
        if message is not None and report.kind not in (Kind.REPLY, Kind.OTHER):
            settled.add(report.mail_id)
        event = _event(desk, report, message)
        if event is not None:
            events.append(storable_event(event))
    counts = Counter(str(report.kind) for report in reports)
    counts += deliveries.take(desk, [event for event in events if event.kind != "replied"])
    counts += replies.take(desk, [event for event in events if event.kind == "replied"])
    return Taken(counts, frozenset(settled))


def _named(report: Report, key: bytes) -> list[str]:
    """Return the ids by which the message may be known: those that a signed link proves, then those that are named."""
    signed = []
    for each in report.tokens:
        try:
            signed.append(tokens.read(key, each.kind, each.token).message_id)
        except TokenError:
            continue  # somebody else's link
    return list(dict.fromkeys([*signed, *(each for each in report.message_ids if len(each) >= _UNGUESSABLE)]))


def _event(desk: Desk, report: Report, message: Row[Any] | None) -> ReceiptEvent | None:
    """Return what follows from a mail, None when nothing does and nothing of it is to be kept."""
    if report.kind in BOUNCES:
        return _bounced(desk, report, message)
    if report.kind is Kind.COMPLAINT:
        return _made(report, "complained", message)
    if report.kind in (Kind.DELIVERED, Kind.AUTOMATIC):
        # A machine that answers for a person has got the letter.
        return None if message is None else _made(report, "delivered", message)
    if report.kind is Kind.REPLY:
        return _replied(desk, report, message)
    return None


def _bounced(desk: Desk, report: Report, message: Row[Any] | None) -> ReceiptEvent:
    if message is None:
        return _made(report, "bounced", _newest(desk, report.recipients), cause="unclear")
    # A letter that was forwarded bounces from an address that is not the one it went to; so does one whose customer has another
    # address since.
    ours = not report.recipients or any(desk.address(each) == (Channel.EMAIL, message.email_hash) for each in report.recipients)
    cause: Cause = "us" if report.kind is Kind.BLOCKED else "address" if ours else "unclear"
    return _made(report, "bounced", message, cause=cause, hard_bounce=report.kind is Kind.HARD and cause == "address")


def _newest(desk: Desk, recipients: Sequence[str]) -> Row[Any] | None:
    """Return the newest letter to one of these addresses."""
    addresses = [address for address in map(desk.address, recipients) if address is not None]
    people = {person for address in addresses for person in desk.people(address)}
    if not people:
        return None
    return desk.connection.execute(
        select(messages.c.id)
        .where(
            messages.c.customer_id.in_(people),
            messages.c.channel == Channel.EMAIL.value,
            messages.c.state.in_(_WENT),
            messages.c.sent_at >= desk.now - _BACK,
        )
        .order_by(messages.c.sent_at.desc(), messages.c.id)
        .limit(1)
    ).one_or_none()


def _replied(desk: Desk, report: Report, message: Row[Any] | None) -> ReceiptEvent | None:
    """Keep answers to our letters. Of other mail only a STOP is for us: what else people write to the shop is for the shop."""
    stops = is_stop(report.text, desk.project.settings.shop.name)
    if message is None and not stops:
        return None
    # Who a mail is from can be forged; a forged no does little harm, a forged yes may do some.
    text = "" if message is None and is_start(report.text) else report.text
    return _made(report, "replied", message, recipient=report.sender, text=text)


def _made(
    report: Report, kind: Literal["delivered", "bounced", "complained", "replied"], message: Any, **more: Any
) -> ReceiptEvent:
    values: Mapping[str, Any] = {"text": report.diagnostic, **more}
    return ReceiptEvent(
        kind, "" if message is None else message.id, at=report.at, raw=_raw(report), report_id=report.mail_id, **values
    )


def _raw(report: Report) -> dict[str, Any]:
    told = {
        "mail": report.kind.value,
        "from": report.sender,
        "subject": report.subject,
        "recipients": list(report.recipients),
        "status": report.status,
        "diagnostic": report.diagnostic,
        "reason": report.reason,
        "text": report.text,
    }
    return {name: value for name, value in told.items() if value}
