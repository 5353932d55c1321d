"""The loop: what people do, a look at the campaigns, what is due; moment after moment, as a daemon would.

The near future is played as a daemon would run it: a pass every hour, and whenever something is due. What comes later rests on
assumptions far more than on the hour, so it is looked at once a day, and messages go up to four hours later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, and_, bindparam, false, func, or_, select

from winback import ledger
from winback.clock import start_of_day
from winback.dispatch import DispatchResult
from winback.dispatch.recipients import Addressee
from winback.dispatch.sizing import Parts, TextMessage
from winback.dispatch.taking import take
from winback.ledger import Claimed, Move
from winback.plan import THOROUGH_EVERY, PlanResult, plan
from winback.plan.planner import plan_in_order
from winback.plan.tables import own_tables
from winback.policy import step_of
from winback.project import Project
from winback.simulation.assumptions import Assumptions
from winback.simulation.competition import Competition
from winback.simulation.people import People, Sent
from winback.simulation.result import Simulated
from winback.store import Channel, EnrollmentState, MessageState, enrollments, messages

_DAY = timedelta(days=1)

#: In the far future what is due waits for the next multiple of this since midnight UTC.
_FAR_STEP = timedelta(hours=4)

#: The near future, and how often a pass is made in it at least.
NEAR = timedelta(days=14)
EVERY = THOROUGH_EVERY

#: The gateway and the dispatcher of a simulation, as its ledger names them.
SIMULATION = "simulation"

#: Text messages of each step that are composed to see how long they are.
_COMPOSED = 200

_attempt = messages.c.next_attempt_at
_NEXT_MESSAGE = select(func.min(_attempt, type_=_attempt.type)).where(
    messages.c.state == MessageState.PLANNED, _attempt > bindparam("at")
)

_DUE = select(messages.c.id).where(messages.c.state == MessageState.PLANNED, _attempt <= bindparam("at")).limit(1)

_CHANNELS = [channel.value for channel in Channel]


@dataclass(frozen=True)
class Span:
    """What is played, and what of it is shown: from `shown`, which is `start` or later, until just before `until`."""

    start: datetime
    shown: datetime
    until: datetime


def simulate(
    connection: Connection,
    project: Project,
    assumed: Assumptions,
    span: Span,
    *,
    every: timedelta = EVERY,
    progress: Callable[[datetime], None] | None = None,
) -> Simulated:
    """Play what a daemon would do in a scratch copy of the shop's database, and return what it showed.

    `progress` is told each moment. Campaigns that fail are in the result's errors; the others go on.
    """
    from winback.simulation.summary import summarize

    with connection.begin():
        world = World(connection, project, assumed, span.start)
    # What may be late by less cannot wait.
    patient = all(campaign.schedule.late >= _FAR_STEP for campaign in project.campaigns.values())
    since = at = look = span.start
    while at < span.until:
        with connection.begin():
            if since < span.shown <= at:
                world.begin()
            world.people.act(since, at)
            near = at < span.start + NEAR
            names = None if near or at >= look else world.waiting(since, at)
            if names is None or names:
                world.look(at, names)
            world.dispatch(at)
            due = world.next_due(at)
        if progress is not None:
            progress(at)
        if at >= look:
            look = _next_look(project, at, near, every)
        since = at
        if due is not None and not near and patient:
            due = _far_step(due)
        at = look if due is None else min(look, due)
    with connection.begin():
        return summarize(world, assumed, span)


def _next_look(project: Project, at: datetime, near: bool, every: timedelta) -> datetime:
    """Return when the campaigns are looked at next: in the near future every so often, later when a day begins."""
    if near:
        return at + every
    zone = ZoneInfo(project.settings.shop.zone)
    return start_of_day(start_of_day(at, zone) + _DAY + timedelta(hours=2), zone)  # a day may have 25 hours


def _far_step(moment: datetime) -> datetime:
    """Return the first of the far future's moments that is not before this one."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + -(-(moment - midnight) // _FAR_STEP) * _FAR_STEP


class World:
    """The copied shop, its people, and an account of what happens."""

    def __init__(self, connection: Connection, project: Project, assumed: Assumptions, start: datetime) -> None:
        self.connection = connection
        self.project = project
        self.people = People(connection, project, assumed, start)
        self.competition = Competition(connection, project)
        self.exited: Counter[str] = Counter()
        self.passes = 0
        self.errors: list[str] = []
        self._asked: datetime | None = None  # when everybody was asked last
        self._parts = Parts(project, at_most=_COMPOSED)
        waiting, due = _conditional(project), enrollments.c.due_at
        between = waiting, due > bindparam("since"), due <= bindparam("at")
        self._answerable = select(enrollments.c.campaign).where(*between).distinct()
        self._next_condition = select(func.min(due, type_=due.type)).where(waiting, due > bindparam("at"))

    def begin(self) -> None:
        """Forget what was counted: from here on it is shown."""
        self.people.done.clear()
        self.competition.begin()
        self.exited.clear()
        self.passes = 0

    def look(self, at: datetime, names: Sequence[str] | None) -> None:
        """Let people in and write their messages, for all campaigns, everybody asked as often as a daemon does, or for some."""
        thorough = names is None and (self._asked is None or at - self._asked >= THOROUGH_EVERY)
        if thorough:
            self._asked = at
        outcome = (
            plan(self.connection, self.project, at, worker=SIMULATION, thorough=thorough)
            if names is None
            else self._look_at_some(at, names)
        )
        self.passes += 1
        for campaign in outcome.campaigns:
            self.exited[campaign.campaign] += sum(step.exited for step in campaign.steps)
        self._complain(outcome.errors)
        self._complain(f"campaign {each.campaign}: {each.error}" for each in outcome.campaigns if each.error)
        self.competition.after_planning(outcome)

    def _look_at_some(self, at: datetime, names: Sequence[str]) -> PlanResult:
        """Write the messages of these campaigns, by scores and whatever else is computed of everybody as of the last look."""
        with own_tables(self.connection):
            return PlanResult(at, plan_in_order(self.connection, self.project, at, names, worker=SIMULATION, thorough=False))

    def waiting(self, since: datetime, at: datetime) -> list[str]:
        """Return the campaigns with steps whose condition can be answered now."""
        return list(self.connection.scalars(self._answerable, {"since": since, "at": at}))

    def next_due(self, at: datetime) -> datetime | None:
        """Return when the next message goes, or the next condition can be answered."""
        found = (self.connection.scalar(query, {"at": at}) for query in (_NEXT_MESSAGE, self._next_condition))
        return min((moment for moment in found if moment is not None), default=None)

    def dispatch(self, at: datetime) -> None:
        """Ask the rules again for what is due, and let go what may go."""
        if self.connection.scalar(_DUE, {"at": at}) is None:
            return
        result = DispatchResult()
        more = True
        while more:
            taken = take(self.connection, self.project, SIMULATION, _CHANNELS, now=at, worker=SIMULATION, result=result)
            if taken.claims:
                self._send(taken.claims, at)
            # One that did not go may go by the other channel at once.
            more = taken.count == self.project.settings.dispatch.batch or len(taken.claims) < taken.count
        self._complain(result.errors)
        if result.taken:
            self.competition.after_dispatch()

    def _send(self, claims: list[Claimed], at: datetime) -> None:
        parts = self._parts.count(self.connection, self._texts(claims), at)
        moves = [
            Move(
                claim.id,
                MessageState.SENDING,
                MessageState.SENT,
                values={"gateway": SIMULATION, "attempts": claim.attempts + 1, "sent_at": at, "segments": parts.get(claim.id)},
            )
            for claim in claims
        ]
        ledger.apply(self.connection, moves, now=at, worker=SIMULATION, claimed_by=SIMULATION)
        self.people.receive(
            Sent(claim.id, claim.customer_id, claim.campaign, claim.step, claim.channel, claim.purpose, at) for claim in claims
        )

    def _texts(self, claims: list[Claimed]) -> list[TextMessage]:
        """Return the text messages among these, as they are composed."""
        by_sms = [claim for claim in claims if claim.channel == Channel.SMS]
        if not by_sms:
            return []
        numbers = [claim.enrollment_id for claim in by_sms]
        query = select(enrollments.c.id, enrollments.c.order_id).where(enrollments.c.id.in_(numbers))
        about = {row.id: row.order_id for row in self.connection.execute(query)}
        texts = []
        for claim in by_sms:
            found = step_of(self.project, claim.campaign, claim.step)
            if found is not None:
                addressee = Addressee(claim.id, *found, claim.customer_id, about[claim.enrollment_id], Channel.SMS)
                texts.append(TextMessage(addressee, claim.variant))
        return texts

    def _complain(self, errors: Iterable[str]) -> None:
        for error in errors:
            if error not in self.errors:
                self.errors.append(error)


def _conditional(project: Project) -> ColumnElement[bool]:
    """Return SQL for the enrollments that wait for a step with a condition."""
    steps = [(campaign.name, step.name) for campaign in project.campaigns.values() for step in campaign.steps if step.only_if]
    named = (and_(enrollments.c.campaign == campaign, enrollments.c.step == step) for campaign, step in steps)
    return and_(enrollments.c.state == EnrollmentState.ACTIVE, or_(false(), *named))
