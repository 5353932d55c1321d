"""Predictions for each buyer, computed once a day: whether they are still a customer, and how many orders to expect.

The plain way to tell what somebody will do, their rhythm, needs none of this and stands in their own row (see `rhythm`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, delete, func, insert, select

from winback.audience.bgnbd import BgNbd, fit, parts
from winback.audience.sql import day_number
from winback.store import VOID_STATUSES, AnyRow, installation, orders, predictions

#: Fewer data make a number, but no prediction: buyers, buyers who came back, and weeks since the first order.
LEAST_BUYERS = 300
LEAST_REPEATERS = 100
LEAST_WEEKS = 26

_KEY = "predictions"
_CHUNK = 20_000


@dataclass(frozen=True)
class Prognosis:
    """What the model rests on: the shop's data in short, and the fitted model unless they are too little."""

    buyers: int
    repeaters: int
    weeks: float
    days: int  # expected orders are those of this many days
    model: BgNbd | None = None

    @property
    def lacking(self) -> str:
        """Say what is too little; empty when nothing is."""
        least = (
            ("buyers", self.buyers, LEAST_BUYERS),
            ("buyers who came back", self.repeaters, LEAST_REPEATERS),
            ("weeks since the first order", int(self.weeks), LEAST_WEEKS),
        )
        short = [f"{have:,} {what} of {need:,} needed" for what, have, need in least if have < need]
        return "; ".join(short)


def update_predictions(connection: Connection, within: timedelta, now: datetime, shop_zone: str) -> None:
    """Fit the model and compute everybody's predictions anew, once on each of the shop's days and whenever `within` changes."""
    today = now.astimezone(ZoneInfo(shop_zone)).date().isoformat()
    kept = connection.scalar(select(installation.c.value).where(installation.c.key == _KEY))
    if kept is not None and (known := json.loads(kept))["on"] == today and known["days"] == within.days:
        return
    connection.execute(delete(predictions))
    found = prognosis(connection, within, now)
    if found.model is not None:
        for rows in _pages(connection, now):
            connection.execute(insert(predictions), list(_predicted(found.model, rows, within, now)))
    connection.execute(delete(installation).where(installation.c.key == _KEY))
    text = json.dumps({"on": today, **asdict(found)})
    connection.execute(insert(installation).values(key=_KEY, value=text))


def last_prognosis(connection: Connection) -> Prognosis | None:
    """Return what the predictions that are kept rest on; None before any were made."""
    kept = connection.scalar(select(installation.c.value).where(installation.c.key == _KEY))
    if kept is None:
        return None
    found = json.loads(kept)
    model = None if found["model"] is None else BgNbd(**found["model"])
    return Prognosis(found["buyers"], found["repeaters"], found["weeks"], found["days"], model)


def prognosis(connection: Connection, within: timedelta, now: datetime) -> Prognosis:
    """Count what is known of the shop's buyers and fit the model to it, unless that is too little."""
    each = _buyers(now).subquery("each")
    groups = connection.execute(
        select(each.c.days, each.c.first, each.c.last, func.count()).group_by(each.c.days, each.c.first, each.c.last)
    ).all()
    buyers = sum(row[3] for row in groups)
    repeaters = sum(row[3] for row in groups if row.days > 1)
    today = _day_of(now)
    weeks = (today - min((row.first for row in groups), default=today)) / 7
    found = Prognosis(buyers, repeaters, weeks, within.days)
    if found.lacking:
        return found
    repeats, last, known = _numbers(groups, today)
    return Prognosis(buyers, repeaters, weeks, within.days, fit(repeats, last, known, _floats([row[3] for row in groups])))


@dataclass(frozen=True)
class Predicted:
    """What the model says of one buyer, and the three numbers it goes by: repeat orders, weeks to the last one, weeks known."""

    repeats: int
    last: float
    known: float
    p_alive: float
    expected_orders: float


def predicted(connection: Connection, model: BgNbd, customer_id: int, within: timedelta, now: datetime) -> Predicted | None:
    """Return what is to be expected of one customer; None for somebody without an order."""
    row = connection.execute(_buyers(now).where(orders.c.customer_id == customer_id)).one_or_none()
    if row is None:
        return None
    repeats, last, known = _numbers([row], _day_of(now))
    [found] = _predicted(model, [row], within, now)
    return Predicted(int(repeats[0]), float(last[0]), float(known[0]), found["p_alive"], found["expected_orders"])


def _buyers(now: datetime) -> Select[Any]:
    """Select each buyer's number of days with an order, and the first and last of them as numbers. Two orders a day are one."""
    day = day_number(orders.c.placed_at)
    return (
        select(
            orders.c.customer_id,
            func.count(day.distinct()).label("days"),
            func.min(day).label("first"),
            func.max(day).label("last"),
        )
        .where(orders.c.placed_at <= now, orders.c.status.not_in(VOID_STATUSES))
        .group_by(orders.c.customer_id)
    )


def _pages(connection: Connection, now: datetime) -> Iterator[list[AnyRow]]:
    """Yield all buyers, some thousand at a time."""
    after = 0
    while True:
        page = _buyers(now).where(orders.c.customer_id > after).order_by(orders.c.customer_id).limit(_CHUNK)
        rows = list(connection.execute(page))
        if not rows:
            return
        yield rows
        after = rows[-1].customer_id


def _predicted(model: BgNbd, rows: Sequence[AnyRow], within: timedelta, now: datetime) -> Iterator[dict[str, Any]]:
    repeats, last, known = _numbers(rows, _day_of(now))
    alive = model.alive(repeats, last, known)
    expected = model.expected_orders(repeats, last, known, within.days / 7)
    for row, chance, orders_to_come in zip(rows, alive.tolist(), expected.tolist(), strict=True):
        yield {"customer_id": row.customer_id, "p_alive": chance, "expected_orders": orders_to_come, "updated_at": now}


def _numbers(rows: Sequence[AnyRow], today: int) -> tuple[Any, Any, Any]:
    """Return the repeat orders, and the weeks from the first order to the last one and to today."""
    repeats = _floats([row.days - 1 for row in rows])
    last = _floats([(row.last - row.first) / 7 for row in rows])
    known = _floats([(today - row.first) / 7 for row in rows])
    return repeats, last, known


def _floats(values: list[Any]) -> Any:
    numpy = parts()[0]
    return numpy.array(values, dtype=float)


def _day_of(now: datetime) -> int:
    return int(now.timestamp() // 86_400)
