"""What will go out next, counted: messages already written, and the steps that enrollments wait for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, func, select, union_all

from winback.project import Project
from winback.store import EnrollmentState, MessageState, enrollments, messages


@dataclass(frozen=True)
class NextSend:
    """How many messages of a step are due on a local date, and when the first of them goes (UTC)."""

    campaign: str
    step: str
    due_on: date
    first_at: datetime
    count: int


def forecast(connection: Connection, project: Project, now: datetime, limit: int | None = 20) -> list[NextSend]:
    """Return the next sends of all live campaigns by time, holdouts left out.

    Steps that are more than a day away are asked all rules again when their time comes, so their counts are upper bounds.
    """
    live = [name for name, campaign in project.campaigns.items() if campaign.enabled]
    written = select(messages.c.campaign, messages.c.step, messages.c.due_on, messages.c.next_attempt_at.label("at")).where(
        messages.c.state == MessageState.PLANNED, messages.c.campaign.in_(live)
    )
    waiting = select(enrollments.c.campaign, enrollments.c.step, enrollments.c.due_on, enrollments.c.due_at).where(
        enrollments.c.state == EnrollmentState.ACTIVE, enrollments.c.campaign.in_(live), enrollments.c.held_out.is_(False)
    )
    coming = union_all(written, waiting).subquery("coming")
    first = func.min(coming.c.at, type_=coming.c.at.type)
    rows = connection.execute(
        select(coming.c.campaign, coming.c.step, coming.c.due_on, first, func.count())
        .group_by(coming.c.campaign, coming.c.step, coming.c.due_on)
        .order_by(first, coming.c.campaign, coming.c.step)
        .limit(limit)
    )
    return [NextSend(*row) for row in rows]
