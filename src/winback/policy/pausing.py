"""Pause a campaign, and let it go on: a person does, and winback itself where too many messages bounce or bring complaints.

Mailboxes judge a sender by both. What went out in the last 24 hours is looked at, campaign by campaign, and only where that was
enough to say anything: one complaint about ten letters is no 10 %. A campaign that was resumed begins anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, distinct, func, insert, or_, select, update

from winback.policy.fallback import FALLBACK_SUFFIX
from winback.project import Campaign, Project
from winback.store import (
    BounceReason,
    Channel,
    MessageState,
    SuppressionReason,
    campaign_states,
    customers,
    messages,
    receipts,
    suppressions,
)

#: Begins the reason of a pause that a person made, and of one that winback did.
BY_A_PERSON = "by a person"
BY_ITSELF = "by winback"

_WITHIN = timedelta(hours=24)

#: So many of the newest receipts are looked at for complaints.
_NEWEST = 100_000

#: In which state a message is that was sent.
_SENT = (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED)

_WHOLE = 10_000  # a share is in basis points


@dataclass(frozen=True)
class Paused:
    """A campaign that winback paused just now, and why."""

    campaign: str
    reason: str


def pause(connection: Connection, campaign: Campaign, now: datetime, reason: str) -> None:
    """Let nothing of the campaign go out and nobody come in until it is resumed."""
    values = {"paused_at": now, "pause_reason": reason}
    if not _change(connection, campaign.name, values):
        connection.execute(
            insert(campaign_states).values(name=campaign.name, live_since=now, definition_hash=campaign.definition_hash, **values)
        )


def resume(connection: Connection, campaign: Campaign, now: datetime) -> bool:
    """Let the campaign go on; what became too late meanwhile is skipped with that reason. Return whether it was paused."""
    values = {"paused_at": None, "pause_reason": None, "resumed_at": now}
    return _change(connection, campaign.name, values, campaign_states.c.paused_at.is_not(None))


def _change(connection: Connection, name: str, values: Mapping[str, Any], *conditions: ColumnElement[bool]) -> bool:
    changed = connection.execute(update(campaign_states).where(campaign_states.c.name == name, *conditions).values(**values))
    return changed.rowcount > 0


def pause_by_results(connection: Connection, project: Project, now: datetime) -> list[Paused]:
    """Pause the campaigns whose messages of the last 24 hours bounced, or brought complaints, too often; return those."""
    limits = project.settings.pause
    bounced = _bounced(connection, project, now) if limits.bounces else Counter()
    refused = _refused(connection, project, now) if limits.bounces else Counter()
    complained = _complained(connection, project, now) if limits.complaints else Counter()
    paused = []
    for name in sorted({*bounced, *refused, *complained}):
        came_back = bounced[name] + refused[name]
        looks = (
            (came_back, limits.bounces, limits.bounces_from, "came back for good"),
            (complained[name], limits.complaints, limits.complaints_from, "brought a complaint"),
        )
        # Only for so many is it worth to count what was sent.
        if not any(share and count * _WHOLE >= share * least for count, share, least, _ in looks):
            continue
        tried = _sent(connection, project, name, now) + refused[name]
        for count, share, least, what in looks:
            if share and tried >= least and count * _WHOLE >= share * tried:
                reason = (
                    f"{BY_ITSELF}, because {count} of {tried} messages of 24 hours {what} "
                    f"({_percent(count * _WHOLE / tried)}; it pauses at {_percent(share)})"
                )
                pause(connection, project.campaigns[name], now, reason)
                paused.append(Paused(name, reason))
                break
    return paused


def _percent(basis_points: float) -> str:
    return f"{basis_points / 100:.2f}".rstrip("0").rstrip(".") + " %"


def _lately(query: Select[Any], project: Project, now: datetime, at: ColumnElement[datetime | None]) -> Select[Any]:
    """Restrict a query to customers' messages of campaigns that run, of the last 24 hours and of after they were resumed."""
    live = [campaign for campaign in project.campaigns.values() if campaign.enabled]
    steps = {step.name for campaign in live for step in campaign.steps}
    return query.join(campaign_states, campaign_states.c.name == messages.c.campaign).where(
        # Steps are named so that the index of campaign, step and state is used.
        messages.c.campaign.in_([campaign.name for campaign in live]),
        messages.c.step.in_(sorted(steps | {f"{step}{FALLBACK_SUFFIX}" for step in steps})),
        messages.c.redirected.is_(False),
        at > now - _WITHIN,
        campaign_states.c.paused_at.is_(None),
        or_(campaign_states.c.resumed_at.is_(None), at > campaign_states.c.resumed_at),
    )


def _counted(connection: Connection, query: Select[Any]) -> Counter[str]:
    return Counter({row[0]: row[1] for row in connection.execute(query.group_by(messages.c.campaign))})


def _bounced(connection: Connection, project: Project, now: datetime) -> Counter[str]:
    """Count the messages that were sent, and came back because the address does not exist."""
    query = select(messages.c.campaign, func.count()).where(
        messages.c.state == MessageState.BOUNCED, messages.c.reason == BounceReason.HARD
    )
    return _counted(connection, _lately(query, project, now, messages.c.sent_at))


def _refused(connection: Connection, project: Project, now: datetime) -> Counter[str]:
    """Count the messages that were refused at once because the address does not exist: it is suppressed since."""
    by_mail = messages.c.channel == Channel.EMAIL
    query = (
        select(messages.c.campaign, func.count())
        .join(customers, customers.c.id == messages.c.customer_id)
        .join(
            suppressions,
            and_(
                suppressions.c.channel == messages.c.channel,
                suppressions.c.address_hash == case((by_mail, customers.c.email_hash), else_=customers.c.phone_hash),
            ),
        )
        .where(
            messages.c.state == MessageState.FAILED,
            suppressions.c.reason == SuppressionReason.HARD_BOUNCE,
            suppressions.c.at >= messages.c.next_attempt_at,
        )
    )
    return _counted(connection, _lately(query, project, now, messages.c.next_attempt_at))


def _complained(connection: Connection, project: Project, now: datetime) -> Counter[str]:
    """Count the messages that somebody complained about."""
    newest = connection.scalar(select(func.max(receipts.c.id))) or 0
    query = (
        select(messages.c.campaign, func.count(distinct(messages.c.id)))
        .join(receipts, receipts.c.message_id == messages.c.id)
        .where(receipts.c.kind == "complained", receipts.c.id > newest - _NEWEST)
    )
    return _counted(connection, _lately(query, project, now, messages.c.sent_at))


def _sent(connection: Connection, project: Project, campaign: str, now: datetime) -> int:
    query = select(func.count()).select_from(messages).where(messages.c.campaign == campaign, messages.c.state.in_(_SENT))
    return connection.scalar(_lately(query, project, now, messages.c.sent_at)) or 0
