"""The other channel, for people whose address turns out not to exist: a message of its own, named after the step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from winback import ledger
from winback.policy.zones import zone_of
from winback.project import Campaign, Project, Step
from winback.store import MessageState, customers, enrollments, messages

#: A step that fell back after a hard bounce is a message of its own, named after the step.
FALLBACK_SUFFIX = ":fallback"

#: Why a step goes to its other channel when the message had left already.
_HARD_BOUNCE = "hard_bounce"


def step_of(project: Project, campaign: str, name: str) -> tuple[Campaign, Step] | None:
    """Return the campaign and step of a message as the files have them, for one that fell back those of the step it replaces.

    Nothing when they are gone from the files.
    """
    found = project.campaigns.get(campaign)
    step = found.find_step(name.removesuffix(FALLBACK_SUFFIX)) if found else None
    return None if found is None or step is None else (found, step)


def plan_fallbacks(connection: Connection, project: Project, bounced: Sequence[str], *, now: datetime, worker: str) -> int:
    """Plan the step's message on its other channel for messages that bounced for good; return how many were planned.

    Steps without such a fallback, and messages that fell back before, have none. Rules are asked when it is dispatched.
    """
    if not bounced:
        return 0
    rows = connection.execute(
        select(messages, customers.c.external_id, enrollments.c.occasion, enrollments.c.zone)
        .join(customers, customers.c.id == messages.c.customer_id)
        .join(enrollments, enrollments.c.id == messages.c.enrollment_id)
        .where(messages.c.id.in_(bounced), customers.c.erased_at.is_(None))
    )
    planned = [fallback for row in rows for fallback in [_fallback(project, row, now)] if fallback is not None]
    return ledger.insert(connection, planned, now=now, worker=worker)


def _fallback(project: Project, row: Row[Any], now: datetime) -> dict[str, Any] | None:
    found = step_of(project, row.campaign, row.step)
    if found is None:
        return None
    campaign, step = found
    if step.fallback is None or _HARD_BOUNCE not in step.fallback.on or row.step != step.name or row.channel != step.channel:
        return None
    name = step.name + FALLBACK_SUFFIX
    return {
        "id": ledger.message_id(campaign.name, row.external_id, row.occasion, name),
        "enrollment_id": row.enrollment_id,
        "campaign": campaign.name,
        "step": name,
        "customer_id": row.customer_id,
        "channel": step.fallback.channel.value,
        "purpose": row.purpose,
        "variant": row.variant,
        "state": MessageState.PLANNED.value,
        "planned_at": now,
        "due_at": now,
        "due_on": now.astimezone(zone_of(row.zone, project)).date(),
        "next_attempt_at": now,
        "valid_until": now + campaign.schedule.late,
        "definition_hash": campaign.definition_hash,
        "version_id": project.version,
    }
