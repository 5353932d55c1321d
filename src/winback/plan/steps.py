"""Write the messages of steps whose time comes near, and move each enrollment on to its next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, literal, select, update

from winback import ledger
from winback.policy import (
    LONGEST_DEFERRAL,
    Ask,
    RuleName,
    Slot,
    Stage,
    Timetable,
    after_moment,
    first_failure,
    with_fallback,
    zone_of,
)
from winback.project import Campaign, Project, Step
from winback.store import AnyRow, EnrollmentState, MessageState, UtcDateTime, customers, enrollments, plus_seconds

#: A message is written at most this long before it is due.
HORIZON = timedelta(days=1)

#: Reasons to leave a campaign, besides its own exit condition.
STEP_REMOVED = "step_removed"

_CHUNK = 2_000


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


def plan_step(connection: Connection, project: Project, campaign: Campaign, step: Step, now: datetime, worker: str) -> StepPlan:
    """Plan one step for every enrollment that waits for it and is due soon."""
    result = StepPlan(step.name)
    due = list(_due(connection, project, campaign, step, now))
    result.due = len(due)
    table = Timetable.of(campaign, step, project.settings.quiet_hours.for_channel(step.channel))
    for start in range(0, len(due), _CHUNK):
        sorted_out = _sort_out(project, campaign, step, due[start : start + _CHUNK], now, table)
        ledger.insert(connection, sorted_out.messages, now=now, worker=worker)
        _exit(connection, sorted_out.exited)
        _defer(connection, sorted_out.put_off)
        _advance(connection, project, campaign, step, sorted_out.moved_on)
        sorted_out.count_into(result)
    return result


@dataclass
class _Sorted:
    """Enrollments at one step, by what becomes of them."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    moved_on: list[AnyRow] = field(default_factory=list)  # those with a message
    put_off: list[dict[str, Any]] = field(default_factory=list)
    exited: list[int] = field(default_factory=list)

    def count_into(self, result: StepPlan) -> None:
        states = Counter(message["state"] for message in self.messages)
        result.planned += states[MessageState.PLANNED]
        result.held_out += states[MessageState.HELD_OUT]
        result.exited += len(self.exited)
        result.deferred += len(self.put_off)
        result.skipped.update(message["reason"] for message in self.messages if message["state"] == MessageState.SKIPPED)


def leave_removed_steps(connection: Connection, campaign: Campaign) -> int:
    """Let enrollments go whose next step is no longer in the file; return how many."""
    names = [step.name for step in campaign.steps]
    return connection.execute(
        update(enrollments)
        .where(
            enrollments.c.campaign == campaign.name,
            enrollments.c.state == EnrollmentState.ACTIVE,
            enrollments.c.step.not_in(names),
        )
        .values(state=EnrollmentState.EXITED, exit_reason=STEP_REMOVED, step=None, due_at=None)
    ).rowcount


def _due(connection: Connection, project: Project, campaign: Campaign, step: Step, now: datetime) -> Iterator[AnyRow]:
    """Yield the enrollments that wait for `step`, each with the first rule it fails and the channel to use."""
    due_at = enrollments.c.due_at
    # A condition on what the person does meanwhile can only be answered when the time has come.
    horizon = now if step.only_if else now + HORIZON
    waiting = (
        enrollments.c.campaign == campaign.name,
        enrollments.c.state == EnrollmentState.ACTIVE,
        enrollments.c.step == step.name,
        due_at <= horizon,
    )
    # Most passes find nobody at most steps, and to write down all rules takes longer than to look.
    if connection.scalar(select(enrollments.c.id).where(*waiting).limit(1)) is None:
        return
    moment = literal(now, UtcDateTime())
    ask = Ask(
        project=project,
        campaign=campaign,
        stage=Stage.PLAN,
        now=now,
        step=step,
        channel=step.channel,
        customer=customers,
        enrollment=enrollments,
        at=case((due_at < moment, moment), else_=due_at),
        valid_until=plus_seconds(due_at, literal(campaign.schedule.late.total_seconds())),
    )
    failure, channel = with_fallback(ask, first_failure(ask))
    yield from connection.execute(
        select(
            enrollments.c.id,
            enrollments.c.customer_id,
            customers.c.external_id,
            enrollments.c.occasion,
            enrollments.c.variant,
            enrollments.c.held_out,
            enrollments.c.zone,
            enrollments.c.due_at,
            enrollments.c.due_on,
            enrollments.c.deferred_from,
            failure.label("failure"),
            channel.label("channel"),
        )
        .join(customers, customers.c.id == enrollments.c.customer_id)
        .where(*waiting)
        .order_by(due_at, enrollments.c.id)
    )


def _sort_out(
    project: Project, campaign: Campaign, step: Step, rows: Sequence[AnyRow], now: datetime, table: Timetable
) -> _Sorted:
    result = _Sorted()
    for row in rows:
        if row.failure == RuleName.EXIT:
            result.exited.append(row.id)
            continue
        if row.failure == RuleName.CAPPED and campaign.limits.on_capped == "defer":
            later = _a_day_later(project, row, table)
            if later is not None:
                result.put_off.append(later)
                continue
        result.moved_on.append(row)
        result.messages.append(_message(campaign, step, row, now))
    return result


def _message(campaign: Campaign, step: Step, row: AnyRow, now: datetime) -> dict[str, Any]:
    allowed = MessageState.HELD_OUT if row.held_out else MessageState.PLANNED
    state = allowed if row.failure is None else MessageState.SKIPPED
    return {
        "id": ledger.message_id(campaign.name, row.external_id, row.occasion, step.name),
        "enrollment_id": row.id,
        "campaign": campaign.name,
        "step": step.name,
        "customer_id": row.customer_id,
        "channel": row.channel,
        "purpose": campaign.purpose.value,
        "variant": row.variant,
        "state": state.value,
        "reason": row.failure,
        "planned_at": now,
        "due_at": row.due_at,
        "due_on": row.due_on,
        "next_attempt_at": row.due_at,
        "valid_until": row.due_at + campaign.schedule.late,
        "definition_hash": campaign.definition_hash,
    }


def _a_day_later(project: Project, row: AnyRow, table: Timetable) -> dict[str, Any] | None:
    """Return the put-off enrollment's new time, or None when it has waited long enough."""
    since = row.deferred_from or row.due_at
    slot = after_moment(row.due_at, timedelta(days=1), table, zone_of(row.zone, project))
    if slot.at - since > LONGEST_DEFERRAL:
        return None
    return {"enrollment": row.id, "at": slot.at, "on": slot.on, "since": since}


def _exit(connection: Connection, ids: Sequence[int]) -> None:
    if ids:
        connection.execute(
            update(enrollments)
            .where(enrollments.c.id.in_(ids))
            .values(state=EnrollmentState.EXITED, exit_reason=RuleName.EXIT.value, step=None, due_at=None)
        )


def _defer(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(
            update(enrollments)
            .where(enrollments.c.id == bindparam("enrollment"))
            .values(
                due_at=bindparam("at"),
                due_on=bindparam("on"),
                deferred_from=bindparam("since"),
                waiting=RuleName.CAPPED.value,
            ),
            rows,
        )


def _advance(connection: Connection, project: Project, campaign: Campaign, step: Step, rows: Sequence[AnyRow]) -> None:
    """Move enrollments to the step after `step`, counted from when this one was due."""
    if not rows:
        return
    following = campaign.next_step(step.name)
    if following is None:
        connection.execute(
            update(enrollments)
            .where(enrollments.c.id.in_([row.id for row in rows]))
            .values(state=EnrollmentState.FINISHED, step=None, due_at=None, waiting=None, deferred_from=None)
        )
        return
    table = Timetable.of(campaign, following, project.settings.quiet_hours.for_channel(following.channel))
    slots: dict[tuple[str, datetime], Slot] = {}
    for row in rows:
        key = (row.zone, row.due_at)
        if key not in slots:
            slots[key] = after_moment(row.due_at, following.after, table, zone_of(row.zone, project))
    connection.execute(
        update(enrollments)
        .where(enrollments.c.id == bindparam("enrollment"))
        .values(
            step=following.name,
            due_at=bindparam("at"),
            due_on=bindparam("on"),
            waiting=None,
            deferred_from=None,
        ),
        [{"enrollment": row.id, "at": slot.at, "on": slot.on} for row in rows for slot in [slots[row.zone, row.due_at]]],
    )
