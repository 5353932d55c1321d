"""Let the people of a campaign's audience in: one enrollment for each customer and occasion."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Insert, String, bindparam, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from winback.plan.tables import candidates, slots
from winback.policy import Slot, Timetable, after_date, after_moment, zone_of
from winback.project import Campaign, Project
from winback.store import COUNTED, EnrollmentState, UtcDateTime, enrollments, look_over, orders

#: People who come in at once, from which on it is asked whether what the database knows of all enrollments is out of date.
_MANY = 10_000

_ANCHORS = (
    select(candidates.c.zone, candidates.c.country, candidates.c.anchor_at, candidates.c.anchor_on)
    .where(candidates.c.failure.is_(None))
    .distinct()
)
_EMPTY, _FILL = slots.delete(), insert(slots)

_COPIED = ("customer_id", "occasion", "anchor_at", "anchor_on", "order_id", "zone", "variant", "held_out")


def enroll(connection: Connection, project: Project, campaign: Campaign, now: datetime) -> int:
    """Write an enrollment for every candidate whom no rule turned away, due at the first step's time; return how many."""
    anchors = connection.execute(_ANCHORS).all()
    if not anchors:
        return 0
    connection.execute(_EMPTY)
    step = campaign.steps[0]
    table = Timetable.of(project, campaign, step, step.channel)
    after = step.after + campaign.audience.wait
    connection.execute(
        _FILL,
        [
            {"zone": zone, "country": country, "anchor_at": at, "anchor_on": on, "due_at": slot.at, "due_on": slot.on}
            for zone, country, at, on in anchors
            for slot in [_first_slot(after, table, zone_of(zone, project), country, at, on)]
        ],
    )
    backend = connection.dialect.name
    about = {"campaign": campaign.name, "first_step": step.name, "now": now}
    kinds = [anchor for anchor, place in (("anchor_at", 2), ("anchor_on", 3)) if any(row[place] is not None for row in anchors)]
    insertions = [_insertion(backend, kind, by_last_order=campaign.audience.by_last_order) for kind in kinds]
    count = sum(connection.execute(each, about, execution_options=COUNTED).rowcount for each in insertions)
    if count >= _MANY:
        look_over(connection, (enrollments,))
    return count


def _first_slot(
    after: timedelta, table: Timetable, zone: ZoneInfo, country: str, anchor_at: datetime | None, anchor_on: date | None
) -> Slot:
    """Return when the first step of an enrollment with this anchor is due."""
    if anchor_at is not None:
        return after_moment(anchor_at, after, table, zone, country)
    assert anchor_on is not None  # noqa: S101 an enrollment has exactly one of both
    return after_date(anchor_on, after, table, zone, country)


@cache
def _insertion(backend: str, anchor: str, *, by_last_order: bool) -> Insert:
    """Return what writes the enrollments that are counted from moments, or from dates."""
    same_place = (slots.c.zone == candidates.c.zone) & (slots.c.country == candidates.c.country)
    source = candidates.join(slots, same_place & (slots.c[anchor] == candidates.c[anchor]))
    copied = {name: candidates.c[name] for name in _COPIED}
    if by_last_order:
        source = source.outerjoin(orders, orders.c.external_id == candidates.c.occasion)
        copied["order_id"] = orders.c.id
    # Joined by one kind of anchor at a time: plain equality uses a hash or an index, "is not distinct from" does not.
    rows = (
        select(
            bindparam("campaign", type_=String()),
            *copied.values(),
            literal(EnrollmentState.ACTIVE.value),
            bindparam("first_step", type_=String()),
            slots.c.due_at,
            slots.c.due_on,
            bindparam("now", type_=UtcDateTime()),
        )
        .select_from(source)
        .where(candidates.c.failure.is_(None))
        .order_by(candidates.c.id)
    )
    names = ["campaign", *_COPIED, "state", "step", "due_at", "due_on", "enrolled_at"]
    if backend == "postgresql":
        return postgresql.insert(enrollments).from_select(names, rows).on_conflict_do_nothing()
    return sqlite.insert(enrollments).from_select(names, rows).on_conflict_do_nothing()
