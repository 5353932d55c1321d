"""Frequency caps: how many messages one person gets in a rolling time, per channel, of marketing alone, and in total."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, FromClause, and_, case, func, literal, or_, select

from winback.project import Cap
from winback.store import Channel, MessageState, Purpose, messages, plus_seconds

if TYPE_CHECKING:
    from winback.policy.rules import Ask

#: A message that would exceed a cap is put off a day at a time, at most this long in total.
LONGEST_DEFERRAL = timedelta(days=7)

#: The person's other messages. Made once: it takes as long as all the rest of the rule.
_OTHER = messages.alias("other")

#: Messages that reached, or may have reached, the person.
GONE = (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED, MessageState.UNCERTAIN)

#: Messages that will probably reach the person.
COMING = (MessageState.PLANNED, MessageState.SENDING)


def within_caps(ask: Ask) -> ColumnElement[bool] | None:
    """Return SQL that is true while the person has room under every cap: the channel's, those of marketing, and those in total.

    Service messages are never capped, but they count: who got a thank-you this morning gets no newsletter at noon.
    """
    limits = ask.project.settings.limits
    caps: list[tuple[Cap, Channel | None, Purpose | None]] = [
        *((cap, ask.channel, None) for cap in limits.for_channel(ask.channel)),
        *((cap, None, Purpose.MARKETING) for cap in limits.marketing),
        *((cap, None, None) for cap in limits.total),
    ]
    if ask.campaign.purpose is Purpose.SERVICE or not caps or ask.at is None:
        return None
    return and_(*(_count(ask, ask.at, cap, channel, purpose) < cap.count for cap, channel, purpose in caps))


def _count(
    ask: Ask, at: ColumnElement[datetime], cap: Cap, channel: Channel | None, purpose: Purpose | None
) -> ColumnElement[int]:
    """Count the person's other messages within the cap's window around `at`, of a channel or all, for a purpose or any.

    What has gone always counts. What is still to come counts when it has precedence: while planning everything planned by
    campaigns of the same or a lower priority number, at dispatch only that of a strictly lower one, and of several claimed at
    once the one that was due first. So a greeting for 09:00 beats a newsletter for 08:00, whichever was planned first. What
    another dispatcher holds is as good as gone: dispatchers claim and ask one after the other.
    """
    from winback.policy.rules import Stage

    other = _OTHER
    priorities = {name: campaign.priority for name, campaign in ask.project.campaigns.items()}
    own = ask.campaign.priority
    behind = [name for name, priority in priorities.items() if priority > own]
    gone = other.c.state.in_(GONE)
    if ask.stage is Stage.DISPATCH and ask.message_id is not None:
        ahead = [name for name, priority in priorities.items() if priority < own]
        # The rows that are asked about are those of `messages` themselves.
        due, holder = messages.c.next_attempt_at, messages.c.claimed_by
        before = or_(other.c.next_attempt_at < due, and_(other.c.next_attempt_at == due, other.c.id < ask.message_id))
        counted = or_(
            gone,
            and_(other.c.state.in_(COMING), other.c.campaign.in_(ahead)),
            and_(
                other.c.state == MessageState.SENDING,
                or_(other.c.claimed_by != holder, and_(other.c.campaign.not_in(behind), before)),
            ),
        )
    else:
        counted = or_(gone, and_(other.c.state.in_(COMING), other.c.campaign.not_in(behind)))
    conditions = [counted, *messages_in_window(other, customer_id=ask.customer.c.id, channel=channel, at=at, cap=cap)]
    if purpose is not None:
        conditions.append(other.c.purpose == purpose.value)
    if ask.message_id is not None:
        conditions.append(other.c.id != ask.message_id)
    return select(func.count()).select_from(other).where(*conditions).scalar_subquery()


def messages_in_window(
    other: FromClause, *, customer_id: ColumnElement[int], channel: Channel | None, at: ColumnElement[datetime], cap: Cap
) -> list[ColumnElement[bool]]:
    """Return the conditions for a person's messages on a channel, or on all, within a cap's window around `at` to both sides."""
    seconds = cap.window / timedelta(seconds=1)
    when = case((other.c.sent_at.is_not(None), other.c.sent_at), else_=other.c.next_attempt_at)
    return [
        other.c.customer_id == customer_id,
        *([] if channel is None else [other.c.channel == channel.value]),
        other.c.state.in_((*GONE, *COMING)),
        when > plus_seconds(at, literal(-seconds)),
        when < plus_seconds(at, literal(seconds)),
    ]
