"""The moments of a score: everything that counts of each customer, with the value after it and the level before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Insert,
    Integer,
    MetaData,
    Select,
    Table,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
)

from winback.audience.context import AudienceContext
from winback.audience.score_points import fit_points, points
from winback.audience.scores import ScoreModel
from winback.store import COUNTED, Id, UtcDateTime, customers, filled, plus_seconds, seconds_between

#: Faded points come back from their scale with an error in the last digits; a threshold is reached all the same.
TOLERANCE = 1e-9

#: So far below a level nobody is for an error of that kind.
_FAR = 1e-6

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NOTHING = literal(0.0, Float())

#: The tables that the upkeep of scores makes for itself.
own_tables = MetaData()

#: Who is looked at.
chosen = Table("score_chosen", own_tables, Column("customer_id", Id, primary_key=True), prefixes=["TEMPORARY"])

#: Those of them who may ever have reached a level.
able = Table("score_able", own_tables, Column("customer_id", Id, primary_key=True), prefixes=["TEMPORARY"])

#: Moments worth keeping: those at which a level was reached, and now.
moments = Table(
    "score_moments",
    own_tables,
    Column("customer_id", Id, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("value", Float, nullable=False),
    Column("before", Integer, nullable=False),  # number of the level right before, from 0
    Column("after", Integer, nullable=False),
    prefixes=["TEMPORARY"],
)


def fill_moments(connection: Connection, model: ScoreModel, context: AudienceContext) -> None:
    """Fill `moments` for everybody, who are all among the chosen.

    Most of them have never been given enough for any level. Their value is one sum; only for the others is it asked when they
    were where, which takes several sorts of all that ever happened.
    """
    connection.execute(delete(moments))
    below = _below_all_levels(model, context)
    if below is None:
        count = connection.execute(moments_of(model, context, chosen, everybody=True), execution_options=COUNTED).rowcount
    else:
        count = connection.execute(below, execution_options=COUNTED).rowcount
        connection.execute(delete(able))
        others = select(chosen.c.customer_id).except_(select(moments.c.customer_id))
        written = connection.execute(insert(able).from_select(["customer_id"], others), execution_options=COUNTED)
        filled(connection, able, written.rowcount)
        count += connection.execute(moments_of(model, context, able), execution_options=COUNTED).rowcount
    filled(connection, moments, count)


def _below_all_levels(model: ScoreModel, context: AudienceContext) -> Insert | None:
    """Return what writes down those whose points, had none faded, are not enough for a level; None where that says little."""
    if model.fit or model.expires is not None or len(model.levels) == 1:
        return None
    counted = points(model, context, chosen=None).subquery("counted")
    given = counted.c.points
    gained = func.sum(case((given > 0, given), else_=0.0))
    value = func.sum(given if model.half_life is None else given * _scale(model, context, counted.c.at), type_=Float())
    rows = (
        select(counted.c.customer_id, context.now, _within(cast(value, Float()), model.floor, model.cap), literal(0), literal(0))
        .group_by(counted.c.customer_id)
        .having(gained < min(level.from_ for level in model.levels[1:]) - _FAR)
    )
    return insert(moments).from_select([column.name for column in moments.columns], rows)


def _scale(model: ScoreModel, context: AudienceContext, at: ColumnElement[Any]) -> ColumnElement[float]:
    assert model.half_life is not None  # noqa: S101 asked before
    return func.power(2.0, seconds_between(context.now, at) / model.half_life.total_seconds(), type_=Float())


def moments_of(model: ScoreModel, context: AudienceContext, who: Table, *, everybody: bool = False) -> Insert:
    """Return what fills `moments` for the customers of a table, in which is everybody if so said."""
    ranked = _ranked(model, context, who, everybody=everybody).subquery("ranked")
    worth_keeping = or_(ranked.c.after > ranked.c.before, ranked.c.at == context.now)
    names = [column.name for column in moments.columns]
    return insert(moments).from_select(names, select(*(ranked.c[name] for name in names)).where(worth_keeping))


def _ranked(model: ScoreModel, context: AudienceContext, who: Table, *, everybody: bool) -> Select[Any]:
    """Select every moment of the chosen customers with the value after it, and the number of the level before and after it."""
    valued = _valued(model, context, who, everybody=everybody).subquery("valued")
    earlier: dict[str, Any] = {"partition_by": valued.c.customer_id, "order_by": valued.c.at, "rows": (None, -1)}
    until: dict[str, Any] = {**earlier, "rows": (None, 0)}
    marks = []
    for number, threshold in enumerate((level.from_ for level in model.levels[1:]), 1):
        up = case((valued.c.post >= threshold - TOLERANCE, valued.c.at))
        down = case((valued.c.pre < threshold - model.hysteresis - TOLERANCE, valued.c.at))
        marks += [
            func.max(up, type_=UtcDateTime()).over(**earlier).label(f"up_before_{number}"),
            func.max(up, type_=UtcDateTime()).over(**until).label(f"up_{number}"),
            func.max(down, type_=UtcDateTime()).over(**until).label(f"down_{number}"),
        ]
    marked = select(valued.c.customer_id, valued.c.at, valued.c.post, *marks).subquery("marked")
    numbers = range(1, len(model.levels))
    return select(
        marked.c.customer_id,
        marked.c.at,
        _within(marked.c.post, model.floor, model.cap).label("value"),
        _count(_is_in(marked.c[f"up_before_{number}"], marked.c[f"down_{number}"]) for number in numbers).label("before"),
        _count(_is_in(marked.c[f"up_{number}"], marked.c[f"down_{number}"]) for number in numbers).label("after"),
    )


def _is_in(up: ColumnElement[Any], down: ColumnElement[Any]) -> ColumnElement[bool]:
    """Ask whether a level was entered and not left since; at one moment, falling below it comes before reaching it."""
    return and_(up.is_not(None), or_(down.is_(None), down <= up))


def _count(conditions: Iterator[ColumnElement[bool]]) -> ColumnElement[int]:
    total: ColumnElement[int] = literal(0)
    for condition in conditions:
        total += case((condition, 1), else_=0)
    return total


def _within(value: ColumnElement[Any], low: float, high: float) -> ColumnElement[Any]:
    return case((value < low, low), (value > high, high), else_=value)


def _lifted(model: ScoreModel, context: AudienceContext, counted: FromClause) -> list[Select[Any]]:
    """Select the moments at which points that were taken expire: without them a level can be reached, though nothing happens."""
    if model.expires is None:
        return []
    at = plus_seconds(counted.c.at, literal(model.expires.total_seconds() + 1))  # until then they count
    return [select(counted.c.customer_id, at, _NOTHING, -counted.c.points).where(counted.c.points < 0, at <= context.now)]


def _valued(model: ScoreModel, context: AudienceContext, who: Table, *, everybody: bool) -> Select[Any]:
    """Select every moment of the chosen customers with the value right before (`pre`) and after (`post`) it."""
    here = select(who.c.customer_id, context.now.label("at"), _NOTHING.label("points"), _NOTHING.label("lifted"))
    counted = points(model, context, chosen=None if everybody else select(who.c.customer_id)).subquery("counted")
    given = select(counted.c.customer_id, counted.c.at, counted.c.points, _NOTHING)
    gathered = union_all(here, given, *_lifted(model, context, counted)).subquery("gathered")
    sums = [func.sum(gathered.c[name]).label(name) for name in ("points", "lifted")]
    summed = (
        select(gathered.c.customer_id, gathered.c.at, *(sums if model.expires is not None else sums[:1]))
        .group_by(gathered.c.customer_id, gathered.c.at)
        .subquery("moments")
    )
    fit, join = fit_points(model, context), bool(model.fit)
    person: dict[str, Any] = {"partition_by": summed.c.customer_id}
    if model.half_life is not None:
        scale = _scale(model, context, summed.c.at)
        running = func.sum(summed.c.points * scale).over(**person, order_by=summed.c.at, rows=(None, 0))
        post = running / scale
    elif model.expires is not None:
        seconds = seconds_between(_EPOCH, summed.c.at)
        reach = int(model.expires.total_seconds())
        post = func.sum(summed.c.points).over(**person, order_by=seconds, range_=(-reach, 0))
    else:
        post = func.sum(summed.c.points).over(**person, order_by=summed.c.at, rows=(None, 0))
    gained = summed.c.points if model.expires is None else summed.c.points + summed.c.lifted
    rows = select(
        summed.c.customer_id,
        summed.c.at,
        (cast(post, Float()) + fit).label("post"),
        (cast(post, Float()) - gained + fit).label("pre"),
    )
    return rows.join_from(summed, customers, customers.c.id == summed.c.customer_id) if join else rows
