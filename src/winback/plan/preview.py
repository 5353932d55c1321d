"""See before sending: the real planner in a transaction that is rolled back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Engine, and_, case, exists, func, literal, null, or_, select, union_all

from winback.audience import select_audience
from winback.errors import InputError
from winback.plan.planner import CampaignPlan, keep_up, plan_in_order
from winback.plan.progress import looks_back_to
from winback.plan.tables import candidates, own_tables
from winback.policy import audience_context, zone_of
from winback.project import Campaign, Project
from winback.store import AnyRow, Channel, EnrollmentState, MessageState, UtcDateTime, customers, enrollments, exclusive, messages


@dataclass(frozen=True)
class Send:
    """One message that would go out: who gets which step, when (UTC), by which channel."""

    message_id: str | None  # empty for a step that is more than a day away
    enrollment_id: int
    customer_id: int
    customer: str  # external id
    name: str
    step: str
    channel: str
    variant: str
    held_out: bool
    due_at: datetime
    due_on: date
    zone: str
    order_id: int | None = None  # the order that it is about


@dataclass(frozen=True)
class DayVolume:
    """How many messages of a step would go out on a local date."""

    on: date
    step: str
    channel: str
    count: int


@dataclass(frozen=True)
class Person:
    """One customer: chosen, or the first rule that turned them away; and the first message that they would get."""

    customer: str
    occasion: str
    chosen: bool
    reason: str | None
    held_out: bool
    step: str | None = None
    channel: str | None = None
    due_at: datetime | None = None  # UTC
    zone: str | None = None
    put_off: bool = False  # waits for a place under a cap
    skipped: str | None = None  # came in, and the step's message was skipped for this reason


#: Reasons of those who are not in the audience at all.
NOT_IN_AUDIENCE = "audience"
NOT_WHERE = "where"


class Preview:
    """What a pass at `now` would do for one campaign; usable while the transaction that did it is open."""

    def __init__(
        self,
        connection: Connection,
        project: Project,
        campaign: Campaign,
        *,
        now: datetime,
        since: datetime,
        outcome: CampaignPlan,
        enabled: bool,
    ) -> None:
        self.connection = connection
        self.project = project
        self.campaign = campaign
        self.now = now
        self.since = since  # occasions were looked for from then on
        self.outcome = outcome
        self.enabled = enabled  # in the file; the preview itself treats the campaign as switched on

    def sends(self, limit: int | None = 10, *, customer: str | None = None, channel: Channel | None = None) -> list[Send]:
        """Return the first messages that would go out, by time; of one customer or by one channel only."""
        upcoming = _upcoming(self.campaign, self.now).subquery("upcoming")
        query = (
            select(upcoming, customers.c.external_id, customers.c.first_name, customers.c.last_name)
            .join(customers, customers.c.id == upcoming.c.customer_id)
            .order_by(upcoming.c.due_at, customers.c.external_id)
            .limit(limit)
        )
        if customer is not None:
            query = query.where(customers.c.external_id == customer)
        if channel is not None:
            by_step = [step.name for step in self.campaign.steps if step.channel is channel]
            unwritten = upcoming.c.channel.is_(None) & upcoming.c.step.in_(by_step)
            query = query.where(or_(upcoming.c.channel == channel.value, unwritten))
        return [self._send(row) for row in self.connection.execute(query)]

    def volume(self) -> list[DayVolume]:
        """Count what would go out by local date and step, holdout left out."""
        upcoming = _upcoming(self.campaign, self.now).subquery("upcoming")
        rows = self.connection.execute(
            select(upcoming.c.due_on, upcoming.c.step, upcoming.c.channel, func.count())
            .where(~upcoming.c.held_out)
            .group_by(upcoming.c.due_on, upcoming.c.step, upcoming.c.channel)
            .order_by(upcoming.c.due_on, upcoming.c.step)
        )
        return [
            DayVolume(on, step, channel or self.campaign.step(step).channel.value, count) for on, step, channel, count in rows
        ]

    def hours(self) -> dict[int, int]:
        """Count what would go out by the hour on the clock where each person lives, the holdout left out."""
        upcoming = _upcoming(self.campaign, self.now).subquery("upcoming")
        rows = self.connection.execute(
            select(upcoming.c.due_at, upcoming.c.zone, func.count())
            .where(~upcoming.c.held_out)
            .group_by(upcoming.c.due_at, upcoming.c.zone)
        )
        found: Counter[int] = Counter()
        for due_at, zone, count in rows:
            found[due_at.astimezone(zone_of(zone, self.project)).hour] += count
        return dict(sorted(found.items()))

    def everybody(self) -> int:
        """Count the shop's customers, those who asked to be forgotten left out."""
        return self.connection.scalar(select(func.count()).where(customers.c.erased_at.is_(None))) or 0

    def people(self) -> Iterator[Person]:
        """Yield everybody in the audience with the first rule that turns them away, and what those who come in get first."""
        if not self._is_planned:
            return
        occasion = candidates.c.occasion == enrollments.c.occasion
        own = (enrollments.c.campaign == self.campaign.name) & (enrollments.c.customer_id == candidates.c.customer_id)
        rows = self.connection.execute(
            select(
                customers.c.external_id,
                candidates.c.occasion,
                candidates.c.failure,
                candidates.c.held_out,
                func.coalesce(messages.c.step, enrollments.c.step).label("step"),
                messages.c.channel,
                func.coalesce(messages.c.due_at, enrollments.c.due_at, type_=UtcDateTime()).label("due_at"),
                enrollments.c.zone,
                enrollments.c.waiting.is_not(None).label("put_off"),
                messages.c.reason,
            )
            .join_from(candidates, customers, customers.c.id == candidates.c.customer_id)
            .outerjoin(enrollments, own & occasion & candidates.c.failure.is_(None))
            .outerjoin(
                messages, (messages.c.enrollment_id == enrollments.c.id) & (messages.c.step == self.campaign.steps[0].name)
            )
            .order_by(customers.c.external_id, candidates.c.occasion)
        )
        for row in rows:
            chosen = row.failure is None
            yield Person(
                customer=row.external_id,
                occasion=row.occasion,
                chosen=chosen,
                reason=row.failure,
                held_out=row.held_out,
                step=row.step,
                channel=row.channel or (self.campaign.step(row.step).channel.value if row.step else None),
                due_at=row.due_at,
                zone=row.zone,
                put_off=bool(row.put_off),
                skipped=row.reason,
            )

    def others(self) -> Iterator[Person]:
        """Yield the customers who are not in the audience: not in the preset's, or not meeting the campaign's `where`."""
        if not self._is_planned:
            return
        preset = self.campaign.audience.model_copy(update={"where": None})
        inside = select_audience(preset, audience_context(self.project, self.now, since=self.since)).subquery("preset")
        # Joined: of IN and NOT IN with very many, PostgreSQL reads all for each customer.
        found = select(inside.c.customer_id).distinct().subquery("found")
        reason = case((found.c.customer_id.is_not(None), NOT_WHERE), else_=NOT_IN_AUDIENCE)
        rows = self.connection.execute(
            select(customers.c.external_id, reason)
            .outerjoin_from(customers, found, found.c.customer_id == customers.c.id)
            .where(customers.c.erased_at.is_(None), ~exists().where(candidates.c.customer_id == customers.c.id))
            .order_by(customers.c.external_id)
        )
        for external_id, why in rows:
            yield Person(external_id, "", chosen=False, reason=why, held_out=False)

    @property
    def _is_planned(self) -> bool:
        """Say whether `candidates` holds this campaign's audience."""
        return not self.outcome.paused and self.outcome.error is None

    def _send(self, row: AnyRow) -> Send:
        name = " ".join(part for part in (row.first_name, row.last_name) if part)
        return Send(
            message_id=row.message_id,
            enrollment_id=row.enrollment_id,
            customer_id=row.customer_id,
            customer=row.external_id,
            name=name,
            step=row.step,
            channel=row.channel or self.campaign.step(row.step).channel.value,
            variant=row.variant,
            held_out=row.held_out,
            due_at=row.due_at,
            due_on=row.due_on,
            zone=row.zone,
            order_id=row.order_id,
        )


@contextmanager
def previewing(engine: Engine, project: Project, campaign_name: str, now: datetime) -> Iterator[Preview]:
    """Plan everything up to a campaign as if it were `now`, give the result to look at, and undo it all.

    Campaigns of higher precedence are planned before it, since their messages count against the caps. A campaign that is switched
    off is shown as if it were on. Raise InputError for an unknown campaign.
    """
    campaign = find_campaign(project, campaign_name)
    trial = replace(project, campaigns={**project.campaigns, campaign.name: campaign.model_copy(update={"enabled": True})})
    names = list(trial.campaigns)
    up_to_it = names[: names.index(campaign.name) + 1]
    with engine.connect() as connection, connection.begin() as transaction:
        try:
            with own_tables(connection):
                exclusive(connection)
                keep_up(connection, trial, now)
                since = looks_back_to(connection, campaign, now)
                outcomes = plan_in_order(connection, trial, now, up_to_it, worker="preview")
                on = trial.campaigns[campaign.name]
                yield Preview(connection, trial, on, now=now, since=since, outcome=outcomes[-1], enabled=campaign.enabled)
        finally:
            transaction.rollback()


def _upcoming(campaign: Campaign, now: datetime) -> CompoundSelect[Any]:
    """Select the campaign's planned messages, and the next steps that enrollments wait for."""
    columns = (enrollments.c.variant, enrollments.c.held_out, enrollments.c.zone, enrollments.c.order_id)
    written = (
        select(
            messages.c.id.label("message_id"),
            messages.c.enrollment_id,
            messages.c.customer_id,
            messages.c.step,
            messages.c.channel,
            messages.c.due_at,
            messages.c.due_on,
            *columns,
        )
        .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
        .where(
            messages.c.campaign == campaign.name,
            or_(
                messages.c.state == MessageState.PLANNED,
                and_(messages.c.state == MessageState.HELD_OUT, messages.c.planned_at == literal(now, UtcDateTime())),
            ),
        )
    )
    waiting = select(
        null().label("message_id"),
        enrollments.c.id,
        enrollments.c.customer_id,
        enrollments.c.step,
        null().label("channel"),
        enrollments.c.due_at,
        enrollments.c.due_on,
        *columns,
    ).where(enrollments.c.campaign == campaign.name, enrollments.c.state == EnrollmentState.ACTIVE)
    return union_all(written, waiting)


def find_campaign(project: Project, name: str) -> Campaign:
    """Return a campaign by name; raise InputError with the nearest names for an unknown one."""
    campaign = project.campaigns.get(name)
    if campaign is None:
        raise InputError(f"there is no campaign {name!r}", "there are: " + (", ".join(sorted(project.campaigns)) or "none yet"))
    return campaign
