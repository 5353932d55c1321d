"""Ask the rules again for messages that were claimed, right before they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, String, literal, or_, select

from winback.policy.caps import LONGEST_DEFERRAL
from winback.policy.fallback import step_of
from winback.policy.quiet_hours import wake_time
from winback.policy.rules import REASONS, Ask, RuleName, Stage, first_failure, with_fallback
from winback.policy.schedule import Timetable, after_moment
from winback.policy.zones import zone_of
from winback.project import Campaign, Project
from winback.store import AnyRow, Channel, UtcDateTime, campaign_states, customers, enrollments, messages

#: How far a capped message moves at a time while it is not late; caps are counted in rolling windows of hours and days.
_CAP_PAUSE = timedelta(hours=1)


class Action(StrEnum):
    """What to do with a claimed message that failed a rule."""

    SKIP = "skip"  # it will never go; the reason is stored
    CANCEL = "cancel"  # the campaign ended for this person
    DEFER = "defer"  # not now; asked again at `until`
    FALLBACK = "fallback"  # goes on the other channel


@dataclass(frozen=True)
class Verdict:
    """What a rule said about one claimed message."""

    action: Action
    rule: str
    reason: str
    until: datetime | None = None
    valid_until: datetime | None = None  # where it changes
    channel: str | None = None


#: Reason for messages whose campaign or step is gone from the files.
WITHDRAWN = "withdrawn"


def recheck(connection: Connection, project: Project, message_ids: Sequence[str], now: datetime) -> dict[str, Verdict]:
    """Return a verdict for each message that must not go as planned; the others may be sent.

    One query for each campaign, step and channel among them, whatever their number.
    """
    if not message_ids:
        return {}
    groups = connection.execute(
        select(messages.c.campaign, messages.c.step, messages.c.channel).where(messages.c.id.in_(message_ids)).distinct()
    ).all()
    paused = set(connection.scalars(select(campaign_states.c.name).where(campaign_states.c.paused_at.is_not(None))))
    verdicts: dict[str, Verdict] = {}
    for campaign_name, step_name, channel in groups:
        found = step_of(project, campaign_name, step_name)
        chosen = (messages.c.campaign == campaign_name, messages.c.step == step_name, messages.c.channel == channel)
        if found is None or not found[0].enabled:
            ids = connection.scalars(select(messages.c.id).where(messages.c.id.in_(message_ids), *chosen))
            gone = Verdict(Action.CANCEL, RuleName.LIVE, WITHDRAWN)
            verdicts.update(dict.fromkeys(ids, gone))
            continue
        campaign, step = found
        ask = Ask(
            project=project,
            campaign=campaign,
            stage=Stage.DISPATCH,
            now=now,
            step=step,
            channel=Channel(channel),
            customer=customers,
            enrollment=enrollments,
            at=literal(now, UtcDateTime()),
            valid_until=messages.c.valid_until,
            message_id=messages.c.id,
            paused=campaign_name in paused,
        )
        failure = first_failure(ask)
        to_channel: ColumnElement[str] = literal(channel, String())
        if channel == step.channel:  # a message that fell back already does not fall back again
            failure, to_channel = with_fallback(ask, failure)
        rows = connection.execute(
            select(
                messages.c.id,
                messages.c.reason,
                messages.c.due_at,
                failure.label("failure"),
                to_channel.label("channel"),
                enrollments.c.zone,
                enrollments.c.due_at.label("next_due_at"),
            )
            .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(messages.c.id.in_(message_ids), *chosen, or_(failure.is_not(None), to_channel != channel))
        )
        for row in rows:
            if row.failure == RuleName.LATE and row.reason == RuleName.CAPPED:
                verdicts[row.id] = _another_day(ask, row)
            elif row.failure is not None:
                verdicts[row.id] = _verdict(row.failure, campaign, project, Channel(row.channel), row.zone, now)
            else:
                verdicts[row.id] = Verdict(Action.FALLBACK, "fallback", f"by {row.channel}", channel=row.channel)
    return verdicts


def _another_day(ask: Ask, row: AnyRow) -> Verdict:
    """Say what becomes of a message that ran out of time because others had precedence, which is the reason worth knowing.

    It is put off to the next time of day at which it may go, for a week at most, and never past the step that follows it.
    """
    campaign, step = ask.campaign, ask.step
    if campaign.limits.on_capped == "defer":
        table = Timetable.of(campaign, step, ask.project.settings.quiet_hours.for_channel(ask.channel))
        at = after_moment(ask.now, timedelta(), table, zone_of(row.zone, ask.project)).at
        if at - row.due_at <= LONGEST_DEFERRAL and (row.next_due_at is None or at < row.next_due_at):
            return Verdict(Action.DEFER, RuleName.LATE, RuleName.CAPPED, until=at, valid_until=at + campaign.schedule.late)
    return Verdict(Action.SKIP, RuleName.LATE, RuleName.CAPPED)


def _verdict(rule: str, campaign: Campaign, project: Project, channel: Channel, zone: str, now: datetime) -> Verdict:
    if rule == RuleName.LIVE:
        return Verdict(Action.DEFER, rule, REASONS[rule], until=now + _CAP_PAUSE)
    if rule == RuleName.EXIT:
        return Verdict(Action.CANCEL, rule, rule)
    if rule == RuleName.QUIET_HOURS:
        quiet = project.settings.quiet_hours.for_channel(channel)
        return Verdict(Action.DEFER, rule, rule, until=wake_time(now, zone_of(zone, project), quiet))
    if rule == RuleName.CAPPED and campaign.limits.on_capped == "defer":
        return Verdict(Action.DEFER, rule, rule, until=now + _CAP_PAUSE)
    return Verdict(Action.SKIP, rule, rule)
