"""Take what is due and may go: the claim, and the rules asked once more for what was claimed, in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from winback import ledger
from winback.dispatch import pauses
from winback.dispatch.coupons import give_coupons
from winback.dispatch.pace import Pace
from winback.dispatch.pauses import GatewayPause
from winback.dispatch.result import DispatchResult
from winback.errors import WinbackError
from winback.ledger import Claimed, Move
from winback.policy import Action, Asked, Verdict, paused_campaigns, recheck_known
from winback.project import Project
from winback.store import MessageState

#: Key of the PostgreSQL advisory lock for claims ("claim" in digits on a phone's keypad).
_ADVISORY_KEY = 25246

#: How long the messages of a campaign wait whose rules cannot be asked.
_BROKEN = timedelta(hours=1)

#: Reason of messages whose campaign's rules cannot be asked.
RULES_FAILED = "rules_failed"


@dataclass
class Taken:
    """What one claim brought: the messages to send, all that were claimed counted, or why nothing could be taken.

    `until` is when more may go, where the gateway's limits let nothing through. `on_trial` says that the gateway had trouble, and
    is tried with one message.
    """

    claims: list[Claimed] = field(default_factory=list)
    count: int = 0
    paused: GatewayPause | None = None
    until: datetime | None = None
    on_trial: bool = False


def take(
    connection: Connection,
    project: Project,
    gateway: str,
    channels: Collection[str],
    *,
    now: datetime,
    worker: str,
    result: DispatchResult,
    pace: Pace | None = None,
) -> Taken:
    """Claim one batch for a gateway and return what of it is to be sent; the rest goes where the rules want it.

    Commit before anything leaves. Consent, caps and the other rules hold as of this transaction.
    """
    _one_at_a_time(connection)
    paused, in_doubt = pauses.standing(connection, gateway, channels, now)
    if paused is not None:
        return Taken(paused=paused)
    limit = 1 if in_doubt else project.settings.dispatch.batch
    choice = pace.choose(connection, now, limit) if pace is not None else None
    if choice is not None and not choice.ids:
        return Taken(until=choice.until)
    only = choice.ids if choice is not None else None
    claims = ledger.claim(connection, worker=worker, now=now, limit=limit, channels=channels, only=only, version=project.version)
    verdicts = _verdicts(connection, project, claims, now, result)
    if verdicts:
        moves = [_move(message_id, verdict, now) for message_id, verdict in verdicts.items()]
        ledger.apply(connection, moves, now=now, worker=worker, claimed_by=worker)
    going = [claim for claim in claims if claim.id not in verdicts]
    give_coupons(connection, project, going, now)
    if pace is not None and choice is not None:
        pace.reserve(connection, [claim.id for claim in going], choice.ids, now)
    if in_doubt and going:
        pauses.begin_trial(connection, gateway, now)
    _count(verdicts, result)
    result.taken += len(claims)
    return Taken(going, len(claims), on_trial=in_doubt)


def _one_at_a_time(connection: Connection) -> None:
    """Let one dispatcher claim at a time on PostgreSQL too, as SQLite's writers do.

    Two that claim messages to one person at once would not see each other's, and each would find room under the caps. Two that
    claim for one gateway would both find room within its limits.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})


def _verdicts(
    connection: Connection, project: Project, claims: Sequence[Claimed], now: datetime, result: DispatchResult
) -> dict[str, Verdict]:
    """Ask the rules, each campaign on its own: one whose rules cannot be asked does not stop the others."""
    if not claims:
        return {}
    by_campaign: dict[str, list[Asked]] = defaultdict(list)
    for claim in claims:
        by_campaign[claim.campaign].append(Asked(claim.id, claim.campaign, claim.step, claim.channel))
    paused = paused_campaigns(connection)
    verdicts: dict[str, Verdict] = {}
    for campaign, asked in by_campaign.items():
        try:
            with _survived(connection):
                verdicts |= recheck_known(connection, project, asked, now, paused=paused)
        except (WinbackError, SQLAlchemyError) as error:
            result.complain(f"the rules of campaign {campaign} cannot be asked: {_first_line(error)}")
            later = Verdict(Action.DEFER, RULES_FAILED, RULES_FAILED, until=now + _BROKEN)
            verdicts |= dict.fromkeys((each.id for each in asked), later)
    return verdicts


def _survived(connection: Connection) -> AbstractContextManager[object]:
    """Let the transaction go on after a question that fails; on SQLite it does by itself."""
    return connection.begin_nested() if connection.dialect.name == "postgresql" else nullcontext()


def _move(message_id: str, verdict: Verdict, now: datetime) -> Move:
    match verdict.action:
        case Action.SKIP:
            return Move(message_id, MessageState.SENDING, MessageState.SKIPPED, verdict.reason)
        case Action.CANCEL:
            return Move(message_id, MessageState.SENDING, MessageState.CANCELLED, verdict.reason)
        case Action.FALLBACK:
            other = {"channel": verdict.channel}
            return Move(message_id, MessageState.SENDING, MessageState.PLANNED, verdict.reason, values=other)
        case Action.DEFER:
            # Never at once: that would be asked again without end.
            later = max(verdict.until or now, now + timedelta(seconds=1))
            values = {"next_attempt_at": later} | ({"valid_until": verdict.valid_until} if verdict.valid_until else {})
            return Move(message_id, MessageState.SENDING, MessageState.PLANNED, verdict.reason, values=values)


def _count(verdicts: Mapping[str, Verdict], result: DispatchResult) -> None:
    for verdict in verdicts.values():
        match verdict.action:
            case Action.SKIP:
                result.skipped[verdict.reason] += 1
            case Action.CANCEL:
                result.cancelled += 1
            case Action.FALLBACK:
                result.fell_back += 1
            case Action.DEFER:
                result.put_off += 1


def _first_line(error: Exception) -> str:
    """Return an error's first line; the rest of a database's error quotes rows, which may hold personal data."""
    if isinstance(error, SQLAlchemyError):
        return f"{type(error).__name__}: {str(getattr(error, 'orig', error)).splitlines()[0][:300]}"
    return str(error)
