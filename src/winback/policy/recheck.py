"""Ask the rules again for messages that were claimed, right before they go."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, String, bindparam, exists, literal, or_, select

from winback.audience import AudienceContext
from winback.policy.caps import COMING, LONGEST_DEFERRAL
from winback.policy.countries import country_of
from winback.policy.fallback import step_of
from winback.policy.rules import REASONS, Ask, RuleName, Stage, audience_context, first_failure, with_fallback
from winback.policy.schedule import Timetable, after_moment
from winback.policy.zones import zone_of
from winback.project import Campaign, Project, Step
from winback.store import AnyRow, Channel, among, campaign_states, customers, enrollments, late, messages

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


_ABOUT = select(messages.c.id, messages.c.campaign, messages.c.step, messages.c.channel).where(
    among(messages.c.id, bindparam("ids", type_=String()))
)
_PAUSED = select(campaign_states.c.name).where(campaign_states.c.paused_at.is_not(None))


def recheck(connection: Connection, project: Project, message_ids: Sequence[str], now: datetime) -> dict[str, Verdict]:
    """Return a verdict for each message that must not go as planned; the others may be sent."""
    if not message_ids:
        return {}
    rows = connection.execute(_ABOUT, {"ids": json.dumps(message_ids)})
    asked = [Asked(*row) for row in rows]
    return recheck_known(connection, project, asked, now, paused=paused_campaigns(connection))


class Asked(NamedTuple):
    """What has to be known of a message to ask the rules about it."""

    id: str
    campaign: str
    step: str
    channel: str


def paused_campaigns(connection: Connection) -> set[str]:
    """Return the campaigns that are paused."""
    return set(connection.scalars(_PAUSED))


def recheck_known(
    connection: Connection, project: Project, asked: Iterable[Asked], now: datetime, *, paused: Collection[str]
) -> dict[str, Verdict]:
    """Return the same where it is known of which campaign, step and channel they are, and what is paused.

    One query for each campaign, step and channel among them, whatever their number.
    """
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for message_id, campaign_name, step_name, channel in asked:
        groups[campaign_name, step_name, channel].append(message_id)
    context = audience_context(project, now)
    verdicts: dict[str, Verdict] = {}
    for (campaign_name, step_name, channel), ids in groups.items():
        found = step_of(project, campaign_name, step_name)
        if found is None or not found[0].enabled:
            gone = Verdict(Action.CANCEL, RuleName.LIVE, WITHDRAWN)
            verdicts.update(dict.fromkeys(ids, gone))
            continue
        group = _Group(*found, Channel(channel), campaign_name in paused)
        build = partial(_Question, project, group)
        key = ("recheck", campaign_name, step_name, channel, group.paused)
        question = context.prepared(project.definitions, key, build)
        question.message_ids = ids
        verdicts |= {row.id: question.verdict(row) for row in connection.execute(question.statement)}
    return verdicts


class _Group(NamedTuple):
    """Messages of one step on one channel."""

    campaign: Campaign
    step: Step
    channel: Channel
    paused: bool


class _Question:
    """What is asked about a group: which of them fail a rule now, and which one."""

    def __init__(self, project: Project, group: _Group, context: AudienceContext) -> None:
        campaign, step, channel, paused = group
        self.message_ids: Sequence[str] = ()
        self._ask = ask = Ask(
            project=project,
            campaign=campaign,
            stage=Stage.DISPATCH,
            context=context,
            step=step,
            channel=channel,
            customer=customers,
            enrollment=enrollments,
            at=context.now,
            valid_until=messages.c.valid_until,
            message_id=messages.c.id,
            paused=paused,
        )
        failure = first_failure(ask)
        to_channel: ColumnElement[str] = literal(channel.value, String())
        if channel == step.channel:  # a message that fell back already does not fall back again
            failure, to_channel = with_fallback(ask, failure)
        asked = late(lambda: json.dumps(self.message_ids), String())
        self.statement = (
            select(
                messages.c.id,
                messages.c.reason,
                messages.c.due_at,
                failure.label("failure"),
                to_channel.label("channel"),
                enrollments.c.zone,
                country_of(project, campaign, customers).label("country"),
                enrollments.c.due_at.label("next_due_at"),
                _newer_is_due(context.now).label("newer"),
            )
            .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
            .join(customers, customers.c.id == messages.c.customer_id)
            # By their ids only: asked for their campaign too, SQLite reads all messages of the campaign for each batch of them.
            .where(among(messages.c.id, asked), or_(failure.is_not(None), to_channel != channel.value))
        )

    def verdict(self, row: AnyRow) -> Verdict:
        """Return what becomes of a message, by its row of the answer."""
        ask, now = self._ask, self._ask.context.clock.now
        if row.failure == RuleName.LATE and row.reason == RuleName.CAPPED:
            return _another_day(ask, row, now)
        if row.failure == RuleName.CAPPED and row.newer and ask.campaign.limits.on_capped == "replace":
            return Verdict(Action.SKIP, RuleName.CAPPED, RuleName.REPLACED)
        if row.failure is not None:
            return _verdict(ask, row, now)
        return Verdict(Action.FALLBACK, "fallback", f"by {row.channel}", channel=row.channel)


def _newer_is_due(now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Ask whether another message of the same campaign to the same person is due, of a time they came in later."""
    newer = messages.alias("newer")
    return exists().where(
        newer.c.customer_id == messages.c.customer_id,
        newer.c.campaign == messages.c.campaign,
        newer.c.enrollment_id > messages.c.enrollment_id,
        newer.c.state.in_(COMING),
        newer.c.due_at <= now,
    )


def _another_day(ask: Ask, row: AnyRow, now: datetime) -> Verdict:
    """Say what becomes of a message that ran out of time because others had precedence, which is the reason worth knowing.

    It is put off to the next time of day at which it may go, for a week at most, and never past the step that follows it.
    """
    campaign, step = ask.campaign, ask.step
    if campaign.limits.on_capped != "skip":
        table = Timetable.of(ask.project, campaign, step, ask.channel)
        at = _next_slot(ask, row, table, now)
        if at - row.due_at <= LONGEST_DEFERRAL and (row.next_due_at is None or at < row.next_due_at):
            return Verdict(Action.DEFER, RuleName.LATE, RuleName.CAPPED, until=at, valid_until=at + campaign.schedule.late)
    return Verdict(Action.SKIP, RuleName.LATE, RuleName.CAPPED)


def _verdict(ask: Ask, row: AnyRow, now: datetime) -> Verdict:
    rule = row.failure
    if rule == RuleName.LIVE:
        return Verdict(Action.DEFER, rule, REASONS[rule], until=now + _CAP_PAUSE)
    if rule == RuleName.EXIT:
        return Verdict(Action.CANCEL, rule, rule)
    if rule in (RuleName.QUIET_HOURS, RuleName.COUNTRY):
        # Its time of day and weekday were chosen when it was planned: now the first moment will do.
        table = replace(Timetable.of(ask.project, ask.campaign, ask.step, Channel(row.channel)), at=None, days=None)
        return Verdict(Action.DEFER, rule, rule, until=_next_slot(ask, row, table, now))
    if rule == RuleName.CAPPED and ask.campaign.limits.on_capped != "skip":
        return Verdict(Action.DEFER, rule, rule, until=now + _CAP_PAUSE)
    return Verdict(Action.SKIP, rule, rule)


def _next_slot(ask: Ask, row: AnyRow, table: Timetable, now: datetime) -> datetime:
    return after_moment(now, timedelta(), table, zone_of(row.zone, ask.project), row.country).at
