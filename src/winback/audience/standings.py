"""Where each buyer stands among all: marks for recency, frequency and money (RFM), a group with a name, and an ABC class.

Marks go from 1 to 5, by fifths of the buyers of the window; who is equal gets the same mark. Money is compared within one
currency. Of a few buyers fifths say little: below `FEWEST_FOR_FIFTHS` marks follow fixed thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    String,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite

from winback.audience.sql import moment, whole_days
from winback.store import VOID_STATUSES, UtcDateTime, customers, installation, orders, standings

#: From this many buyers on marks are fifths.
FEWEST_FOR_FIFTHS = 100

#: Fixed thresholds: from which number on a mark is given, the best first. Days since the last order, orders, and money as a
#: part of the mean of all buyers.
_DAYS = ((30, 5), (60, 4), (120, 3), (240, 2))
_ORDERS = ((6, 5), (4, 4), (3, 3), (2, 2))
_MONEY = ((2.0, 5), (1.2, 4), (0.8, 3), (0.5, 2))

#: Class A makes the first 80 % of the revenue, B the next 15 %.
_CLASSES = (("A", 80), ("B", 95))

_KEY = "standings"


@dataclass(frozen=True)
class Standing:
    """How buyers are compared: the orders of which time, and money by the average or the total of them."""

    window: timedelta = timedelta(days=365)
    monetary: Literal["average", "total"] = "total"


def group_of(recency: ColumnElement[int], value: ColumnElement[int]) -> ColumnElement[str]:
    """Return the name for marks of recency, and of frequency and money together (their mean, rounded up)."""
    named = (
        ("champions", and_(recency == 5, value >= 4)),
        ("loyal", and_(recency >= 3, value >= 4)),
        ("promising", and_(recency >= 4, value >= 2)),
        ("new", recency >= 4),
        ("needs attention", and_(recency == 3, value == 3)),
        ("about to sleep", recency == 3),
        ("at risk", value >= 3),
    )
    return case(*((holds, literal(name, String())) for name, holds in named), else_=literal("hibernating", String()))


def update_standings(connection: Connection, standing: Standing, now: datetime, shop_zone: str) -> None:
    """Compute everybody's standing anew, once on each of the shop's days, and whenever `standing` changes.

    The group before is kept where the group changes; under another `standing` nobody has changed, the shop has.
    """
    today = now.astimezone(ZoneInfo(shop_zone)).date().isoformat()
    definition = f"{standing.window.total_seconds():.0f} {standing.monetary}"
    kept = (connection.scalar(select(installation.c.value).where(installation.c.key == _KEY)) or "").partition(" ")
    if kept[0] == today and kept[2] == definition:
        return
    if kept[2] != definition:
        connection.execute(delete(standings))
    _write(connection, _computed(standing, now))
    connection.execute(delete(standings).where(standings.c.updated_at != moment(now)))
    connection.execute(delete(installation).where(installation.c.key == _KEY))
    connection.execute(insert(installation).values(key=_KEY, value=f"{today} {definition}"))


def _write(connection: Connection, computed: Select[Any]) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    names = ["customer_id", "recency", "frequency", "monetary", "rfm_group", "abc", "since", "updated_at"]
    statement = dialect.insert(standings).from_select(names, computed)
    fresh, old = statement.excluded, standings.c
    changed = old.rfm_group != fresh.rfm_group
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["customer_id"],
            set_={
                **{name: fresh[name] for name in ("recency", "frequency", "monetary", "rfm_group", "abc", "updated_at")},
                "group_before": case((changed, old.rfm_group), else_=old.group_before),
                "since": case((changed, fresh.since), else_=old.since),
            },
        )
    )


def _computed(standing: Standing, now: datetime) -> Select[Any]:
    """Select the standing of everybody who bought in the window, in the order of the table's columns."""
    bought = _bought(standing, now).subquery("bought")
    buyers = func.count().over()
    in_currency: dict[str, Any] = {"partition_by": bought.c.currency}
    total = func.sum(bought.c.total).over(**in_currency)
    before = func.sum(bought.c.total).over(**in_currency, order_by=[bought.c.total.desc(), bought.c.customer_id], rows=(None, -1))
    ranked = select(
        bought,
        buyers.label("buyers"),
        _fifth(func.rank().over(order_by=bought.c.last), buyers).label("by_recency"),
        _fifth(func.rank().over(order_by=bought.c.orders), buyers).label("by_frequency"),
        _fifth(func.rank().over(**in_currency, order_by=bought.c.money), func.count().over(**in_currency)).label("by_money"),
        func.avg(bought.c.money).over(**in_currency).label("mean"),
        (func.coalesce(before, 0) * 100).label("above"),
        total.label("revenue"),
    ).subquery("ranked")
    few = ranked.c.buyers < FEWEST_FOR_FIFTHS
    days = whole_days(ranked.c.last, now)
    share = ranked.c.money / func.nullif(ranked.c.mean, 0.0)
    marked = select(
        ranked.c.customer_id,
        case((few, _mark([(days <= limit, mark) for limit, mark in _DAYS])), else_=ranked.c.by_recency).label("recency"),
        case((few, _mark([(ranked.c.orders >= limit, mark) for limit, mark in _ORDERS])), else_=ranked.c.by_frequency).label(
            "frequency"
        ),
        case((few, _mark([(share >= limit, mark) for limit, mark in _MONEY])), else_=ranked.c.by_money).label("monetary"),
        _abc(ranked.c.above, ranked.c.revenue).label("abc"),
    ).subquery("marked")
    group = group_of(marked.c.recency, (marked.c.frequency + marked.c.monetary + 1) // 2)
    at = moment(now)
    # SQLite takes "ON CONFLICT" after a SELECT without WHERE for a join's ON.
    return select(
        marked.c.customer_id, marked.c.recency, marked.c.frequency, marked.c.monetary, group, marked.c.abc, at, at
    ).where(true())


def _bought(standing: Standing, now: datetime) -> Select[Any]:
    """Select what each buyer bought in the window: the last time, how often, for how much in the currency of the newest order."""
    same = case((orders.c.currency == customers.c.currency, orders.c.total_minor), else_=0)
    total, many = func.sum(same), func.count()
    money = cast(total, Float()) / many if standing.monetary == "average" else cast(total, Float())
    return (
        select(
            orders.c.customer_id,
            customers.c.currency,
            func.max(orders.c.placed_at, type_=UtcDateTime()).label("last"),
            many.label("orders"),
            total.label("total"),
            money.label("money"),
        )
        .join_from(orders, customers, customers.c.id == orders.c.customer_id)
        .where(
            orders.c.placed_at > now - standing.window,
            orders.c.placed_at <= now,
            orders.c.status.not_in(VOID_STATUSES),
        )
        .group_by(orders.c.customer_id, customers.c.currency)
    )


def _fifth(rank: ColumnElement[int], of: ColumnElement[int]) -> ColumnElement[int]:
    return 1 + 5 * (rank - 1) // of


def _mark(thresholds: Iterable[tuple[ColumnElement[bool], int]]) -> ColumnElement[int]:
    return case(*thresholds, else_=1)


def _abc(above: ColumnElement[int], revenue: ColumnElement[int]) -> ColumnElement[str]:
    """Return the class, by the part of the revenue that better customers make."""
    return case(*((above < revenue * limit, literal(name, String())) for name, limit in _CLASSES), else_=literal("C", String()))
