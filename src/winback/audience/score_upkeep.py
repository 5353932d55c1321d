"""Keep scores: who stands where now, and when each customer's level changed.

The value just after each event is a running sum of points, each faded by its age. For half-lives, points are weighed on one
scale, 2 to the power of (moment - now) / half-life, so that a plain running SUM, scaled back, gives the faded value each time.

A level is entered when the value reaches its threshold T, and left when it falls below T - hysteresis. So it is enough to know,
at each event and for each threshold, which of the two came last: an event after which the value was T or more ("up"), or an
event right before which it was less than T - hysteresis ("down"; between events a value only falls). Both are window functions:
one pass over the events of the customers that are looked at, and the same result whenever it is computed.

Of those who have done nothing since the last time, values with a half-life need no events: they fade by one factor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Insert,
    String,
    Subquery,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from winback.audience.context import AudienceContext
from winback.audience.horizon import Horizon
from winback.audience.score_moments import TOLERANCE, chosen, fill_moments, moments, moments_of, own_tables
from winback.audience.score_points import KINDS, people
from winback.audience.scores import ScoreModel
from winback.store import (
    COUNTED,
    Id,
    UtcDateTime,
    customers,
    events,
    filled,
    installation,
    interactions,
    late,
    look_over,
    score_crossings,
    score_states,
    seconds_between,
    temporary,
)

#: How often everybody's value is computed anew, whether or not they did something: it fades by itself.
_REFRESH_EVERY = timedelta(hours=24)

#: The same where values can be faded as they stand: only what was changed long after it happened is found by computing them anew.
_RECOMPUTE_EVERY = timedelta(days=7)

#: Values written at once, from which on it is asked whether what the database knows of all values is out of date.
_MANY = 10_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


#: Asked in every pass.
_KEPT = select(installation.c.value).where(installation.c.key == bindparam("of"))
_KEEP = update(installation).where(installation.c.key == bindparam("of")).values(value=bindparam("text"))
_ANYBODY = select(chosen.c.customer_id).limit(1)
_NOBODY, _NO_MOMENTS = delete(chosen), delete(moments)


def update_scores(connection: Connection, scores: Mapping[str, ScoreModel], context: AudienceContext) -> None:
    """Bring every score up to the clock's now: values and levels, and the levels that were reached since the last time.

    Only customers who did something since are looked at, everybody once a day or once a week, and whenever a score's definition
    changes; what fades by itself is kept up once a day.
    """
    backend = connection.dialect.name
    with temporary(connection, own_tables):
        for model in scores.values():
            build = partial(_Statements, model, backend)
            _update(connection, model, context.prepared((model,), ("score", backend), build), context.clock.now)
    connection.execute(delete(score_states).where(score_states.c.model.not_in(list(scores))))


def _update(connection: Connection, model: ScoreModel, statements: _Statements, now: datetime) -> None:
    seen = statements.seen = _Seen.read(connection, model)
    definition = hashlib.sha256(model.model_dump_json().encode()).hexdigest()
    changed = seen.definition is not None and seen.definition != definition
    newest = _Seen(rows=seen.rows.moved(connection, (events, interactions)), at=now, everybody_at=now, definition=definition)
    is_new = seen.definition != definition or seen.everybody_at is None
    fades = model.half_life is not None and not model.fit
    every = _RECOMPUTE_EVERY if fades else _REFRESH_EVERY
    connection.execute(_NOBODY)
    everybody = is_new or not timedelta() <= now - (seen.everybody_at or _EPOCH) < every
    if everybody:
        _choose_everybody(connection, model)
    else:
        filled(connection, chosen, connection.execute(statements.choose_active, execution_options=COUNTED).rowcount)
        newest = replace(newest, everybody_at=seen.everybody_at)
        if fades and (seen.at or _EPOCH).date() != now.date():
            _fade(connection, model, now)
    # Most passes choose nobody.
    if connection.scalar(_ANYBODY) is not None:
        if everybody:
            statements.fill_moments_of_all(connection)
        else:
            connection.execute(_NO_MOMENTS)
            filled(connection, moments, connection.execute(statements.fill_moments, execution_options=COUNTED).rowcount)
        # Under a new definition nobody reaches a level in the past: editing a file starts no messages.
        connection.execute(_crossings(model, since=seen.at) if changed else statements.write_crossings)
        written = connection.execute(statements.write_states, execution_options=COUNTED)
        if written.rowcount >= _MANY:
            look_over(connection, (score_states,))
    newest.write(connection, model)


class _Statements:
    """What the upkeep of one score asks in every pass; `seen` is what the one before knew."""

    def __init__(self, model: ScoreModel, backend: str, context: AudienceContext) -> None:
        self.seen = _Seen()
        self.choose_active = _choice_of_those_who_did_something(model, context, self)
        self.fill_moments = moments_of(model, context, chosen)
        self.fill_moments_of_all = partial(fill_moments, model=model, context=context)  # rarely asked, and not kept
        self.write_crossings = _crossings(model, since=None)
        self.write_states = _states(model, context, backend)

    def late(self, value: Callable[[_Seen], Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
        """Return an SQL value that follows what was seen."""
        return late(lambda: value(self.seen), kind)


@dataclass(frozen=True)
class _Seen:
    """How far the upkeep of one score has come."""

    rows: Horizon = field(default_factory=Horizon)
    at: datetime | None = None
    everybody_at: datetime | None = None
    definition: str | None = None

    @classmethod
    def read(cls, connection: Connection, model: ScoreModel) -> _Seen:
        text = connection.scalar(_KEPT, {"of": _key(model)})
        if text is None:
            return cls()
        kept = json.loads(text)
        moments = {name: datetime.fromisoformat(kept[name]) for name in ("at", "everybody_at")}
        return cls(Horizon.read(kept.get("rows", {})), moments["at"], moments["everybody_at"], kept["definition"])

    def write(self, connection: Connection, model: ScoreModel) -> None:
        text = json.dumps(
            {
                "rows": asdict(self.rows),
                "at": (self.at or _EPOCH).isoformat(),
                "everybody_at": (self.everybody_at or _EPOCH).isoformat(),
                "definition": self.definition,
            }
        )
        if not connection.execute(_KEEP, {"of": _key(model), "text": text}).rowcount:
            connection.execute(insert(installation).values(key=_key(model), value=text))


def _key(model: ScoreModel) -> str:
    # A key has 50 characters, a name up to 80.
    return f"score.{hashlib.sha256(model.name.encode()).hexdigest()[:40]}"


def _choose_everybody(connection: Connection, model: ScoreModel) -> None:
    if model.fit:
        everybody: Any = select(customers.c.id)
    else:
        known = select(score_states.c.customer_id).where(score_states.c.model == model.name)
        everybody = union(known, *people(model))
    written = connection.execute(insert(chosen).from_select(["customer_id"], everybody), execution_options=COUNTED)
    filled(connection, chosen, written.rowcount)


def _choice_of_those_who_did_something(model: ScoreModel, context: AudienceContext, statements: _Statements) -> Insert:
    def last(table: Table) -> ColumnElement[int]:
        return statements.late(lambda seen: seen.rows.after(table), Id)

    seen_at = statements.late(lambda seen: seen.at or _EPOCH, UtcDateTime())
    names = [rule.event for rule in model.rules if rule.event is not None]
    did = select(events.c.customer_id).where(events.c.id > last(events), events.c.name.in_(names))
    # What was known before it happened, a booking for example.
    happened = select(events.c.customer_id).where(events.c.name.in_(names), events.c.at > seen_at, events.c.at <= context.now)
    kinds = [KINDS[rule.message].value for rule in model.rules if rule.message is not None]
    # The class of a hit is revised when more of a burst is seen: look again at those of the last minutes.
    since = statements.late(lambda seen: (seen.at or _EPOCH) - timedelta(minutes=5), UtcDateTime())
    new = or_(interactions.c.id > last(interactions), interactions.c.at >= since)
    reacted = select(interactions.c.customer_id).where(new, interactions.c.kind.in_(kinds))
    parts = [did, happened, reacted]
    if model.fit:
        parts.append(select(customers.c.id).where(customers.c.updated_at >= seen_at))
    return insert(chosen).from_select(["customer_id"], union(*parts))


def _fade(connection: Connection, model: ScoreModel, now: datetime) -> None:
    """Let the values of all others fade until now, and choose those too whose level or limits it concerns.

    All points lose the same share in the same time, so a sum that was not cut off does as well.
    """
    assert model.half_life is not None  # noqa: S101 asked before
    state = score_states.c
    faded = state.value * func.power(
        2.0, -seconds_between(state.updated_at, now) / model.half_life.total_seconds(), type_=Float()
    )
    # What is cut off at zero stays there.
    at_floor = [state.value <= model.floor] if model.floor else []
    cut_off = or_(state.value >= model.cap, faded > model.cap, faded < model.floor, *at_floor)
    begins = [level.from_ for level in model.levels]
    stays = or_(
        *(
            and_(
                state.level == level.name,
                *([faded >= level.from_ - model.hysteresis - TOLERANCE] if level.from_ > begins[0] else []),
                *(faded < following - TOLERANCE for following in begins[place + 1 : place + 2]),
            )
            for place, level in enumerate(model.levels)
        )
    )
    ours = state.model == model.name
    concerned = select(state.customer_id).where(ours, or_(cut_off, ~stays))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(chosen).from_select(["customer_id"], concerned).on_conflict_do_nothing())
    # Not NOT IN: PostgreSQL reads all who were chosen for each of the others, unless it takes them for few.
    others = (ours, ~exists().where(chosen.c.customer_id == state.customer_id))
    moment = literal(now, UtcDateTime())
    connection.execute(update(score_states).where(*others).values(value=faded, updated_at=moment))


def _crossings(model: ScoreModel, *, since: datetime | None) -> Insert:
    """Return what appends the levels reached after the last one that is written down; what is written is never changed."""
    last = _last_crossings(model)
    new = and_(moments.c.after > moments.c.before, or_(last.c.at.is_(None), moments.c.at > last.c.at))
    if since is not None:
        new = and_(new, moments.c.at > since)
    place = func.row_number().over(partition_by=moments.c.customer_id, order_by=moments.c.at)
    rows = select(
        literal(model.name),
        moments.c.customer_id,
        func.coalesce(last.c.number, 0) + place,
        _level(model, moments.c.after),
        literal(True),
        moments.c.value,
        moments.c.at,
    )
    rows = rows.outerjoin_from(moments, last, last.c.customer_id == moments.c.customer_id).where(new)
    names = ["model", "customer_id", "number", "level", "upward", "value", "at"]
    return insert(score_crossings).from_select(names, rows)


def _last_crossings(model: ScoreModel, *by: ColumnElement[Any]) -> Subquery:
    """Select when each of the chosen customers last reached a level, and its number.

    In one go: asked for each customer, SQLite may look for the last by time, through the crossings of everybody.
    """
    crossing = score_crossings.c
    return (
        select(
            crossing.customer_id,
            *by,
            func.max(crossing.at, type_=UtcDateTime()).label("at"),
            func.max(crossing.number).label("number"),
        )
        .where(crossing.model == model.name, crossing.customer_id.in_(select(chosen.c.customer_id)))
        .group_by(crossing.customer_id, *by)
        .subquery("last_crossings")
    )


def _states(model: ScoreModel, context: AudienceContext, backend: str) -> Insert:
    """Return what writes down where the chosen customers stand."""
    level = _level(model, moments.c.after)
    reached = _last_crossings(model, score_crossings.c.level)
    rows = select(
        literal(model.name),
        moments.c.customer_id,
        moments.c.value,
        level,
        func.coalesce(reached.c.at, context.now, type_=UtcDateTime()),
        context.now,
    )
    same = and_(reached.c.customer_id == moments.c.customer_id, reached.c.level == level)
    rows = rows.outerjoin_from(moments, reached, same).where(moments.c.at == context.now)
    names = ["model", "customer_id", "value", "level", "since", "updated_at"]
    dialect = postgresql if backend == "postgresql" else sqlite
    statement = dialect.insert(score_states).from_select(names, rows)
    fresh = statement.excluded
    upsert: Insert = statement.on_conflict_do_update(
        index_elements=["model", "customer_id"],
        set_={
            "value": fresh.value,
            "level": fresh.level,
            "since": case((score_states.c.level == fresh.level, score_states.c.since), else_=fresh.since),
            "updated_at": fresh.updated_at,
        },
    )
    return upsert


def _level(model: ScoreModel, number: ColumnElement[int]) -> ColumnElement[str]:
    names = [level.name for level in model.levels]
    *below, highest = enumerate(names)
    choices = [(number == place, literal(name, String())) for place, name in below]
    return case(*choices, else_=literal(highest[1], String())) if choices else literal(highest[1], String())
