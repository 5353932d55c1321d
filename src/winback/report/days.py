"""What happened on each local day of the shop, counted as the funnel counts it: every message at most once for each kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Connection, Select, String, and_, case, func, literal, or_, select, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from winback.report.funnel import ARRIVED, is_of
from winback.report.model import Day
from winback.store import (
    Channel,
    InteractionClass,
    InteractionKind,
    MessageState,
    UtcDateTime,
    conversions,
    interactions,
    messages,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)

_SENT = (*ARRIVED, MessageState.BOUNCED.value)

#: What a day calls each kind of interaction.
_KINDS = {InteractionKind.OPEN: "opened", InteractionKind.CLICK: "clicked", InteractionKind.UNSUBSCRIBE: "unsubscribed"}


class quarter_of(FunctionElement[int]):
    """SQL: the quarter of an hour since 1970 in which a moment lies.

    SQLite knows no time zones, and the rules of a PostgreSQL may be older than ours. All zones are whole quarters of an hour away
    from UTC: the database counts by quarters, and the local day of each is found in Python.
    """

    type = BigInteger()
    inherit_cache = True
    name = "quarter_of"


@compiles(quarter_of, "sqlite")
def _quarter_of_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"({compiler.process(element.clauses, **kw)} / 900000000)"


@compiles(quarter_of, "postgresql")
def _quarter_of_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM {compiler.process(element.clauses, **kw)}) / 900) AS BIGINT)"


def count_days(connection: Connection, now: datetime, zone: ZoneInfo, campaign: str | None) -> dict[str, tuple[Day, ...]]:
    """Return for each campaign the days up to `now` on which something happened, in order."""
    moments = union_all(_sent(now, campaign), _came_back(now, campaign), _converted(now, campaign)).subquery()
    quarters = select(moments.c.campaign, moments.c.kind, quarter_of(moments.c.at).label("quarter")).subquery()
    rows = connection.execute(select(*quarters.c, func.count().label("number")).group_by(*quarters.c))
    counts: dict[str, dict[date, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in rows:
        on = (_EPOCH + row.quarter * _QUARTER).astimezone(zone).date()
        counts[row.campaign][on][row.kind] += row.number
    return {name: tuple(Day(on, **of_day) for on, of_day in sorted(days.items())) for name, days in counts.items()}


def _sent(now: datetime, campaign: str | None) -> Select[Any]:
    # Where only a receipt told that the message had gone, the moment it was due stands for the unknown one.
    at = func.coalesce(messages.c.sent_at, messages.c.due_at, type_=UtcDateTime())
    return select(messages.c.campaign, literal("sent", String()).label("kind"), at.label("at")).where(
        messages.c.state.in_(_SENT), messages.c.planned_at <= now, is_of(messages, campaign)
    )


def _came_back(now: datetime, campaign: str | None) -> Select[Any]:
    human = interactions.c.klass == InteractionClass.HUMAN.value
    can_be_seen = or_(interactions.c.kind != InteractionKind.OPEN.value, messages.c.channel == Channel.EMAIL.value)
    kind = case(*((interactions.c.kind == kind.value, literal(name, String())) for kind, name in _KINDS.items()))
    return (
        select(messages.c.campaign, kind.label("kind"), func.min(interactions.c.at, type_=UtcDateTime()).label("at"))
        .join_from(interactions, messages, messages.c.id == interactions.c.message_id)
        .where(
            messages.c.state.in_(ARRIVED),
            messages.c.planned_at <= now,
            interactions.c.at <= now,
            or_(and_(human, can_be_seen), interactions.c.kind == InteractionKind.UNSUBSCRIBE.value),
            is_of(interactions, campaign),
        )
        .group_by(messages.c.id, messages.c.campaign, interactions.c.kind)
    )


def _converted(now: datetime, campaign: str | None) -> Select[Any]:
    at = func.min(conversions.c.at, type_=UtcDateTime())
    return (
        select(messages.c.campaign, literal("converted", String()).label("kind"), at.label("at"))
        .join_from(conversions, messages, messages.c.id == conversions.c.message_id)
        .where(
            messages.c.state.in_(ARRIVED),
            messages.c.planned_at <= now,
            conversions.c.at <= now,
            is_of(conversions, campaign),
        )
        .group_by(messages.c.id, messages.c.campaign)
    )
