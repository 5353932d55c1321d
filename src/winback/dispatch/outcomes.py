"""Write what gateways answered into the ledger, and do what follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from winback import ledger
from winback.addresses import hash_address
from winback.dispatch.backoff import wait_before_retry
from winback.dispatch.coupons import take_back_coupons
from winback.dispatch.journal import Answer, Handover
from winback.gateways.base import Accepted, Gateway, Outcome, Refused, Retry, Unknown
from winback.ledger import Claimed, Move
from winback.policy import plan_fallbacks
from winback.project import Project
from winback.store import Channel, MessageState, SuppressionReason, customers, message_history
from winback.store.consent import suppress

#: Reason of messages that were tried as often as the settings allow.
ATTEMPTS = "attempts"

#: Reason of messages whose answer never came, and which go again because their campaign says so.
RESENT = "resent"

#: An e-mail address, or a number as long as a phone's, in a gateway's words.
_ADDRESS = re.compile(r"<?[^\s<>:,;()]+@[^\s<>:,;()]+>?|\+?\d[\d -]{5,}\d")

#: Letters of a gateway's words that are looked at.
_WORDS = 500

#: Said of messages whose answer nobody can give any more.
NO_ANSWER = Unknown("the answer never came")


@dataclass(slots=True)
class Answered:
    """A claimed message with its gateway's answer."""

    claim: Claimed
    handover: Handover
    answer: Answer


@dataclass(frozen=True)
class Skip:
    """A claimed message that will not go, and why."""

    claim: Claimed
    reason: str
    detail: str | None = None


@dataclass
class Counts:
    """What became of the messages that were recorded."""

    sent: int = 0
    retrying: int = 0
    failed: int = 0
    uncertain: int = 0
    given_back: int = 0


def record(
    connection: Connection, project: Project, answered: Sequence[Answered], *, now: datetime, worker: str, holder: str
) -> Counts:
    """Write answers into the ledger for messages that the dispatcher `holder` holds; return what became of them.

    A message whose dispatcher was given up meanwhile is uncertain; that it was accepted is still recorded. One whose answer never
    came is planned again where its campaign says so.
    """
    limit = project.settings.dispatch.attempts
    moves = {each.claim.id: _move(each, limit) for each in answered}
    moved = ledger.apply(connection, list(moves.values()), now=now, worker=worker, claimed_by=holder)
    accepted_late = [
        Move(move.message_id, MessageState.UNCERTAIN, MessageState.SENT, detail=move.detail, values=move.values)
        for move in moves.values()
        if move.message_id not in moved and move.target is MessageState.SENT
    ]
    ledger.apply(connection, accepted_late, now=now, worker=worker)
    bounced = [each for each in answered if each.claim.id in moved and _is_hard_bounce(each)]
    if bounced:
        _suppress(connection, project, bounced, now)
        plan_fallbacks(connection, project, [each.claim.id for each in bounced], now=now, worker=worker)
    gone = (MessageState.SENT, MessageState.UNCERTAIN)
    take_back_coupons(connection, [id_ for id_ in moved if moves[id_].target not in gone])
    counts = _counted(moves.values())
    resent = _plan_again(connection, project, [each for each in answered if each.claim.id in moved], now=now, worker=worker)
    counts.uncertain -= resent
    counts.retrying += resent
    return counts


def skip(connection: Connection, skips: Sequence[Skip], *, now: datetime, worker: str, holder: str) -> None:
    """Write that messages will not go."""
    moves = [Move(each.claim.id, MessageState.SENDING, MessageState.SKIPPED, each.reason, each.detail) for each in skips]
    moved = ledger.apply(connection, moves, now=now, worker=worker, claimed_by=holder)
    take_back_coupons(connection, sorted(moved))


def give_back(
    connection: Connection, claims: Sequence[Claimed], *, now: datetime, worker: str, holder: str, reason: str | None = None
) -> None:
    """Let messages wait as before that were claimed and never handed over; it costs them no attempt."""
    moves = [Move(claim.id, MessageState.SENDING, MessageState.PLANNED, reason) for claim in claims]
    moved = ledger.apply(connection, moves, now=now, worker=worker, claimed_by=holder)
    take_back_coupons(connection, sorted(moved))


def ask_again(gateway: Gateway | None, message_ids: Sequence[str]) -> dict[str, Outcome]:
    """Ask a gateway what became of messages whose answer was lost; what it cannot say stays unknown.

    That one was not accepted is no answer to an attempt, so it costs none.
    """
    if not message_ids:
        return {}
    try:
        told: Mapping[str, Outcome | None] = gateway.settle(message_ids) if gateway is not None else {}
    except Exception:  # a gateway that cannot be asked knows nothing
        told = {}
    answers = {message_id: told.get(message_id) or NO_ANSWER for message_id in message_ids}
    return {
        message_id: Retry(answer.reason, whole_gateway=True, reply=answer.reply) if isinstance(answer, Retry) else answer
        for message_id, answer in answers.items()
    }


def impersonal(reason: str) -> str:
    """Return a gateway's words without addresses and numbers: servers quote them, and reasons are shown, counted and kept."""
    return _ADDRESS.sub("…", reason[:_WORDS])


def _move(answered: Answered, limit: int) -> Move:
    claim, outcome = answered.claim, answered.answer.outcome
    reason = "" if isinstance(outcome, Accepted) else impersonal(outcome.reason)
    tried = claim.attempts + 1
    kept = {"gateway": answered.handover.gateway, "attempts": tried, "redirected": answered.handover.redirected}
    source = MessageState.SENDING
    match outcome:
        case Accepted():
            kept |= {
                "provider_id": _cut(outcome.provider_id, 200),
                "subject": _cut(answered.handover.subject, 500),
                "segments": answered.handover.segments,
                "sent_at": answered.answer.at,
            }
            return Move(claim.id, source, MessageState.SENT, detail=outcome.reply or None, values=kept)
        case Retry(whole_gateway=True):
            return Move(claim.id, source, MessageState.PLANNED, reason, outcome.reply or None)
        case Retry() if tried >= limit:
            detail = f"{reason}: {outcome.reply}" if outcome.reply else reason
            return Move(claim.id, source, MessageState.FAILED, ATTEMPTS, detail, kept)
        case Retry():
            later = answered.answer.at + wait_before_retry(claim.id, tried, outcome.after)
            values = {"attempts": tried, "next_attempt_at": later}
            return Move(claim.id, source, MessageState.PLANNED, reason, outcome.reply or None, values)
        case Refused():
            return Move(claim.id, source, MessageState.FAILED, reason, outcome.reply or None, kept)
        case Unknown():
            kept |= {"subject": _cut(answered.handover.subject, 500), "segments": answered.handover.segments}
            return Move(claim.id, source, MessageState.UNCERTAIN, reason, outcome.reply or None, kept)


def _plan_again(connection: Connection, project: Project, answered: Sequence[Answered], *, now: datetime, worker: str) -> int:
    """Plan messages again whose answer never came, where their campaign says so; return how many.

    Each goes again once, and not when it would be late: a server that takes messages and never answers would else fill inboxes.
    """
    limit = project.settings.dispatch.attempts
    again: dict[str, datetime] = {}
    for each in answered:
        campaign, tried = project.campaigns.get(each.claim.campaign), each.claim.attempts + 1
        if isinstance(each.answer.outcome, Unknown) and campaign and campaign.on_uncertain == "resend" and tried < limit:
            later = each.answer.at + wait_before_retry(each.claim.id, tried)
            if later <= each.claim.valid_until:
                again[each.claim.id] = later
    if not again:
        return 0
    # Their newest time is among those counted here.
    times = (
        select(message_history.c.message_id)
        .where(message_history.c.message_id.in_(again), message_history.c.to_state == MessageState.UNCERTAIN)
        .group_by(message_history.c.message_id)
        .having(func.count() > 1)
    )
    for message_id in connection.scalars(times).all():
        del again[message_id]
    moves = [
        Move(message_id, MessageState.UNCERTAIN, MessageState.PLANNED, RESENT, values={"next_attempt_at": later})
        for message_id, later in again.items()
    ]
    return len(ledger.apply(connection, moves, now=now, worker=worker))


def _is_hard_bounce(answered: Answered) -> bool:
    """Say whether the customer's address does not exist; one that the message was redirected to is not theirs."""
    outcome = answered.answer.outcome
    return isinstance(outcome, Refused) and outcome.hard_bounce and not answered.handover.redirected


def _suppress(connection: Connection, project: Project, bounced: Sequence[Answered], now: datetime) -> None:
    """Put addresses that do not exist on the list that nobody may write to."""
    ids = sorted({each.claim.customer_id for each in bounced})
    people = {row.id: row for row in connection.execute(select(customers).where(customers.c.id.in_(ids)))}
    for each in bounced:
        person = people[each.claim.customer_id]
        if Channel(each.claim.channel) is Channel.EMAIL:
            address, address_hash = person.email, person.email_hash
        else:
            address, address_hash = person.phone, person.phone_hash
        if address_hash is None and address is not None:
            address_hash = hash_address(address, project.key("address"))
        if address_hash is not None:
            source = f"gateway {each.handover.gateway}"
            suppress(connection, each.claim.channel, address_hash, SuppressionReason.HARD_BOUNCE, now, source)


def _counted(moves: Iterable[Move]) -> Counts:
    counts = Counts()
    for move in moves:
        match move.target:
            case MessageState.SENT:
                counts.sent += 1
            case MessageState.FAILED:
                counts.failed += 1
            case MessageState.UNCERTAIN:
                counts.uncertain += 1
            case _ if "attempts" in move.values:
                counts.retrying += 1
            case _:
                counts.given_back += 1
    return counts


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]
