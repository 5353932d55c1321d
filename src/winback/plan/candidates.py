"""A campaign's audience at one moment, with the first rule that turns each person away, in the transaction's own table."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Select, String, case, exists, func, insert, literal, select, update

from winback.audience import AudienceContext, form_of, select_audience
from winback.plan.tables import candidates
from winback.plan.variants import arm, held_out
from winback.policy import Ask, RuleName, Stage, audience_context, cooldown_of, country_of, first_failure, with_fallback
from winback.project import Campaign, Project
from winback.store import COUNTED, customers, enrollments, filled

#: Passed over because the person is in the campaign for this occasion already; not a rule, since nothing is wrong.
ALREADY = "already"

_EMPTY = candidates.delete()
_FUNNEL = select(candidates.c.failure, func.count()).group_by(candidates.c.failure)


def _others_at_once() -> Select[Any]:
    """Return the occasions of a customer who comes in by several at once, but for the first that is not too late."""
    # Numbered in one go: to look for each row's predecessors would take the square of their number.
    place = func.row_number().over(partition_by=candidates.c.customer_id, order_by=candidates.c.id)
    passing = select(candidates.c.id, place.label("place")).where(candidates.c.failure.is_(None)).subquery()
    return select(passing.c.id).where(passing.c.place > 1)


#: The others fall into the cooldown of the first.
_KEEP_ONE_OCCASION = update(candidates).where(candidates.c.id.in_(_others_at_once())).values(failure=RuleName.COOLDOWN)


def gather(
    connection: Connection, project: Project, campaign: Campaign, now: datetime, since: datetime, *, few: bool = False
) -> int:
    """Fill `candidates` with everybody in the campaign's audience, each with the rule that turns them away; return how many.

    Where there are `few`, mostly nobody, it is looked first whether there is anybody.
    """
    connection.execute(_EMPTY)
    context = audience_context(project, now, since=since)
    build, form = partial(_statements, project, campaign), form_of(campaign.audience, context)
    anybody, write = context.prepared(project.definitions, ("gather", campaign.name), build, form)
    # To ask all rules takes longer than to look.
    if few and connection.execute(anybody).first() is None:
        return 0
    count = connection.execute(write, execution_options=COUNTED).rowcount
    filled(connection, candidates, count)
    if count and cooldown_of(campaign) is not None:
        connection.execute(_KEEP_ONE_OCCASION)
    return count


def _statements(project: Project, campaign: Campaign, context: AudienceContext) -> tuple[Select[Any], Insert]:
    """Return what asks for one person of the audience, and what writes all of them down."""
    audience = select_audience(campaign.audience, context).subquery("audience")
    key = project.key("holdout")
    late = _too_late(campaign, audience.c.ripe_at, context)
    chosen = (
        select(
            audience.c.customer_id,
            audience.c.occasion,
            audience.c.anchor_at,
            audience.c.anchor_on,
            audience.c.order_id,
            late,
            customers.c.local_zone,
            country_of(project, campaign, customers),
            arm(campaign, key, customers.c.id),
            held_out(campaign, key, customers.c.id),
            case(
                (_enrolled(campaign, audience.c.occasion), literal(ALREADY, String())),
                else_=turned_away(project, campaign, context, audience.c.ripe_at),
            ),
        )
        .join_from(audience, customers, customers.c.id == audience.c.customer_id)
        .order_by(audience.c.customer_id, late, audience.c.ripe_at, audience.c.occasion)
    )
    names = [column.name for column in candidates.columns if column.name != "id"]
    return select(audience.c.customer_id).limit(1), insert(candidates).from_select(names, chosen)


def turned_away(
    project: Project, campaign: Campaign, context: AudienceContext, ripe_at: ColumnElement[datetime]
) -> ColumnElement[str | None]:
    """Return SQL for the first rule that keeps a customer out of the campaign, its first step's fallback channel considered."""
    step = campaign.steps[0]
    ask = Ask(
        project=project,
        campaign=campaign,
        stage=Stage.ENROLL,
        context=context,
        step=step,
        channel=step.channel,
        customer=customers,
        ripe_at=ripe_at,
    )
    return with_fallback(ask, first_failure(ask))[0]


def funnel(connection: Connection) -> dict[str, int]:
    """Count the candidates by the rule that turned them away; `""` counts those who come in."""
    return {failure or "": count for failure, count in connection.execute(_FUNNEL)}


def _enrolled(campaign: Campaign, occasion: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(
        enrollments.c.campaign == campaign.name,
        enrollments.c.customer_id == customers.c.id,
        enrollments.c.occasion == occasion,
    )


def _too_late(campaign: Campaign, ripe_at: ColumnElement[datetime], context: AudienceContext) -> ColumnElement[bool]:
    """Ask whether the first step's time would have passed; the time of day it goes at is not looked at."""
    return ripe_at < context.ago(campaign.steps[0].after + campaign.schedule.late)
