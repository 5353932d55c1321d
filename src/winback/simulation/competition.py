"""Who loses to whom: every message that a cap put off or stopped, and the messages that had taken its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects import sqlite

from winback.plan import PlanResult
from winback.policy import GONE, RuleName, messages_in_window
from winback.project import Cap, Project
from winback.store import Channel, EnrollmentState, Id, Purpose, UtcDateTime, enrollments, message_history, messages

_metadata = MetaData()

#: Each message that a cap was in the way of, once, however often it was put off; and when it should have gone.
_losses = Table(
    "simulated_losses",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("enrollment_id", Id, nullable=False),
    Column("step", String(100), nullable=False),
    Column("campaign", String(100), nullable=False),
    Column("customer_id", Id, nullable=False),
    Column("channel", String(10), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("enrollment_id", "step"),
    prefixes=["TEMPORARY"],
)

_NEWEST_MOVE, _NEWEST_LOSS = select(func.max(message_history.c.id)), select(func.max(_losses.c.id))

_COLUMNS = ["enrollment_id", "step", "campaign", "customer_id", "channel", "at"]

_STOPPED = (
    select(
        messages.c.enrollment_id,
        messages.c.step,
        messages.c.campaign,
        messages.c.customer_id,
        messages.c.channel,
        case((messages.c.due_at > message_history.c.at, messages.c.due_at), else_=message_history.c.at),
    )
    .join_from(message_history, messages, messages.c.id == message_history.c.message_id)
    .where(message_history.c.id > bindparam("after"), message_history.c.reason == RuleName.CAPPED)
)
_NOTE_STOPPED = sqlite.insert(_losses).from_select(_COLUMNS, _STOPPED).on_conflict_do_nothing()


class Competition:
    """Keeps account of who lost a place under a cap, and to whom. The copy that it works on is always SQLite's."""

    def __init__(self, connection: Connection, project: Project) -> None:
        self._connection = connection
        self._project = project
        self._priorities = {name: campaign.priority for name, campaign in project.campaigns.items()}
        _metadata.create_all(connection, checkfirst=False)
        self._seen = 0  # losses whose winners are known
        self._first = 0  # losses before that are not shown
        self._history = connection.scalar(_NEWEST_MOVE) or 0
        self.hits: Counter[tuple[str, str, Cap]] = Counter()  # by loser, key of [limits], and cap
        self.lost: Counter[tuple[str, str, str]] = Counter()  # by loser, winner and channel

    def after_planning(self, outcome: PlanResult) -> None:
        """Take note of who was put off while planning."""
        for campaign in outcome.campaigns:
            for step in campaign.steps:
                if step.deferred:
                    self._note_put_off(campaign.campaign, step.step)
        self._note_stopped()
        self._find_winners()

    def after_dispatch(self) -> None:
        """Take note of who was put off or stopped right before the message would have gone."""
        self._note_stopped()
        self._find_winners()

    def begin(self) -> None:
        """Forget what was counted: from here on it is shown."""
        self.hits.clear()
        self.lost.clear()
        self._first = self._seen

    def messages_lost(self) -> Counter[str]:
        """Count the messages that had to wait or never went, by campaign."""
        rows = self._connection.execute(
            select(_losses.c.campaign, func.count()).where(_losses.c.id > self._first).group_by(_losses.c.campaign)
        )
        return Counter({row[0]: row[1] for row in rows})

    def _note_put_off(self, campaign: str, step: str) -> None:
        channel = self._project.campaigns[campaign].step(step).channel
        waiting = select(
            enrollments.c.id,
            enrollments.c.step,
            enrollments.c.campaign,
            enrollments.c.customer_id,
            literal(channel.value),
            enrollments.c.deferred_from,
        ).where(
            enrollments.c.campaign == campaign,
            enrollments.c.step == step,
            enrollments.c.state == EnrollmentState.ACTIVE,
            enrollments.c.waiting == RuleName.CAPPED,
        )
        self._connection.execute(sqlite.insert(_losses).from_select(_COLUMNS, waiting).on_conflict_do_nothing())

    def _note_stopped(self) -> None:
        """Note the messages that were skipped or put off since the last time, by their history."""
        newest = self._connection.scalar(_NEWEST_MOVE) or 0
        if newest == self._history:
            return
        self._connection.execute(_NOTE_STOPPED, {"after": self._history})
        self._history = newest

    def _find_winners(self) -> None:
        newest = self._connection.scalar(_NEWEST_LOSS) or 0
        if newest == self._seen:
            return
        winners: set[tuple[int, str, str, str]] = set()
        for name, cap, channel, purpose in self._caps():
            for loss, (loser, by, found) in self._within(cap, channel, purpose).items():
                if len(found) >= cap.count:
                    self.hits[loser, name, cap] += 1
                    winners |= {(loss, loser, winner, by) for winner in found}
        self.lost.update((loser, winner, by) for _, loser, winner, by in winners)
        self._seen = newest

    def _caps(self) -> Iterator[tuple[str, Cap, Channel | None, Purpose | None]]:
        """Yield every cap with its key of [limits], and the channel or the purpose that it counts alone."""
        limits = self._project.settings.limits
        for channel in Channel:
            yield from ((channel.value, cap, channel, None) for cap in limits.for_channel(channel))
        yield from (("marketing", cap, None, Purpose.MARKETING) for cap in limits.marketing)
        yield from (("total", cap, None, None) for cap in limits.total)

    def _within(self, cap: Cap, channel: Channel | None, purpose: Purpose | None) -> dict[int, tuple[str, str, list[str]]]:
        """Return for each loss its campaign, its channel, and the campaigns of the messages that a cap counts."""
        other = messages.alias("other")
        only = [_losses.c.channel == channel.value] if channel is not None else []
        if purpose is not None:
            only.append(other.c.purpose == purpose.value)
        rows = self._connection.execute(
            select(_losses.c.id, _losses.c.campaign, _losses.c.channel, other.c.campaign.label("winner"), other.c.state).where(
                _losses.c.id > self._seen,
                *only,
                or_(other.c.enrollment_id != _losses.c.enrollment_id, other.c.step != _losses.c.step),
                *messages_in_window(other, customer_id=_losses.c.customer_id, channel=channel, at=_losses.c.at, cap=cap),
            )
        )
        found: dict[int, tuple[str, str, list[str]]] = {}
        for row in rows:
            if self._priorities.get(row.winner, 0) <= self._priorities.get(row.campaign, 0) or row.state in GONE:
                found.setdefault(row.id, (row.campaign, row.channel, []))[2].append(row.winner)
        return found
