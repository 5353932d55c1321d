"""A campaign's audience at one moment, with the first rule that turns each person away, in the transaction's own table."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, String, case, exists, func, insert, literal, select, update

from winback.audience import select_audience
from winback.plan.tables import candidates, slots
from winback.plan.variants import arm, held_out
from winback.policy import Ask, RuleName, Stage, audience_context, cooldown_of, first_failure, with_fallback
from winback.project import Campaign, Project
from winback.store import UtcDateTime, customers, enrollments

#: Passed over because the person is in the campaign for this occasion already; not a rule, since nothing is wrong.
ALREADY = "already"


def gather(
    connection: Connection, project: Project, campaign: Campaign, now: datetime, since: datetime, *, few: bool = False
) -> None:
    """Fill `candidates` with everybody in the campaign's audience, and say of each which rule turns them away.

    Where there are `few`, mostly nobody, it is looked first whether there is anybody.
    """
    connection.execute(candidates.delete())
    connection.execute(slots.delete())
    audience = select_audience(campaign.audience, audience_context(project, now, since=since)).subquery("audience")
    # To write down all rules takes longer than to look.
    if few and connection.execute(select(audience.c.customer_id).limit(1)).first() is None:
        return
    key = project.key("holdout")
    late = _too_late(campaign, audience.c.ripe_at, now)
    chosen = (
        select(
            audience.c.customer_id,
            audience.c.occasion,
            audience.c.anchor_at,
            audience.c.anchor_on,
            audience.c.order_id,
            late,
            customers.c.local_zone,
            arm(campaign, key, customers.c.id),
            held_out(campaign, key, customers.c.id),
            case(
                (_enrolled(campaign, audience.c.occasion), literal(ALREADY, String())),
                else_=turned_away(project, campaign, now, audience.c.ripe_at),
            ),
        )
        .join_from(audience, customers, customers.c.id == audience.c.customer_id)
        .order_by(audience.c.customer_id, late, audience.c.ripe_at, audience.c.occasion)
    )
    names = [column.name for column in candidates.columns if column.name != "id"]
    connection.execute(insert(candidates).from_select(names, chosen))
    if cooldown_of(campaign) is not None:
        _keep_one_occasion(connection)


def turned_away(
    project: Project, campaign: Campaign, now: datetime, ripe_at: ColumnElement[datetime]
) -> ColumnElement[str | None]:
    """Return SQL for the first rule that keeps a customer out of the campaign, its first step's fallback channel considered."""
    step = campaign.steps[0]
    ask = Ask(
        project=project,
        campaign=campaign,
        stage=Stage.ENROLL,
        now=now,
        step=step,
        channel=step.channel,
        customer=customers,
        ripe_at=ripe_at,
    )
    return with_fallback(ask, first_failure(ask))[0]


def funnel(connection: Connection) -> dict[str, int]:
    """Count the candidates by the rule that turned them away; `""` counts those who come in."""
    rows = connection.execute(select(func.coalesce(candidates.c.failure, ""), func.count()).group_by(candidates.c.failure))
    return {row[0]: row[1] for row in rows}


def _enrolled(campaign: Campaign, occasion: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(
        enrollments.c.campaign == campaign.name,
        enrollments.c.customer_id == customers.c.id,
        enrollments.c.occasion == occasion,
    )


def _too_late(campaign: Campaign, ripe_at: ColumnElement[datetime], now: datetime) -> ColumnElement[bool]:
    """Ask whether the first step's time would have passed; the time of day it goes at is not looked at."""
    latest = now - campaign.steps[0].after - campaign.schedule.late
    return ripe_at < literal(latest, UtcDateTime())


def _keep_one_occasion(connection: Connection) -> None:
    """Let a customer with several occasions at once in by the first that is not too late: the others fall into its cooldown."""
    # Numbered in one go: to look for each row's predecessors would take the square of their number.
    place = func.row_number().over(partition_by=candidates.c.customer_id, order_by=candidates.c.id)
    passing = select(candidates.c.id, place.label("place")).where(candidates.c.failure.is_(None)).subquery()
    others = select(passing.c.id).where(passing.c.place > 1)
    connection.execute(update(candidates).where(candidates.c.id.in_(others)).values(failure=RuleName.COOLDOWN))
