"""The points of scores: what counts, by which rule, and what it is worth at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Float, FromClause, Select, case, func, literal, select, union_all

from winback.audience.context import AudienceContext
from winback.audience.scores import AtMost, ScoreModel, ScoreRule
from winback.audience.sql import in_passing
from winback.audience.where import compile_condition
from winback.store import InteractionClass, InteractionKind, UtcDateTime, customers, events, interactions, seconds_between

#: Points older than this many half-lives are left out: their scale, 2 to the power of minus 500, is still far from zero, and
#: each level that was reached since then stays where it was, however often it is computed.
_FORGOTTEN = 500

#: Of points with a longer half-life none is ever that old.
_LONGEST_HALF_LIFE = timedelta(days=36_500) / _FORGOTTEN

KINDS = {"opened": InteractionKind.OPEN, "clicked": InteractionKind.CLICK}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def source(rule: ScoreRule, *, of: Select[Any] | None = None) -> Select[Any]:
    """Select what happened by one rule, all of it or that of some customers: who, when, and which row says so."""
    table = interactions if rule.event is None else events
    # Asked of the rows themselves: SQLite groups all that there are before it looks at conditions from outside.
    theirs = [] if of is None else [table.c.customer_id.in_(of)]
    if rule.event is not None:
        return select(events.c.customer_id, events.c.at, events.c.id).where(events.c.name == rule.event, *theirs)
    kind = KINDS[str(rule.message)].value
    human = interactions.c.klass == InteractionClass.HUMAN.value
    # Opening one message ten times is one opening.
    return (
        select(
            interactions.c.customer_id,
            func.min(interactions.c.at, type_=UtcDateTime()).label("at"),
            func.min(interactions.c.id).label("id"),
        )
        .where(interactions.c.kind == kind, human, *theirs)
        .group_by(interactions.c.customer_id, interactions.c.message_id)
    )


def people(model: ScoreModel) -> list[Select[Any]]:
    """Select everybody to whom something has happened by any rule, some of them several times."""
    names = sorted({rule.event for rule in model.rules if rule.event is not None})
    reactions = [select(rows.c.customer_id) for rule in model.rules if rule.event is None for rows in [source(rule).subquery()]]
    return [*([select(events.c.customer_id).where(in_passing(events.c.name).in_(names))] if names else []), *reactions]


def points(model: ScoreModel, context: AudienceContext, *, chosen: Select[Any] | None) -> Select[Any] | CompoundSelect[Any]:
    """Select everything that counts of the chosen customers, or of all: who, when, how many points, by which rule and row."""
    parts: list[Select[Any]] = []
    for group, limit in {"": None, **model.groups}.items():
        rules = [number for number, rule in enumerate(model.rules) if (rule.group or "") == group]
        together = _unlimited(model, rules)
        given = [_by_rule(model, number, context, chosen) for number in rules if number not in together]
        given += [_by_rules(model, together, context, chosen)] if together else []
        if given and limit is None:
            parts += given
        elif given and limit is not None:
            all_given = (union_all(*given) if len(given) > 1 else given[0]).subquery()
            parts.append(_first_of_each_period(all_given, limit))
    return union_all(*parts) if len(parts) > 1 else parts[0]


def _unlimited(model: ScoreModel, numbers: Sequence[int]) -> list[int]:
    """Return the rules about events that have no limit of their own; where two are about the same event, only the first."""
    found: dict[str, int] = {}
    for number in numbers:
        rule = model.rules[number]
        if rule.event is not None and rule.at_most is None:
            found.setdefault(rule.event, number)
    return list(found.values())


def _by_rules(model: ScoreModel, numbers: Sequence[int], context: AudienceContext, chosen: Select[Any] | None) -> Select[Any]:
    """Select what several rules about events give: the events are read once, and not once for each rule.

    For everybody, all events are read in an index that has all there is to know of them. By their names, SQLite looks each
    of them up in the table, which takes several times as long.
    """
    rules = {model.rules[number].event: (number, model.rules[number].points) for number in numbers}
    name = events.c.name
    is_named = (in_passing(name) if chosen is None else name).in_(list(rules))
    return select(
        events.c.customer_id,
        events.c.at,
        case({event: literal(float(given), Float()) for event, (_, given) in rules.items()}, value=name).label("points"),
        case({event: literal(number) for event, (number, _) in rules.items()}, value=name).label("rule"),
        events.c.id,
    ).where(is_named, *_counts(model, events, context, chosen))


def _by_rule(model: ScoreModel, number: int, context: AudienceContext, chosen: Select[Any] | None) -> Select[Any]:
    rule = model.rules[number]
    rows = source(rule, of=chosen).subquery()
    found = select(
        rows.c.customer_id,
        rows.c.at,
        literal(float(rule.points), Float()).label("points"),
        literal(number).label("rule"),
        rows.c.id,
    ).where(*_counts(model, rows, context, None))
    return found if rule.at_most is None else _first_of_each_period(found.subquery(), rule.at_most)


def _counts(
    model: ScoreModel, rows: FromClause, context: AudienceContext, chosen: Select[Any] | None
) -> list[ColumnElement[bool]]:
    """Return the conditions for what can be worth something, or could be when it happened."""
    conditions = [rows.c.at <= context.now]
    if chosen is not None:
        conditions.append(rows.c.customer_id.in_(chosen))
    # Points that have expired still say which levels were reached, and what came after the first of a period.
    if model.half_life is not None and model.half_life < _LONGEST_HALF_LIFE:
        forgotten = model.half_life * _FORGOTTEN
        conditions.append(rows.c.at > context.ago(forgotten))
    return conditions


def _first_of_each_period(rows: Any, limit: AtMost) -> Select[Any]:
    """Select the first rows of each customer in each period, as many as the limit lets count."""
    period = func.floor(seconds_between(_EPOCH, rows.c.at) / limit.period.total_seconds())
    order = [rows.c.at, rows.c.rule, rows.c.id]
    place = func.row_number().over(partition_by=[rows.c.customer_id, period], order_by=order)
    numbered = select(rows, place.label("place")).subquery()
    return select(*(numbered.c[column.name] for column in rows.c)).where(numbered.c.place <= limit.count)


def expired(model: ScoreModel, at: datetime, now: datetime) -> bool:
    """Say whether points of a moment are worth nothing any more at `now`."""
    return model.expires is not None and at < now - model.expires


def worth(model: ScoreModel, given: float, at: datetime, now: datetime) -> float:
    """Return what points that were given at a moment are worth at `now`."""
    if expired(model, at, now):
        return 0.0
    return given * 2.0 ** ((at - now) / model.half_life) if model.half_life is not None else given


def fit_points(model: ScoreModel, context: AudienceContext) -> ColumnElement[Any]:
    """Return SQL for the points that a customer gets for who they are."""
    total: ColumnElement[Any] = literal(0.0, Float())
    for rule in model.fit:
        holds = compile_condition(rule.where, context, scope="customer", customer=customers)
        total += case((holds, float(rule.points)), else_=0.0)
    return total
