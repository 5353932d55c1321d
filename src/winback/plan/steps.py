"""Write the messages of steps whose time comes near, and move each enrollment on to its next step.

All of a step's people at once, in a handful of statements: `ripe` says who they are and which rule each of them fails.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Select,
    String,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from winback import ledger
from winback.audience import AudienceContext
from winback.audience.sql import in_passing
from winback.plan.tables import names, ripe, slots
from winback.policy import (
    COMING,
    GONE,
    LONGEST_DEFERRAL,
    Ask,
    RuleName,
    Stage,
    Timetable,
    after_moment,
    audience_context,
    country_of,
    first_failure,
    with_fallback,
    zone_of,
)
from winback.project import Campaign, Project, Step
from winback.store import EnrollmentState, Id, MessageState, UtcDateTime, customers, enrollments, filled, messages, plus_seconds
from winback.store.given import given

#: A message is written at most this long before it is due.
HORIZON = timedelta(days=1)

#: Reasons to leave a campaign, besides its own exit condition.
STEP_REMOVED = "step_removed"

#: People whose messages' ids are made together.
_CHUNK = 5_000

_NAME = {column.name: column.type for column in names.c}

#: An INSERT … SELECT tells how many rows it wrote when it is asked to.
_COUNTED = {"preserve_rowcount": True}

#: Whether anybody waits for a step of a campaign.
_NEAR = (
    select(enrollments.c.id)
    .where(
        enrollments.c.campaign == bindparam("campaign"),
        enrollments.c.state == EnrollmentState.ACTIVE,
        enrollments.c.due_at <= bindparam("until"),
    )
    .limit(1)
)

_AT_EXIT = ripe.c.failure == RuleName.EXIT
_LET_GO = (
    update(enrollments)
    .where(enrollments.c.id.in_(select(ripe.c.enrollment_id).where(_AT_EXIT)))
    .values(state=EnrollmentState.EXITED, exit_reason=RuleName.EXIT.value, step=None, due_at=None)
)
_FORGET_GONE = delete(ripe).where(_AT_EXIT)

_FIRST = select(func.min(ripe.c.enrollment_id))

#: Some of the people, in the order of their enrollments. PostgreSQL does not conclude from where the one table is to begin where
#: the other is: without being told, it read all enrollments from the first on for each part.
_PEOPLE = (
    select(ripe.c.enrollment_id, customers.c.external_id, enrollments.c.occasion)
    .join(enrollments, enrollments.c.id == ripe.c.enrollment_id)
    .join(customers, customers.c.id == enrollments.c.customer_id)
    .where(ripe.c.enrollment_id > bindparam("last"), in_passing(enrollments.c.id) > bindparam("last"))
    .order_by(ripe.c.enrollment_id)
    .limit(_CHUNK)
)

_OUTCOMES = (
    select(ripe.c.failure, enrollments.c.held_out, func.count())
    .join(enrollments, enrollments.c.id == ripe.c.enrollment_id)
    .group_by(ripe.c.failure, enrollments.c.held_out)
)

_FINISH = (
    update(enrollments)
    .where(enrollments.c.id.in_(select(ripe.c.enrollment_id)))
    .values(state=EnrollmentState.FINISHED, step=None, due_at=None, waiting=None, deferred_from=None)
)


@dataclass
class StepPlan:
    """What one pass did with one step."""

    step: str
    due: int = 0
    planned: int = 0
    held_out: int = 0
    exited: int = 0
    deferred: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # by reason


def plan_steps(connection: Connection, project: Project, campaign: Campaign, now: datetime, worker: str) -> list[StepPlan]:
    """Plan each step for those who wait for it and are due soon; in many passes nobody waits for any."""
    if connection.scalar(_NEAR, {"campaign": campaign.name, "until": now + HORIZON}) is None:
        return [StepPlan(step.name) for step in campaign.steps]
    return [plan_step(connection, project, campaign, step, now, worker) for step in campaign.steps]


def plan_step(connection: Connection, project: Project, campaign: Campaign, step: Step, now: datetime, worker: str) -> StepPlan:
    """Plan one step for every enrollment that waits for it and is due soon."""
    result = StepPlan(step.name)
    result.due = _gather(connection, project, campaign, step, now)
    if result.due:
        if campaign.limits.on_capped == "replace":
            _replace(connection, campaign, now)
        if campaign.limits.on_capped != "skip":
            result.deferred = _put_off(connection, project, campaign, step)
        if campaign.exit.when is not None:
            result.exited = _exit(connection)
        _name_messages(connection, campaign, step)
        ledger.insert_selected(connection, _messages(project, campaign, step, now), now=now, worker=worker)
        _count_into(connection, result)
        _advance(connection, project, campaign, step)
    return result


def leave_removed_steps(connection: Connection, campaign: Campaign) -> int:
    """Let enrollments go whose next step is no longer in the file; return how many."""
    left = [step.name for step in campaign.steps]
    return connection.execute(
        update(enrollments)
        .where(
            enrollments.c.campaign == campaign.name,
            enrollments.c.state == EnrollmentState.ACTIVE,
            enrollments.c.step.not_in(left),
        )
        .values(state=EnrollmentState.EXITED, exit_reason=STEP_REMOVED, step=None, due_at=None)
    ).rowcount


def _gather(connection: Connection, project: Project, campaign: Campaign, step: Step, now: datetime) -> int:
    """Fill `ripe` with the enrollments that wait for `step`; return how many they are."""
    context = audience_context(project, now)
    key = ("ripe", campaign.name, step.name)
    anybody, write = context.prepared(project.definitions, key, partial(_statements, project, campaign, step))
    # Most passes find nobody at most steps, and to ask all rules takes longer than to look.
    if connection.scalar(anybody) is None:
        return 0
    connection.execute(delete(ripe))
    count = connection.execute(write, execution_options=_COUNTED).rowcount
    filled(connection, ripe, count)
    return count


def _statements(project: Project, campaign: Campaign, step: Step, context: AudienceContext) -> tuple[Select[Any], Insert]:
    """Return what asks for one enrollment that waits for a step, and what writes all of them down."""
    due_at = enrollments.c.due_at
    waiting = (
        enrollments.c.campaign == campaign.name,
        enrollments.c.state == EnrollmentState.ACTIVE,
        enrollments.c.step == step.name,
        # A condition on what the person does meanwhile can only be answered when the time has come.
        due_at <= (context.now if step.only_if else context.ago(-HORIZON)),
    )
    ask = Ask(
        project=project,
        campaign=campaign,
        stage=Stage.PLAN,
        context=context,
        step=step,
        channel=step.channel,
        customer=customers,
        enrollment=enrollments,
        at=case((due_at < context.now, context.now), else_=due_at),
        valid_until=plus_seconds(due_at, literal(campaign.schedule.late.total_seconds())),
    )
    failure, channel = with_fallback(ask, first_failure(ask))
    since = func.coalesce(enrollments.c.deferred_from, due_at)
    country = country_of(project, campaign, customers)
    chosen = (
        select(enrollments.c.id, enrollments.c.zone, country, due_at, since, failure, channel)
        .join(customers, customers.c.id == enrollments.c.customer_id)
        .where(*waiting)
    )
    return select(enrollments.c.id).where(*waiting).limit(1), insert(ripe).from_select(list(ripe.c), chosen)


def _replace(connection: Connection, campaign: Campaign, now: datetime) -> None:
    """Give up those who get too much already and have come in anew meanwhile: their newer message is due, or on its way."""
    newer = enrollments.alias("newer")
    own = enrollments.c.id == ripe.c.enrollment_id
    again = (newer.c.campaign == campaign.name, newer.c.customer_id == enrollments.c.customer_id, newer.c.id > enrollments.c.id)
    due = and_(newer.c.state == EnrollmentState.ACTIVE, newer.c.due_at <= now + HORIZON)
    under_way = exists().where(messages.c.enrollment_id == newer.c.id, messages.c.state.in_((*GONE, *COMING)))
    found = select(newer.c.id).join_from(enrollments, newer, and_(*again)).where(own, or_(due, under_way))
    given_up = ripe.c.failure == RuleName.CAPPED, found.correlate(ripe).exists()
    connection.execute(update(ripe).where(*given_up).values(failure=RuleName.REPLACED.value))


def _put_off(connection: Connection, project: Project, campaign: Campaign, step: Step) -> int:
    """Let those wait another day who get too much already, unless they have waited long enough; return how many."""
    capped = ripe.c.failure == RuleName.CAPPED
    if not _find_slots(connection, project, campaign, step, timedelta(days=1), capped):
        return 0
    later = _slot_of_ripe(), capped, slots.c.due_at <= plus_seconds(ripe.c.waits_since, literal(LONGEST_DEFERRAL.total_seconds()))
    count = connection.execute(
        update(enrollments)
        .where(enrollments.c.id == ripe.c.enrollment_id, *later)
        .values(due_at=slots.c.due_at, due_on=slots.c.due_on, deferred_from=ripe.c.waits_since, waiting=RuleName.CAPPED.value)
    ).rowcount
    if count:
        connection.execute(delete(ripe).where(ripe.c.enrollment_id.in_(select(ripe.c.enrollment_id).where(*later))))
    return count


def _exit(connection: Connection) -> int:
    """Let those go who have reached the exit; return how many."""
    if not connection.execute(_LET_GO).rowcount:
        return 0
    return connection.execute(_FORGET_GONE).rowcount


def _name_messages(connection: Connection, campaign: Campaign, step: Step) -> None:
    """Fill `names` for everybody in `ripe`."""
    connection.execute(delete(names))
    count = 0
    last = (connection.scalar(_FIRST) or 0) - 1
    while rows := connection.execute(_PEOPLE, {"last": last}).all():
        last = rows[-1].enrollment_id
        ids = [(number, ledger.message_id(campaign.name, customer, occasion, step.name)) for number, customer, occasion in rows]
        connection.execute(insert(names).from_select(list(names.c), select(given(connection, _NAME, ids))))
        count += len(ids)
    filled(connection, names, count)


def _messages(project: Project, campaign: Campaign, step: Step, now: datetime) -> Select[Any]:
    """Select the messages of everybody in `ripe`: those whom a rule stopped are skipped."""
    state = case(
        (ripe.c.failure.is_not(None), literal(MessageState.SKIPPED.value, String())),
        (enrollments.c.held_out, literal(MessageState.HELD_OUT.value, String())),
        else_=literal(MessageState.PLANNED.value, String()),
    )
    columns: dict[str, ColumnElement[Any]] = {
        "id": names.c.message_id,
        "enrollment_id": enrollments.c.id,
        "campaign": literal(campaign.name, String()),
        "step": literal(step.name, String()),
        "customer_id": enrollments.c.customer_id,
        "channel": ripe.c.channel,
        "purpose": literal(campaign.purpose.value, String()),
        "variant": enrollments.c.variant,
        "state": state,
        "reason": ripe.c.failure,
        "planned_at": literal(now, UtcDateTime()),
        "due_at": ripe.c.due_at,
        "due_on": enrollments.c.due_on,
        "next_attempt_at": ripe.c.due_at,
        "valid_until": plus_seconds(ripe.c.due_at, literal(campaign.schedule.late.total_seconds())),
        "definition_hash": literal(campaign.definition_hash, String()),
        "version_id": literal(project.version, Id),
    }
    return (
        select(*(column.label(name) for name, column in columns.items()))
        .join_from(names, ripe, ripe.c.enrollment_id == names.c.enrollment_id)
        .join(enrollments, enrollments.c.id == names.c.enrollment_id)
    )


def _count_into(connection: Connection, result: StepPlan) -> None:
    for failure, held_out, count in connection.execute(_OUTCOMES):
        if failure is not None:
            result.skipped[failure] += count
        elif held_out:
            result.held_out += count
        else:
            result.planned += count


def _advance(connection: Connection, project: Project, campaign: Campaign, step: Step) -> None:
    """Move everybody in `ripe` to the step after `step`, counted from when this one was due."""
    following = campaign.next_step(step.name)
    if following is None:
        connection.execute(_FINISH)
        return
    _find_slots(connection, project, campaign, following, following.after)
    connection.execute(
        update(enrollments)
        .where(enrollments.c.id == ripe.c.enrollment_id, _slot_of_ripe())
        .values(step=following.name, due_at=slots.c.due_at, due_on=slots.c.due_on, waiting=None, deferred_from=None)
    )


def _find_slots(
    connection: Connection, project: Project, campaign: Campaign, step: Step, after: timedelta, *which: ColumnElement[bool]
) -> bool:
    """Fill `slots` with when `step` is due so long after each of the moments in `ripe`; return whether there are any."""
    connection.execute(delete(slots))
    table = Timetable.of(project, campaign, step, step.channel)
    anchors = connection.execute(select(ripe.c.zone, ripe.c.country, ripe.c.due_at).where(*which).distinct()).all()
    if anchors:
        connection.execute(
            insert(slots),
            [
                {"zone": zone, "country": country, "anchor_at": moment, "due_at": slot.at, "due_on": slot.on}
                for zone, country, moment in anchors
                for slot in [after_moment(moment, after, table, zone_of(zone, project), country)]
            ],
        )
    return bool(anchors)


def _slot_of_ripe() -> ColumnElement[bool]:
    return (slots.c.zone == ripe.c.zone) & (slots.c.country == ripe.c.country) & (slots.c.anchor_at == ripe.c.due_at)
