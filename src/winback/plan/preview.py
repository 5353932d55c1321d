"""See before sending: the real planner in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Engine, and_, func, literal, null, or_, select, union_all

from winback.errors import InputError
from winback.plan.planner import CampaignPlan, keep_up, plan_in_order
from winback.plan.tables import candidates, own_tables
from winback.project import Campaign, Project
from winback.store import AnyRow, EnrollmentState, MessageState, UtcDateTime, customers, enrollments, exclusive, messages


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


@dataclass(frozen=True)
class DayVolume:
    """How many messages of a step would go out on a local date."""

    on: date
    step: str
    channel: str
    count: int


@dataclass(frozen=True)
class Person:
    """One customer of the audience: chosen, or the first rule that turned them away."""

    customer: str
    occasion: str
    chosen: bool
    reason: str | None
    held_out: bool


class Preview:
    """What a pass at `now` would do for one campaign; usable while the transaction that did it is open."""

    def __init__(
        self, connection: Connection, project: Project, campaign: Campaign, *, now: datetime, outcome: CampaignPlan, enabled: bool
    ) -> None:
        self.connection = connection
        self.project = project
        self.campaign = campaign
        self.now = now
        self.outcome = outcome
        self.enabled = enabled  # in the file; the preview itself treats the campaign as switched on

    def sends(self, limit: int | None = 10, *, customer: str | None = None) -> list[Send]:
        """Return the first messages that would go out, by time."""
        upcoming = _upcoming(self.campaign, self.now).subquery("upcoming")
        query = (
            select(upcoming, customers.c.external_id, customers.c.first_name, customers.c.last_name)
            .join(customers, customers.c.id == upcoming.c.customer_id)
            .order_by(upcoming.c.due_at, customers.c.external_id)
            .limit(limit)
        )
        if customer is not None:
            query = query.where(customers.c.external_id == customer)
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

    def people(self) -> Iterator[Person]:
        """Yield everybody in the audience with the first rule that turns them away."""
        rows = self.connection.execute(
            select(customers.c.external_id, candidates.c.occasion, candidates.c.failure, candidates.c.held_out)
            .join_from(candidates, customers, customers.c.id == candidates.c.customer_id)
            .order_by(customers.c.external_id, candidates.c.occasion)
        )
        for external_id, occasion, failure, held_out in rows:
            yield Person(external_id, occasion, failure is None, failure, held_out)

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
                outcomes = plan_in_order(connection, trial, now, up_to_it, worker="preview")
                on = trial.campaigns[campaign.name]
                yield Preview(connection, trial, on, now=now, outcome=outcomes[-1], enabled=campaign.enabled)
        finally:
            transaction.rollback()


def _upcoming(campaign: Campaign, now: datetime) -> CompoundSelect[Any]:
    """Select the campaign's planned messages, and the next steps that enrollments wait for."""
    columns = (enrollments.c.variant, enrollments.c.held_out, enrollments.c.zone)
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
