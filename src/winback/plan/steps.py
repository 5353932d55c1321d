"""Write the messages of steps whose time comes near, and move each enrollment on to its next step.

All of a step's people at once, in a handful of statements: `ripe` says who they are and which rule each of them fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
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
from winback.store import (
    COUNTED,
    EnrollmentState,
    Id,
    MessageState,
    UtcDateTime,
    customers,
    enrollments,
    filled,
    messages,
    plus_seconds,
)
from winback.store.given import as_given, given_as

#: A message is written at most this long before it is due.
HORIZON = timedelta(days=1)

#: Reasons to leave a campaign, besides its own exit condition.
STEP_REMOVED = "step_removed"

#: People whose messages' ids are made together.
_CHUNK = 5_000

_NAME = {column.name: column.type for column in names.c}

#: For which steps of a campaign somebody waits, and since when.
_NEAR = (
    select(enrollments.c.step, func.min(enrollments.c.due_at, type_=UtcDateTime()))
    .where(
        enrollments.c.campaign == bindparam("campaign"),
        enrollments.c.state == EnrollmentState.ACTIVE,
        enrollments.c.due_at <= bindparam("until"),
    )
    .group_by(enrollments.c.step)
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

_EMPTY_RIPE, _EMPTY_NAMES, _EMPTY_SLOTS = delete(ripe), delete(names), delete(slots)
_FILL_SLOTS = insert(slots)

_ANCHORS = select(ripe.c.zone, ripe.c.country, ripe.c.due_at).distinct()
_CAPPED = ripe.c.failure == RuleName.CAPPED
_CAPPED_ANCHORS = _ANCHORS.where(_CAPPED)

_SLOT_OF_RIPE = and_(slots.c.zone == ripe.c.zone, slots.c.country == ripe.c.country, slots.c.anchor_at == ripe.c.due_at)
_CAN_WAIT = (
    _SLOT_OF_RIPE,
    _CAPPED,
    slots.c.due_at <= plus_seconds(ripe.c.waits_since, literal(LONGEST_DEFERRAL.total_seconds())),
)
_PUT_OFF = (
    update(enrollments)
    .where(enrollments.c.id == ripe.c.enrollment_id, *_CAN_WAIT)
    .values(due_at=slots.c.due_at, due_on=slots.c.due_on, deferred_from=ripe.c.waits_since, waiting=RuleName.CAPPED.value)
)
_FORGET_PUT_OFF = delete(ripe).where(ripe.c.enrollment_id.in_(select(ripe.c.enrollment_id).where(*_CAN_WAIT)))

_ADVANCE = (
    update(enrollments)
    .where(enrollments.c.id == ripe.c.enrollment_id, _SLOT_OF_RIPE)
    .values(step=bindparam("following"), due_at=slots.c.due_at, due_on=slots.c.due_on, waiting=None, deferred_from=None)
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
    """Plan each step for those who wait for it and are due soon; in many passes nobody waits for most of them."""
    near = _near(connection, campaign, now)
    results = []
    for step in campaign.steps:
        result = StepPlan(step.name)
        # To ask all rules takes longer than to look.
        if step.name in near and near[step.name] <= _until(step, now):
            plan_step(connection, project, campaign, step, now, worker, result)
            near = _near(connection, campaign, now)  # for some of them the following step may be due soon as well
        results.append(result)
    return results


def _near(connection: Connection, campaign: Campaign, now: datetime) -> dict[str | None, datetime]:
    """Return the steps of a campaign for which somebody waits and is due soon, each with since when."""
    rows = connection.execute(_NEAR, {"campaign": campaign.name, "until": now + HORIZON})
    return {row[0]: row[1] for row in rows}


def _until(step: Step, now: datetime) -> datetime:
    """Return until when a step is due to be planned now."""
    # A condition on what the person does meanwhile can only be answered when the time has come.
    return now if step.only_if else now + HORIZON


def plan_step(  # noqa: PLR0917 - as all of them are called
    connection: Connection, project: Project, campaign: Campaign, step: Step, now: datetime, worker: str, result: StepPlan
) -> None:
    """Plan one step for every enrollment that waits for it and is due soon."""
    asked = _asked(project, campaign, step, now)
    result.due = _gather(connection, asked)
    if not result.due:
        return
    outcomes = _outcomes(connection)
    stopped = {failure for failure, _ in outcomes}
    if RuleName.CAPPED in stopped:
        if campaign.limits.on_capped == "replace":
            _replace(connection, campaign, now)
        if campaign.limits.on_capped != "skip":
            result.deferred = _put_off(connection, project, campaign, step)
    if RuleName.EXIT in stopped:
        result.exited = _exit(connection)
    if stopped & {RuleName.CAPPED, RuleName.EXIT}:
        outcomes = _outcomes(connection)
    if outcomes:
        _name_messages(connection, campaign, step)
        asked.messages.write(connection, now=now, worker=worker)
        _count_into(result, outcomes)
        _advance(connection, project, campaign, step)


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


class _Statements:
    """What is asked about a step in each pass that finds it due."""

    def __init__(self, project: Project, campaign: Campaign, step: Step, context: AudienceContext) -> None:
        self.gather = _gathering(project, campaign, step, context)
        self.messages = ledger.Selected(_messages(project, campaign, step, context))


def _asked(project: Project, campaign: Campaign, step: Step, now: datetime) -> _Statements:
    build = partial(_Statements, project, campaign, step)
    key = ("ripe", campaign.name, step.name)
    return audience_context(project, now).prepared(project.definitions, key, build, form=project.version)


def _gather(connection: Connection, asked: _Statements) -> int:
    """Fill `ripe` with the enrollments that wait for a step; return how many they are."""
    connection.execute(_EMPTY_RIPE)
    count = connection.execute(asked.gather, execution_options=COUNTED).rowcount
    filled(connection, ripe, count)
    return count


def _gathering(project: Project, campaign: Campaign, step: Step, context: AudienceContext) -> Insert:
    """Return what writes down the enrollments that wait for a step."""
    due_at = enrollments.c.due_at
    waiting = (
        enrollments.c.campaign == campaign.name,
        enrollments.c.state == EnrollmentState.ACTIVE,
        enrollments.c.step == step.name,
        due_at <= context.late(lambda clock: _until(step, clock.now)),
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
    return insert(ripe).from_select(list(ripe.c), chosen)


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
    if not _find_slots(connection, project, campaign, step, timedelta(days=1), _CAPPED_ANCHORS):
        return 0
    count = connection.execute(_PUT_OFF).rowcount
    if count:
        connection.execute(_FORGET_PUT_OFF)
    return count


def _exit(connection: Connection) -> int:
    """Let those go who have reached the exit; return how many."""
    if not connection.execute(_LET_GO).rowcount:
        return 0
    return connection.execute(_FORGET_GONE).rowcount


def _name_messages(connection: Connection, campaign: Campaign, step: Step) -> None:
    """Fill `names` for everybody in `ripe`."""
    connection.execute(_EMPTY_NAMES)
    count = 0
    last = (connection.scalar(_FIRST) or 0) - 1
    more = True
    while more:
        rows = connection.execute(_PEOPLE, {"last": last}).all()
        ids = [(number, ledger.message_id(campaign.name, customer, occasion, step.name)) for number, customer, occasion in rows]
        connection.execute(_naming(connection.dialect.name), {"ids": as_given(connection, ids)})
        count += len(ids)
        more = len(rows) == _CHUNK
        last = rows[-1].enrollment_id if rows else last
    filled(connection, names, count)


@cache
def _naming(backend: str) -> Insert:
    return insert(names).from_select(list(names.c), select(given_as(backend, _NAME, "ids")))


def _messages(project: Project, campaign: Campaign, step: Step, context: AudienceContext) -> Select[Any]:
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
        "planned_at": context.now,
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


def _outcomes(connection: Connection) -> dict[tuple[str | None, bool], int]:
    """Count the enrollments in `ripe` by the rule that each fails, those who are held out apart."""
    return {(failure, held_out): count for failure, held_out, count in connection.execute(_OUTCOMES)}


def _count_into(result: StepPlan, outcomes: Mapping[tuple[str | None, bool], int]) -> None:
    for (failure, held_out), count in outcomes.items():
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
    connection.execute(_ADVANCE, {"following": following.name})


def _find_slots(
    connection: Connection, project: Project, campaign: Campaign, step: Step, after: timedelta, which: Select[Any] = _ANCHORS
) -> bool:
    """Fill `slots` with when `step` is due so long after each of the moments in `ripe`; return whether there are any."""
    connection.execute(_EMPTY_SLOTS)
    table = Timetable.of(project, campaign, step, step.channel)
    anchors = connection.execute(which).all()
    if anchors:
        connection.execute(
            _FILL_SLOTS,
            [
                {"zone": zone, "country": country, "anchor_at": moment, "due_at": slot.at, "due_on": slot.on}
                for zone, country, moment in anchors
                for slot in [after_moment(moment, after, table, zone_of(zone, project), country)]
            ],
        )
    return bool(anchors)
