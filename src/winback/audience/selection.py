"""One SELECT for each preset: customer, occasion, anchor, and the order it is about.

The occasion is what makes a contact happen once. The anchor, a moment or a local date, is what steps count their time from.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, String, case, cast, exists, func, literal, select, true, union_all

from winback.audience.by_date import birthday, everyone, form_of_birthday
from winback.audience.by_order import after_order, milestone, replenish, sleeping
from winback.audience.context import AudienceContext
from winback.audience.occasions import DAY, Selected, between, later, local_dates, row, rows_of
from winback.audience.presets import (
    AfterEvent,
    AfterOrder,
    Birthday,
    EnteredSegment,
    Everyone,
    Milestone,
    Preset,
    ReachedScore,
    Replenish,
    Sleeping,
)
from winback.audience.where import compile_condition
from winback.clock import local_instant
from winback.store import customers, events, plus_seconds, score_crossings, score_states, segment_members


def select_audience(audience: Preset, context: AudienceContext) -> Selected:
    """Return the SELECT of everybody in an audience: customer_id, occasion, anchor_at or anchor_on, order_id, ripe_at.

    What happened, or is due, between the clock's `since` and `until` is looked for. Consent and other rules are not asked.
    `ripe_at` is the moment by which a person whom the occasion lets in is in, however late we look. `order_id` is left empty by
    presets that go by the last order: the occasion says which it is.
    """
    selected: Selected = _PRESETS[type(audience)](audience, context)
    if audience.where is None:
        return selected
    fits = compile_condition(audience.where, context, scope="customer", customer=customers)
    if isinstance(selected, Select):
        return selected.where(fits)
    return union_all(*(each.where(fits) for each in selected.selects if isinstance(each, Select)))


def form_of(audience: Preset, context: AudienceContext) -> Hashable:
    """Return what `select_audience` depends on besides the files: while it is equal, the same SELECT can be asked again."""
    if isinstance(audience, Birthday):
        return form_of_birthday(audience, context)
    if isinstance(audience, Everyone):
        return tuple(local_dates(context.clock))
    return _ends_of_days(context) if isinstance(audience, EnteredSegment) else None


def _reached_score(audience: ReachedScore, context: AudienceContext) -> Select[Any]:
    if audience.stays is not None:
        return _stayed(audience, audience.stays, context)
    crossing = score_crossings.c
    return (
        row(
            customer_id=crossing.customer_id,
            occasion=literal(f"{audience.level}:").concat(cast(crossing.number, String())),
            ripe_at=crossing.at,
            anchor_at=crossing.at,
        )
        .select_from(rows_of(score_crossings, audience))
        .where(
            crossing.model == audience.score,
            crossing.level == audience.level,
            crossing.upward,
            *between(crossing.at, context, timedelta()),
        )
    )


def _stayed(audience: ReachedScore, stays: timedelta, context: AudienceContext) -> Select[Any]:
    """Select who has been in a level for so long. Between two stays in one level lies a level that was reached."""
    state, crossing = score_states.c, score_crossings.alias()
    reached = (
        select(func.coalesce(func.max(crossing.c.number), 0))
        .where(crossing.c.model == audience.score, crossing.c.customer_id == customers.c.id)
        .scalar_subquery()
    )
    return (
        row(
            occasion=literal(f"{audience.level}:stays:").concat(cast(reached, String())),
            ripe_at=later(state.since, stays),
            anchor_at=later(state.since, stays),
        )
        .join_from(customers, score_states, state.customer_id == customers.c.id)
        .where(state.model == audience.score, state.level == audience.level, *between(state.since, context, stays))
    )


def _after_event(audience: AfterEvent, context: AudienceContext) -> Select[Any]:
    at = events.c.at
    selected = (
        row(customer_id=events.c.customer_id, occasion=events.c.external_id, ripe_at=later(at, audience.wait), anchor_at=at)
        .select_from(rows_of(events, audience))
        .where(events.c.name == audience.event, *between(at, context, audience.wait))
    )
    if audience.unless is None:
        return selected
    within = audience.within_or_delay
    other = events.alias()
    return selected.where(
        at <= context.ago(within),
        ~exists().where(
            other.c.customer_id == events.c.customer_id,
            other.c.name == audience.unless,
            other.c.at >= at,
            other.c.at <= plus_seconds(at, literal(within.total_seconds())),
        ),
    )


def _entered_segment(audience: EnteredSegment, context: AudienceContext) -> Selected:
    members = segment_members.c
    at, inside = (members.entered_at, members.left_at.is_(None)) if audience.when == "enters" else (members.left_at, true())
    ends = _ends_of_days(context)
    on = case(*((at < end, literal(day.isoformat())) for end, day in ends), else_=literal(""))
    return (
        row(customer_id=members.customer_id, occasion=on, ripe_at=at, anchor_at=at)
        .select_from(rows_of(segment_members, audience))
        .where(members.segment == audience.segment, inside, at >= context.late(lambda clock: clock.since), at < ends[-1][0])
    )


def _ends_of_days(context: AudienceContext) -> tuple[tuple[datetime, date], ...]:
    """Return when each of the shop's days from `since` to `until` is over."""
    zone = ZoneInfo(context.shop_zone)
    day = context.clock.since.astimezone(zone).date()
    ends: list[tuple[datetime, date]] = []
    while not ends or ends[-1][0] < context.clock.until:
        ends.append((local_instant(day + DAY, time(0), zone), day))
        day += DAY
    return tuple(ends)


_PRESETS: dict[type[Preset], Any] = {
    Sleeping: sleeping,
    Birthday: birthday,
    AfterOrder: after_order,
    ReachedScore: _reached_score,
    AfterEvent: _after_event,
    EnteredSegment: _entered_segment,
    Everyone: everyone,
    Milestone: milestone,
    Replenish: replenish,
}
