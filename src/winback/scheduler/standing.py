"""Where everything stands: messages by state, what waits for what and until when, and those nobody knows the fate of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, or_, select

from winback.dispatch import limits
from winback.installation import look
from winback.policy import REASONS
from winback.project import Project
from winback.scheduler.storage import hindrance
from winback.store import (
    Channel,
    EnrollmentState,
    MessageState,
    campaign_states,
    customers,
    enrollments,
    gateway_states,
    message_history,
    messages,
)

#: Why messages that are due have not gone, where nothing else stands in their way.
NEXT_PASS = "the next pass sends them"  # noqa: S105 - a sentence, not a password

#: Says that a gateway has a limit, which is as it should be.
AT_MOST = "sends at most"


@dataclass(frozen=True)
class Waiting:
    """Messages of one step that wait for something. `since` is when the oldest was due, `until` when they are looked at again.

    `until` is empty where only a person can say. `due` tells those whose time has come from those put off to a later time.
    """

    campaign: str
    step: str
    channel: str | None
    count: int
    why: str
    since: datetime
    until: datetime | None
    due: bool


@dataclass(frozen=True)
class Uncertain:
    """A message that was handed over and whose answer never came. `since` is when that was found out."""

    message_id: str
    campaign: str
    step: str
    customer: str  # external id
    channel: str
    gateway: str | None
    why: str | None
    since: datetime


def counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Count the ledger's messages by campaign and state."""
    rows = connection.execute(
        select(messages.c.campaign, messages.c.state, func.count())
        .group_by(messages.c.campaign, messages.c.state)
        .order_by(messages.c.campaign, messages.c.state)
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for campaign, state, count in rows:
        found[campaign][state] = count
    return dict(found)


def waiting(connection: Connection, project: Project, now: datetime) -> list[Waiting]:
    """Return everything that is late, was put off, or cannot go on, with the reason and the next time, the oldest first."""
    found = [*_messages(connection, project, now), *_put_off(connection), *_stranded(connection, project)]
    return sorted(found, key=lambda each: (each.since, each.campaign, each.step))


def uncertain(connection: Connection, limit: int | None = None) -> list[Uncertain]:
    """Return the messages whose fate nobody knows, the newest first."""
    since = (
        select(func.max(message_history.c.at, type_=message_history.c.at.type))
        .where(message_history.c.message_id == messages.c.id, message_history.c.to_state == MessageState.UNCERTAIN)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            messages.c.id,
            messages.c.campaign,
            messages.c.step,
            customers.c.external_id,
            messages.c.channel,
            messages.c.gateway,
            messages.c.reason,
            since.label("since"),
        )
        .join(customers, customers.c.id == messages.c.customer_id)
        .where(messages.c.state == MessageState.UNCERTAIN)
        .order_by(since.desc(), messages.c.id)
        .limit(limit)
    )
    return [Uncertain(*row) for row in rows]


def _messages(connection: Connection, project: Project, now: datetime) -> Iterator[Waiting]:
    """Yield messages that are due and did not go, and those put off to a later time."""
    obstacles = _Obstacles(connection, project, now)
    due = messages.c.next_attempt_at <= now
    put_off = or_(messages.c.reason.is_not(None), messages.c.attempts > 0)
    keys = (messages.c.campaign, messages.c.step, messages.c.channel, messages.c.reason, due.label("due"))
    oldest = func.min(messages.c.due_at, type_=messages.c.due_at.type)
    again = func.min(messages.c.next_attempt_at, type_=messages.c.next_attempt_at.type)
    rows = connection.execute(
        select(*keys, func.count().label("number"), oldest.label("since"), again.label("again"))
        .where(messages.c.state == MessageState.PLANNED, or_(due, put_off))
        .group_by(*keys)
    )
    for row in rows:
        why, until = reason_text(row.reason), row.again
        if row.due:
            why, until = obstacles.before(row.campaign, row.channel) or (NEXT_PASS, None)
        yield Waiting(row.campaign, row.step, row.channel, row.number, why, row.since, until, bool(row.due))


def _put_off(connection: Connection) -> Iterator[Waiting]:
    """Yield enrollments whose next step was put off."""
    since = func.min(func.coalesce(enrollments.c.deferred_from, enrollments.c.due_at), type_=enrollments.c.due_at.type)
    until = func.min(enrollments.c.due_at, type_=enrollments.c.due_at.type)
    keys = (enrollments.c.campaign, enrollments.c.step, enrollments.c.waiting)
    rows = connection.execute(
        select(*keys, func.count().label("number"), since.label("since"), until.label("until"))
        .where(enrollments.c.state == EnrollmentState.ACTIVE, enrollments.c.waiting.is_not(None))
        .group_by(*keys)
    )
    for row in rows:
        yield Waiting(row.campaign, row.step, None, row.number, reason_text(row.waiting), row.since, row.until, due=False)


def _stranded(connection: Connection, project: Project) -> Iterator[Waiting]:
    """Yield enrollments that cannot go on because their campaign is off, or gone from the files."""
    live = [name for name, campaign in project.campaigns.items() if campaign.enabled]
    keys = (enrollments.c.campaign, enrollments.c.step)
    rows = connection.execute(
        select(
            *keys, func.count().label("number"), func.min(enrollments.c.due_at, type_=enrollments.c.due_at.type).label("since")
        )
        .where(
            and_(
                enrollments.c.state == EnrollmentState.ACTIVE,
                enrollments.c.campaign.not_in(live),
                enrollments.c.waiting.is_(None),
                enrollments.c.due_at.is_not(None),
            )
        )
        .group_by(*keys)
    )
    for row in rows:
        why = "the campaign is switched off" if row.campaign in project.campaigns else "the campaign is gone from the files"
        yield Waiting(row.campaign, row.step, None, row.number, why, row.since, None, due=False)


class _Obstacles:
    """What stands in the way of messages that are due."""

    def __init__(self, connection: Connection, project: Project, now: datetime) -> None:
        self._project = project
        self._now = now
        self._refusal = look(connection.engine, project)
        found = hindrance(connection, project)
        self._hindrance = found if found is not None and not found.busy else None
        self._paused = {
            row.name: row.pause_reason
            for row in connection.execute(
                select(campaign_states.c.name, campaign_states.c.pause_reason).where(campaign_states.c.paused_at.is_not(None))
            )
        }
        self._gateways = {
            row.name: row
            for row in connection.execute(select(gateway_states))
            if row.paused_until is None or row.paused_until > now
        }
        self._limits = limits(connection, project, now)

    def before(self, campaign: str, channel: str) -> tuple[str, datetime | None] | None:
        """Return the reason and the time it is looked at again, or None when nothing stands in the way."""
        if self._refusal is not None:
            return str(self._refusal), None
        if self._hindrance is not None:
            return self._hindrance.message, None
        if campaign in self._paused:
            by = f" {self._paused[campaign]}" if self._paused[campaign] else ""
            return f"the campaign is paused{by}; to let it go on: winback resume {campaign}", None
        gateway = self._project.settings.deliver.for_channel(Channel(channel))
        if gateway in self._gateways:
            row = self._gateways[gateway]
            return f"the gateway {gateway} is not used at present: {row.reason}", row.paused_until
        return self._limit(gateway)

    def _limit(self, gateway: str) -> tuple[str, datetime | None] | None:
        """Return the limit that holds a gateway back the longest, else one that has something to count."""
        used = [limit for limit in self._limits if limit.gateway == gateway and limit.used]
        if not used:
            return None
        tightest = max(used, key=lambda limit: (limit.until is not None, limit.until or self._now))
        return f"the gateway {gateway} {AT_MOST} {tightest}", tightest.until


def reason_text(reason: str | None) -> str:
    """Return a stored reason in words; a gateway's own words stay as they are."""
    if not reason:
        return "is tried again"
    return REASONS.get(reason, reason)
