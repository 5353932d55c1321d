"""What a receipt says of a message we sent: it arrived, it bounced, or somebody complained about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from winback import ledger
from winback.gateways.base import ReceiptEvent
from winback.ledger import Move
from winback.policy import plan_fallbacks
from winback.project import Project
from winback.store import BounceReason, Channel, MessageState, Purpose, SuppressionReason, customers, messages, receipts
from winback.store.consent import suppress
from winback.track import receipt_log, soft_bounces, unsubscribe
from winback.track.receipt_log import MAILBOX, Desk, Entry

_CHUNK = 500

#: So many of a shop's newest receipts are looked at again for messages that were not in the ledger yet, or still on their way.
_AGAIN = 1_000

_ARRIVED = (MessageState.SENT, MessageState.UNCERTAIN)
_NOT_BOUNCED = (*_ARRIVED, MessageState.DELIVERED)

#: Bounces that count against no address.
_CAUSES = {"us": BounceReason.BLOCKED, "unclear": BounceReason.UNCLEAR}


@dataclass(frozen=True)
class _Report:
    """One thing that was reported, and the message it is about."""

    kind: str
    at: datetime
    hard_bounce: bool
    recipient: str | None
    text: str
    message: Row[Any] | None
    cause: str = "address"

    @property
    def reason(self) -> str | None:
        """Return what the history says of it."""
        if self.kind == "bounced":
            return BounceReason.HARD if self.hard_bounce else _CAUSES.get(self.cause, BounceReason.SOFT)
        return SuppressionReason.COMPLAINT if self.kind == "complained" else None


def take(desk: Desk, events: Sequence[ReceiptEvent]) -> Counter[str]:
    """Write down what was reported and do what follows from it; return how many reports were new, and about unknown messages."""
    known = find_messages(desk, [event.provider_id for event in events])
    entries = []
    for event in events:
        message = known.get(event.provider_id)
        own = event.report_id or event.provider_id
        key = own or receipt_log.digest(event.kind, event.recipient or "", str(event.at), event.text)
        entries.append(Entry(event, key, None if message is None else message.id))
    fresh = receipt_log.keep(desk, entries)
    reports = [_report(desk, entry.event, known.get(entry.event.provider_id)) for entry in fresh]
    _settle(desk, reports)
    return Counter(new=len(reports), unknown=sum(report.message is None for report in reports))


def settle_late(connection: Connection, project: Project, now: datetime) -> int:
    """Settle receipts of every gateway that came before their message was in the ledger as sent; return how many could be."""
    names = dict.fromkeys((*project.settings.gateways, MAILBOX))
    return sum(catch_up(Desk(connection, project, name, now))["late"] for name in names)


def catch_up(desk: Desk) -> Counter[str]:
    """Look again at one gateway's receipts that came before their message was in the ledger as sent; return how many were."""
    newest = desk.connection.scalar(select(func.max(receipts.c.id))) or 0
    same = or_(
        messages.c.id == receipts.c.message_id,
        and_(
            receipts.c.message_id.is_(None),
            messages.c.gateway == receipts.c.gateway,
            messages.c.provider_id == receipts.c.provider_id,
        ),
    )
    open_ = or_(
        receipts.c.message_id.is_(None),
        messages.c.state.in_(_ARRIVED),
        and_(receipts.c.kind == "bounced", messages.c.state == MessageState.DELIVERED),
    )
    rows = desk.connection.execute(
        select(receipts, messages.c.id.label("found"))
        .join(messages, same)
        .where(
            receipts.c.id > newest - _AGAIN,
            receipts.c.gateway == desk.gateway,
            receipts.c.kind != "replied",
            open_,
            messages.c.state.not_in([MessageState.PLANNED, MessageState.SENDING]),
        )
        .order_by(receipts.c.id)
    ).all()
    known = _locked(desk, [row.found for row in rows])
    reports = []
    for row in rows:
        if row.message_id is None:
            desk.connection.execute(update(receipts).where(receipts.c.id == row.id).values(message_id=row.found))
        cause = str(row.raw.get("cause"))
        hard = row.raw.get("hard_bounce") is True and cause not in _CAUSES
        reports.append(_Report(row.kind, row.at, hard, None, "", known[row.found], cause))
    _settle(desk, reports)
    return Counter(late=len(reports))


def find_messages(desk: Desk, provider_ids: Iterable[str]) -> dict[str, Row[Any]]:
    """Return messages by the provider's id for them, or by our own where a provider gives that back; their rows are locked."""
    wanted = sorted(set(provider_ids) - {""})
    found: dict[str, str] = {}
    for start in range(0, len(wanted), _CHUNK):
        part = wanted[start : start + _CHUNK]
        own = messages.c.id.in_([text for text in part if _is_own(text)])
        gateways = [*desk.project.settings.gateways] if desk.any_gateway else [desk.gateway]
        theirs = and_(messages.c.gateway.in_(gateways), messages.c.provider_id.in_(part))
        # Our own id counts for what this gateway sent, or may have sent: an uncertain message has no provider's id.
        ours = own if desk.any_gateway else and_(own, or_(messages.c.gateway == desk.gateway, messages.c.gateway.is_(None)))
        query = select(messages.c.id, messages.c.provider_id).where(or_(theirs, ours)).order_by(messages.c.sent_at, messages.c.id)
        for row in desk.connection.execute(query):
            found[row.id] = row.id
            if row.provider_id is not None:
                found[row.provider_id] = row.id
    rows = _locked(desk, sorted({found[text] for text in wanted if text in found}))
    return {text: rows[found[text]] for text in wanted if text in found}


def _is_own(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _locked(desk: Desk, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Return messages with their customers' addresses, locked in one order so that two calls never wait for each other."""
    rows: dict[str, Row[Any]] = {}
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _CHUNK):
        query = (
            select(messages, customers.c.email_hash, customers.c.phone_hash)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(messages.c.id.in_(ordered[start : start + _CHUNK]))
            .order_by(messages.c.id)
            .with_for_update(of=messages)
        )
        rows.update((row.id, row) for row in desk.connection.execute(query))
    return rows


def _report(desk: Desk, event: ReceiptEvent, message: Row[Any] | None) -> _Report:
    hard = event.hard_bounce and event.cause not in _CAUSES
    return _Report(event.kind, desk.moment(event.at), hard, event.recipient, event.text, message, event.cause)


def _settle(desk: Desk, reports: Sequence[_Report]) -> None:
    """Move the messages, and block the addresses that do not exist or whose owner complained."""
    chains: dict[str, list[Move]] = {}
    states: dict[str, MessageState] = {}
    fell_back = []
    soft = []
    for report in reports:
        message = report.message
        if message is None:
            continue
        source = states.get(message.id, MessageState(message.state))
        target = _target(report.kind, source)
        if target is not None:
            chains.setdefault(message.id, []).append(_move(report, source, target))
            states[message.id] = target
            if message.redirected:
                pass  # it tells of the address that got the message instead
            elif target is MessageState.BOUNCED and report.hard_bounce:
                fell_back.append(message.id)
            elif target is MessageState.BOUNCED and report.reason == BounceReason.SOFT:
                soft.append(message)
    for step in zip_longest(*chains.values()):
        ledger.apply(desk.connection, [move for move in step if move is not None], now=desk.now, worker=desk.name)
    for report in reports:
        if report.kind == "complained" or (report.kind == "bounced" and report.hard_bounce):
            _block(desk, report)
    for message in soft:
        address = _address_of(message)
        if address is not None and soft_bounces.is_too_many(desk.connection, message.customer_id, *address, now=desk.now):
            suppress(desk.connection, *address, SuppressionReason.SOFT_BOUNCES, desk.now, f"gateway {desk.gateway}")
    plan_fallbacks(desk.connection, desk.project, fell_back, now=desk.now, worker=desk.name)


def _target(kind: str, source: MessageState) -> MessageState | None:
    if kind == "bounced":
        return MessageState.BOUNCED if source in _NOT_BOUNCED else None
    # Who complains has got it.
    return MessageState.DELIVERED if source in _ARRIVED else None


def _move(report: _Report, source: MessageState, target: MessageState) -> Move:
    assert report.message is not None  # noqa: S101 - asked before
    at = report.at if report.message.sent_at is None else max(report.at, report.message.sent_at)
    values: dict[str, Any] = {"delivered_at": at} if target is MessageState.DELIVERED else {}
    if source is MessageState.UNCERTAIN:  # now we know that it had gone
        values["sent_at"] = report.message.sent_at or at
    return Move(report.message.id, source, target, report.reason, report.text or None, values)


def _block(desk: Desk, report: _Report) -> None:
    """Let nobody write to the address any more; a complaint is a no as well, on every channel and for the next address too."""
    message = report.message
    if message is not None and message.redirected:
        return  # neither the address nor the opinion is the customer's
    address = desk.address(report.recipient) or _address_of(message)
    complained = report.kind == "complained"
    if address is not None:
        reason = SuppressionReason.COMPLAINT if complained else SuppressionReason.HARD_BOUNCE
        suppress(desk.connection, *address, reason, report.at, f"gateway {desk.gateway}")
    if not complained:
        return
    people: Sequence[int] = []
    if message is not None:
        unsubscribe.unsubscribe(desk.connection, message.id, desk.now, unsubscribe.COMPLAINT)
        people = [message.customer_id]
    elif address is not None:
        people = desk.people(address)
    for customer_id in people:
        for channel in Channel:
            unsubscribe.withdraw(desk.connection, customer_id, channel, Purpose.MARKETING, desk.now, unsubscribe.COMPLAINT)


def _address_of(message: Row[Any] | None) -> tuple[Channel, str] | None:
    if message is None:
        return None
    channel = Channel(message.channel)
    address_hash = message.email_hash if channel is Channel.EMAIL else message.phone_hash
    return None if address_hash is None else (channel, address_hash)
