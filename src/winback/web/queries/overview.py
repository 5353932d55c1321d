"""What the overview shows: each campaign with its last thirty days, and the latest passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, case, exists, func, select

from winback.project import Campaign, Project
from winback.store import (
    EnrollmentState,
    InteractionClass,
    InteractionKind,
    campaign_states,
    conversions,
    customers,
    enrollments,
    interactions,
    messages,
    passes,
)

#: How far back "lately" goes, in days.
DAYS = 30


@dataclass
class Lately:
    """What became of the messages sent in the last thirty days; each count is of messages, `revenue` by currency, minor units."""

    sent: int = 0
    clicked: int = 0
    orders: int = 0
    revenue: dict[str, int] = field(default_factory=dict)
    by_day: list[int] = field(default_factory=lambda: [0] * DAYS)

    def add(self, other: Lately) -> None:
        """Add another campaign's numbers to these."""
        self.sent += other.sent
        self.clicked += other.clicked
        self.orders += other.orders
        for currency, minor in other.revenue.items():
            self.revenue[currency] = self.revenue.get(currency, 0) + minor
        self.by_day = [mine + theirs for mine, theirs in zip(self.by_day, other.by_day, strict=True)]


@dataclass(frozen=True)
class CampaignLine:
    """One campaign of the overview. `state`: live, paused, off, or new (never planned)."""

    campaign: Campaign
    state: str
    pause_reason: str | None
    people: int  # in the campaign now, with a step ahead
    lately: Lately


def campaign_state(campaign: Campaign, paused_at: datetime | None, known: bool) -> str:
    """Return the word for what a campaign is doing."""
    if not campaign.enabled:
        return "off"
    if paused_at is not None:
        return "paused"
    return "live" if known else "new"


def campaign_lines(connection: Connection, project: Project, now: datetime) -> list[CampaignLine]:
    """Return the shop's campaigns in the order of their priority."""
    known = {row.name: row for row in connection.execute(select(campaign_states))}
    waiting = select(enrollments.c.campaign, func.count()).where(
        enrollments.c.state == EnrollmentState.ACTIVE, enrollments.c.held_out.is_(False)
    )
    counts = connection.execute(waiting.group_by(enrollments.c.campaign))
    people: dict[str, int] = {row[0]: row[1] for row in counts}
    lately = _lately(connection, project, now)
    return [
        CampaignLine(
            campaign,
            campaign_state(campaign, known[name].paused_at if name in known else None, name in known),
            known[name].pause_reason if name in known else None,
            people.get(name, 0),
            lately[name],
        )
        for name, campaign in project.campaigns.items()
    ]


def _lately(connection: Connection, project: Project, now: datetime) -> dict[str, Lately]:
    since = now - timedelta(days=DAYS)
    found: dict[str, Lately] = defaultdict(Lately)
    clicked = exists().where(
        interactions.c.message_id == messages.c.id,
        interactions.c.kind == InteractionKind.CLICK,
        interactions.c.klass == InteractionClass.HUMAN,
    )
    counts = (
        select(messages.c.campaign, messages.c.due_on, func.count(), func.sum(case((clicked, 1), else_=0)))
        .where(messages.c.sent_at >= since, messages.c.sent_at <= now)
        .group_by(messages.c.campaign, messages.c.due_on)
    )
    today = now.astimezone(ZoneInfo(project.settings.shop.zone)).date()
    for name, on, sent, clicks in connection.execute(counts):
        line = found[name]
        line.sent += sent
        line.clicked += clicks
        line.by_day[_bucket(on, today)] += sent
    orders = (
        select(conversions.c.campaign, conversions.c.currency, func.count(), func.sum(conversions.c.value_minor))
        .join(messages, messages.c.id == conversions.c.message_id)
        .where(messages.c.sent_at >= since, messages.c.sent_at <= now, conversions.c.held_out.is_(False))
        .group_by(conversions.c.campaign, conversions.c.currency)
    )
    for name, currency, count, minor in connection.execute(orders):
        line = found[name]
        line.orders += count
        if currency:
            line.revenue[currency] = line.revenue.get(currency, 0) + int(minor)
    return found


def _bucket(on: date, today: date) -> int:
    return min(max(DAYS - 1 - (today - on).days, 0), DAYS - 1)


def total(lines: Sequence[CampaignLine]) -> Lately:
    """Return all campaigns' numbers together."""
    whole = Lately()
    for line in lines:
        whole.add(line.lately)
    return whole


def latest_passes(connection: Connection, limit: int = 8) -> list[Any]:
    """Return the newest passes of the scheduler."""
    return list(connection.execute(select(passes).order_by(passes.c.started_at.desc(), passes.c.id.desc()).limit(limit)))


def is_empty(connection: Connection) -> bool:
    """Say whether nobody was imported yet."""
    return connection.scalar(select(customers.c.id).limit(1)) is None
