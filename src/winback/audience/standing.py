"""Fields and functions about where customers stand: among all buyers, in the shop's segments, in its scores."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from sqlalchemy import ColumnElement, String, Table, func, literal, select

from winback.audience.entries import Arguments, Cost, Field, Function, Kind, Parameter, Scope
from winback.errors import ExpressionError
from winback.store import predictions, score_states, standings


def _kept(table: Table, name: str) -> Callable[[Scope], ColumnElement[Any]]:
    def compiled(scope: Scope) -> ColumnElement[Any]:
        own = table.alias()
        return select(own.c[name]).where(own.c.customer_id == scope.customer.c.id).scalar_subquery()

    return compiled


def _in_segment(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    from winback.audience.where import compile_condition

    name = arguments[0]
    segment = scope.context.segments.get(name)
    if segment is None:
        raise ExpressionError(f"there is no segment {name!r}", _meant(name, scope.context.segments))
    others = {key: each for key, each in scope.context.segments.items() if key != name}  # a definition in a circle ends here
    return compile_condition(segment.where, replace(scope.context, segments=others), scope="customer", customer=scope.customer)


def _score(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    model = _model(scope, arguments[0])
    state = score_states.alias()
    value = select(state.c.value).where(state.c.model == model.name, state.c.customer_id == scope.customer.c.id).scalar_subquery()
    return func.coalesce(value, literal(float(model.floor)))


def _level(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    model = _model(scope, arguments[0])
    state = score_states.alias()
    level = select(state.c.level).where(state.c.model == model.name, state.c.customer_id == scope.customer.c.id).scalar_subquery()
    return func.coalesce(level, literal(model.lowest, String()))


def _model(scope: Scope, name: str) -> Any:
    model = scope.context.scores.get(name)
    if model is None:
        raise ExpressionError(f"there is no score {name!r}", _meant(name, scope.context.scores))
    return model


def _meant(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else "known are " + (", ".join(sorted(known)) or "none yet")


STANDINGS = (
    Field(
        "rfm_recency",
        Kind.NUMBER,
        "1 to 5: 5 for the fifth that bought last",
        "rfm_recency >= 4",
        _kept(standings, "recency"),
        Cost.DAILY,
    ),
    Field(
        "rfm_frequency",
        Kind.NUMBER,
        "1 to 5: 5 for who buys most often",
        "rfm_frequency = 5",
        _kept(standings, "frequency"),
        Cost.DAILY,
    ),
    Field(
        "rfm_monetary",
        Kind.NUMBER,
        "1 to 5: 5 for who spends most",
        "rfm_monetary >= 3",
        _kept(standings, "monetary"),
        Cost.DAILY,
    ),
    Field(
        "rfm_group",
        Kind.TEXT,
        "champions, loyal, promising, new, needs attention, about to sleep, at risk, hibernating; empty without an order of late",
        "rfm_group in ('champions', 'loyal')",
        _kept(standings, "rfm_group"),
        Cost.DAILY,
    ),
    Field(
        "rfm_group_before",
        Kind.TEXT,
        "the group before this one, empty when there was none",
        "rfm_group = 'at risk' and rfm_group_before = 'loyal'",
        _kept(standings, "group_before"),
        Cost.DAILY,
    ),
    Field(
        "abc",
        Kind.TEXT,
        "A for those who make 80 % of the revenue, B for the next 15 %, C",
        "abc = 'A'",
        _kept(standings, "abc"),
        Cost.DAILY,
    ),
)

PREDICTED = (
    Field(
        "p_alive",
        Kind.NUMBER,
        "how likely it is, 0 to 1, that they are still a customer (BG/NBD); empty without an order or with too little data",
        "p_alive < 0.3",
        _kept(predictions, "p_alive"),
        Cost.DAILY,
    ),
    Field(
        "expected_orders",
        Kind.NUMBER,
        "orders to be expected within the time set in [predictions] (BG/NBD)",
        "expected_orders >= 0.5",
        _kept(predictions, "expected_orders"),
        Cost.DAILY,
    ),
)

FIELDS = STANDINGS + PREDICTED

_SCORE = Parameter("score", Kind.TEXT)

FUNCTIONS = (
    Function(
        "in_segment",
        (Parameter("segment", Kind.TEXT),),
        Kind.FLAG,
        "is in a segment of audiences.toml",
        "in_segment('loyal')",
        _in_segment,
    ),
    Function("score", (_SCORE,), Kind.NUMBER, "the value of a score of scores.toml", "score('lead') >= 20", _score),
    Function("level", (_SCORE,), Kind.TEXT, "the name of the level", "level('lead') = 'warm'", _level),
)
