"""Read out of a played ledger what happened between two moments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, select

from winback.audience.presets import Birthday
from winback.dispatch.sizing import cost_of
from winback.policy import zone_of
from winback.simulation.assumptions import Assumptions
from winback.simulation.people import ORDER
from winback.simulation.result import CampaignTotal, CapHit, DayVolume, Loss, OddDay, PoolUse, Simulated, SmsUse
from winback.store import (
    Channel,
    InteractionKind,
    MessageState,
    coupons,
    customers,
    enrollments,
    message_history,
    messages,
)

if TYPE_CHECKING:
    from winback.simulation.run import Span, World

_DAY = timedelta(days=1)


def summarize(world: World, assumed: Assumptions, span: Span) -> Simulated:
    """Return what a simulation showed."""
    volume = list(_volume(world, span))
    return Simulated(
        start=span.shown,
        until=span.until,
        passes=world.passes,
        volume=volume,
        campaigns=_totals(world, span, volume),
        caps=[
            CapHit(campaign, limit, str(cap), count) for (campaign, limit, cap), count in sorted(world.competition.hits.items())
        ],
        losses=[
            Loss(loser, winner, channel, count)
            for (loser, winner, channel), count in sorted(world.competition.lost.items(), key=lambda item: (-item[1], item[0]))
        ],
        odd_days=sorted([*_clock_changes(world, span), *_leap_days(world, span)], key=lambda day: (day.on, day.where)),
        coupons=list(_pools(world, assumed, span)),
        sms=list(_text_messages(world, span)),
        errors=world.errors,
    )


def _sent(span: Span) -> tuple[ColumnElement[bool], ...]:
    from winback.simulation.run import SIMULATION

    return (messages.c.gateway == SIMULATION, messages.c.sent_at >= span.shown, messages.c.sent_at < span.until)


def _volume(world: World, span: Span) -> Iterator[DayVolume]:
    zone = ZoneInfo(world.project.settings.shop.zone)
    columns = (messages.c.campaign, messages.c.step, messages.c.channel)
    counts: Counter[tuple[date, str, str, str]] = Counter()
    rows = world.connection.execute(
        select(*columns, messages.c.sent_at, func.count().label("number"))
        .where(*_sent(span))
        .group_by(*columns, messages.c.sent_at)
    )
    for row in rows:
        counts[row.sent_at.astimezone(zone).date(), row.campaign, row.step, row.channel] += row.number
    for key, count in sorted(counts.items()):
        yield DayVolume(*key, count)


def _totals(world: World, span: Span, volume: Sequence[DayVolume]) -> list[CampaignTotal]:
    totals = {name: CampaignTotal(name) for name, campaign in world.project.campaigns.items() if campaign.enabled}
    for day in volume:
        setattr(totals[day.campaign], day.channel, getattr(totals[day.campaign], day.channel) + day.count)
    within = (enrollments.c.enrolled_at >= span.shown, enrollments.c.enrolled_at < span.until)
    query = select(enrollments.c.campaign, func.count()).where(*within).group_by(enrollments.c.campaign)
    for campaign, count in world.connection.execute(query):
        totals[campaign].enrolled = count
    for campaign, state, reason, count in _ends(world, span):
        if campaign not in totals:  # switched off: what it had planned is cancelled
            continue
        if state == MessageState.HELD_OUT:
            totals[campaign].held_out += count
        elif state == MessageState.SKIPPED:
            totals[campaign].skipped[reason] = totals[campaign].skipped.get(reason, 0) + count
        else:
            totals[campaign].exited += count
    lost = world.competition.messages_lost()
    for name, total in totals.items():
        total.put_off = max(lost[name] - total.skipped.get("capped", 0), 0)
        total.exited += world.exited[name]
        total.opens = world.people.done[name, InteractionKind.OPEN]
        total.clicks = world.people.done[name, InteractionKind.CLICK]
        total.orders = world.people.done[name, ORDER]
        total.unsubscribes = world.people.done[name, InteractionKind.UNSUBSCRIBE]
    return list(totals.values())


def _ends(world: World, span: Span) -> Iterator[tuple[str, str, str, int]]:
    """Yield how many messages ended without being sent, by campaign, state and reason."""
    ends = (MessageState.SKIPPED, MessageState.HELD_OUT, MessageState.CANCELLED)
    columns = (messages.c.campaign, message_history.c.to_state, message_history.c.reason)
    rows = world.connection.execute(
        select(*columns, func.count())
        .join_from(message_history, messages, messages.c.id == message_history.c.message_id)
        .where(message_history.c.at >= span.shown, message_history.c.at < span.until, message_history.c.to_state.in_(ends))
        .group_by(*columns)
    )
    for campaign, state, reason, count in rows:
        yield campaign, state, reason or "", count


def _clock_changes(world: World, span: Span) -> Iterator[OddDay]:
    """Yield the dates on which clocks change where people live who get messages that day, or where the shop is."""
    columns = (enrollments.c.zone, messages.c.due_on)
    rows = world.connection.execute(
        select(*columns, func.count())
        .join_from(messages, enrollments, enrollments.c.id == messages.c.enrollment_id)
        .where(*_sent(span))
        .group_by(*columns)
    )
    counts = {(zone, on): count for zone, on, count in rows}
    shop = world.project.settings.shop.zone
    for name in sorted({zone for zone, _ in counts} | {shop}):
        zone = zone_of(name, world.project)
        for day, minutes in _changes(zone, span):
            count = counts.get((name, day), 0)
            if count or name == shop:
                direction = "forward" if minutes > 0 else "back"
                yield OddDay(day, f"clocks go {direction} by {abs(minutes)} minutes", name, count)


def _changes(zone: ZoneInfo, span: Span) -> Iterator[tuple[date, int]]:
    """Yield the local dates on which clocks change, and by how many minutes forward."""
    day, last = span.shown.astimezone(zone).date(), span.until.astimezone(zone).date()
    before = _offset(day, zone)
    while day <= last:
        after = _offset(day + _DAY, zone)
        if after != before:
            yield day, round((after - before) / timedelta(minutes=1))
        before = after
        day += _DAY


def _offset(day: date, zone: ZoneInfo) -> timedelta:
    offset = datetime.combine(day, time(0), tzinfo=zone).utcoffset()
    assert offset is not None  # noqa: S101 - zones have one
    return offset


def _leap_days(world: World, span: Span) -> Iterator[OddDay]:
    """Yield the days on which people born on 29 February get their greetings."""
    for campaign in world.project.campaigns.values():
        audience = campaign.audience
        if not campaign.enabled or not isinstance(audience, Birthday) or audience.field != "birthday":
            continue
        rows = world.connection.execute(
            select(messages.c.due_on, func.count())
            .join_from(messages, customers, customers.c.id == messages.c.customer_id)
            .where(
                *_sent(span),
                messages.c.campaign == campaign.name,
                messages.c.step == campaign.steps[0].name,
                and_(customers.c.birth_month == 2, customers.c.birth_day == 29),
            )
            .group_by(messages.c.due_on)
        )
        for on, count in rows:
            yield OddDay(on, f"for those born on 29 February (leap_day = {audience.leap_day})", campaign.name, count)


def _pools(world: World, assumed: Assumptions, span: Span) -> Iterator[PoolUse]:
    zone = ZoneInfo(world.project.settings.shop.zone)
    rows = world.connection.execute(
        select(coupons.c.pool, coupons.c.given_at, coupons.c.expires_at)
        .where(coupons.c.given_at >= span.shown, coupons.c.given_at < span.until)
        .order_by(coupons.c.given_at)
    )
    given: dict[str, list[datetime]] = {pool: [] for pool in assumed.coupons}
    valid: Counter[str] = Counter()
    for pool, at, expires_at in rows:
        given.setdefault(pool, []).append(at)
        valid[pool] += expires_at is None or expires_at > span.until
    for pool, moments in sorted(given.items()):
        there = assumed.coupons.get(pool)
        gone = there is not None and len(moments) > there
        yield PoolUse(
            pool=pool,
            given=len(moments),
            valid_at_end=valid[pool],
            left=None if there is None else max(there - len(moments), 0),
            runs_out_on=moments[there].astimezone(zone).date() if gone and there is not None else None,
        )


def _text_messages(world: World, span: Span) -> Iterator[SmsUse]:
    columns = (messages.c.campaign, messages.c.step)
    parts = func.sum(func.coalesce(messages.c.segments, 1))
    rows = world.connection.execute(
        select(*columns, func.count(), parts)
        .where(*_sent(span), messages.c.channel == Channel.SMS.value)
        .group_by(*columns)
        .order_by(*columns)
    )
    for campaign, step, count, total in rows:
        yield SmsUse(campaign, step, count, total, cost_of(world.project, total))
