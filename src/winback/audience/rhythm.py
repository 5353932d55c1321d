"""How often somebody orders: their own usual time between orders, and the shop's for those of whom too little is known.

From three orders on a customer's own median counts. Of two orders there is one time between them, which may be chance: it is
averaged with the shop's. Of one order nothing is known but the shop's. The shop's is the median of its customers' medians, known
from twenty of them on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Float, and_, case, cast, delete, func, insert, null, select
from sqlalchemy.sql.expression import FromClause

from winback.audience.context import AudienceContext, Clock
from winback.audience.sql import in_passing
from winback.store import customers, installation, plus_seconds

#: From this many orders on a rhythm is the customer's own.
OWN_RHYTHM_ORDERS = 3

#: From this many customers with a rhythm on the shop has one.
SHOP_RHYTHM_CUSTOMERS = 20

#: Who has not ordered for this many usual times between orders is asleep.
SLEEPING_RHYTHMS = 2.0

#: Where nobody knows how often people order, who has not for this long is asleep.
UNKNOWN_RHYTHM = timedelta(days=90)

#: Who orders every other day is not asleep after four.
_SHORTEST_SLEEP = timedelta(days=14)

_SECONDS_A_DAY = 86_400.0

_KEY = "rhythm.days"
_DAY = "rhythm.on"

#: Asked in every pass.
_COMPUTED_ON = select(installation.c.value).where(installation.c.key == _DAY)


def rhythm_days(customer: FromClause = customers) -> ColumnElement[float]:
    """Return SQL for the days between orders to reckon with; NULL where neither the customer's nor the shop's are known."""
    own = cast(customer.c.median_gap_days, Float())
    shop = select(cast(installation.c.value, Float())).where(installation.c.key == _KEY).scalar_subquery()
    return case(
        (customer.c.order_count == 0, null()),
        (own.is_(None), shop),
        (customer.c.order_count >= OWN_RHYTHM_ORDERS, own),
        else_=func.coalesce((own + shop) / 2.0, own),
    )


def later_by_rhythms(rhythms: float, customer: FromClause = customers, *, by: timedelta = timedelta()) -> ColumnElement[datetime]:
    """Return SQL for the moment so many usual times between orders, and `by`, after the last order; NULL without a rhythm."""
    return plus_seconds(customer.c.last_order_at, rhythm_days(customer) * (rhythms * _SECONDS_A_DAY) + by.total_seconds())


def asleep(rhythms: float, context: AudienceContext, customer: FromClause = customers) -> ColumnElement[bool]:
    """Return SQL for "the last order is so many usual times between orders ago"."""
    usual = rhythm_days(customer) * (rhythms * _SECONDS_A_DAY)
    shortest = _SHORTEST_SLEEP.total_seconds()
    seconds = case((usual > shortest, usual), (usual.is_not(None), shortest), else_=UNKNOWN_RHYTHM.total_seconds())
    last = in_passing(customer.c.last_order_at)
    # Nobody sleeps before the shortest time: who ordered since is told apart before each one's rhythm is looked at.
    return and_(last <= context.ago(_SHORTEST_SLEEP), plus_seconds(last, seconds) <= context.now)


def shop_rhythm(connection: Connection) -> float | None:
    """Return the shop's usual days between orders as last computed; None where too few customers have a rhythm."""
    kept = connection.scalar(select(installation.c.value).where(installation.c.key == _KEY))
    return None if kept is None else float(kept)


@dataclass(frozen=True)
class Rhythm:
    """How often one customer orders, whose rhythm that is, and where they stand in it."""

    days: float
    whose: str
    overdue: float
    churn: str


def rhythm_of(connection: Connection, customer_id: int, now: datetime, shop_zone: str) -> Rhythm | None:
    """Return one customer's rhythm, None where none is known."""
    from winback.audience.catalogue import FIELDS
    from winback.audience.entries import Scope

    context = AudienceContext(Clock(now, now, now), shop_zone)
    names = ("rhythm", "overdue", "churn", "orders", "days_between_orders")
    columns = (FIELDS[name].compile(Scope(context, customers)).label(name) for name in names)
    row = connection.execute(select(*columns).where(customers.c.id == customer_id)).one()
    if row.rhythm is None:
        return None
    mixed = row.orders < OWN_RHYTHM_ORDERS and row.days_between_orders != row.rhythm
    whose = "the shop's" if row.days_between_orders is None else "the mean of their own and the shop's" if mixed else "their own"
    return Rhythm(row.rhythm, whose, row.overdue, row.churn)


def update_rhythm(connection: Connection, now: datetime, shop_zone: str) -> None:
    """Compute the shop's rhythm anew, once on each of its days."""
    today = now.astimezone(ZoneInfo(shop_zone)).date().isoformat()
    if connection.scalar(_COMPUTED_ON) == today:
        return
    gap = customers.c.median_gap_days
    known = connection.scalar(select(func.count(gap))) or 0
    connection.execute(delete(installation).where(installation.c.key.in_([_KEY, _DAY])))
    rows = [{"key": _DAY, "value": today}]
    if known >= SHOP_RHYTHM_CUSTOMERS:
        median = connection.scalar(select(gap).where(gap.is_not(None)).order_by(gap).limit(1).offset((known - 1) // 2))
        rows.append({"key": _KEY, "value": repr(float(median or 0))})
    connection.execute(insert(installation), rows)
