"""What the campaign page adds to the report: the last funnel of people coming in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from winback.policy import REASONS
from winback.store import campaign_states, plan_funnels
from winback.web.words import reason_text

#: What the planner calls the stage of coming in, its first row, those who are in already, and its last row.
_ENROLL, _AUDIENCE, _ALREADY, _ENROLLED = "enroll", "audience", "already", "enrolled"


@dataclass(frozen=True)
class Bar:
    """One bar of a funnel: `kind` is whole, lost or kept; `left` counts who is still there after it."""

    text: str
    count: int
    left: int
    kind: str


@dataclass(frozen=True)
class Intake:
    """How one pass narrowed the audience down to those who came in."""

    at: datetime
    bars: tuple[Bar, ...]

    @property
    def whole(self) -> int:
        """Return the size of the audience."""
        return self.bars[0].count


def state(connection: Connection, name: str) -> Row[Any] | None:
    """Return what the database knows of a campaign; nothing before its first pass."""
    return connection.execute(select(campaign_states).where(campaign_states.c.name == name)).one_or_none()


def intake(connection: Connection, name: str) -> Intake | None:
    """Return the funnel of the latest pass that found anybody; nothing before that."""
    of_stage = (plan_funnels.c.campaign == name, plan_funnels.c.stage == _ENROLL)
    at = connection.scalar(select(func.max(plan_funnels.c.at, type_=plan_funnels.c.at.type)).where(*of_stage))
    if at is None:
        return None
    rows = connection.execute(select(plan_funnels.c.rule, plan_funnels.c.count).where(*of_stage, plan_funnels.c.at == at))
    counts: dict[str, int] = {row[0]: row[1] for row in rows}
    left = counts.pop(_AUDIENCE, 0)
    if not left:
        return None
    enrolled = counts.pop(_ENROLLED, 0)
    bars = [Bar("In the audience", left, left, "whole")]
    order = [_ALREADY, *REASONS]
    for rule in sorted(counts, key=lambda rule: order.index(rule) if rule in order else len(order)):
        left -= counts[rule]
        bars.append(Bar(_lost_text(rule), counts[rule], left, "lost"))
    return Intake(at, (*bars, Bar("Came in", enrolled, enrolled, "kept")))


def _lost_text(rule: str) -> str:
    text = "in it for this occasion already" if rule == _ALREADY else reason_text(rule)
    return text[:1].upper() + text[1:]
