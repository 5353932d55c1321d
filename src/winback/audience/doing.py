"""Fields and functions about what customers did, besides ordering: events, and the answers to surveys among them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, String, and_, case, exists, false, func, literal, null, select

from winback.audience.buying import overdue, recent
from winback.audience.context import AudienceContext
from winback.audience.entries import ANY_DAYS, Arguments, Cost, Field, Function, Kind, Parameter, Scope
from winback.audience.rhythm import OWN_RHYTHM_ORDERS, SLEEPING_RHYTHMS
from winback.audience.sql import attribute_value, is_attribute_name, whole_days
from winback.store import UtcDateTime, events

#: The event of an answer to "How likely are you to recommend us?", and its property: a number from 0 to 10.
_NPS_EVENT = "nps"
_NPS_PROPERTY = "score"

#: From these answers on somebody is a promoter, or a passive.
_PROMOTER, _PASSIVE = 9, 7


def _own(scope: Scope, arguments: Arguments, days_at: int) -> tuple[FromClause, list[ColumnElement[bool]]]:
    event = events.alias()
    return event, [
        event.c.customer_id == scope.customer.c.id,
        event.c.name == arguments[0],
        *recent(scope, event.c.at, arguments, days_at),
    ]


def _own_with(scope: Scope, arguments: Arguments) -> tuple[FromClause, list[ColumnElement[bool]]]:
    event, conditions = _own(scope, arguments, 3)
    wanted = arguments[2]
    kind = "flag" if isinstance(wanted, bool) else "text" if isinstance(wanted, str) else "number"
    return event, [*conditions, attribute_value(event.c.properties, arguments[1], kind) == wanted]


def _did(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    return exists().where(*_own(scope, arguments, 1)[1])


def _count(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    event, conditions = _own(scope, arguments, 1)
    return select(func.count()).select_from(event).where(*conditions).scalar_subquery()


def _days_since(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    event, conditions = _own(scope, arguments, 1)
    newest = select(func.max(event.c.at, type_=UtcDateTime())).where(*conditions).scalar_subquery()
    return whole_days(newest, scope.context.now)


def _did_with(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    return exists().where(*_own_with(scope, arguments)[1])


def _count_with(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    event, conditions = _own_with(scope, arguments)
    return select(func.count()).select_from(event).where(*conditions).scalar_subquery()


def _sum(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    event, conditions = _own(scope, arguments, 2)
    amount = attribute_value(event.c.properties, arguments[1], "number")
    return select(func.coalesce(func.sum(amount), 0.0)).where(*conditions).scalar_subquery()


def _nps(scope: Scope, *, within: timedelta | None = None) -> ColumnElement[Any]:
    event = events.alias()
    lately = [] if within is None else [event.c.at > scope.context.ago(within)]
    answer = attribute_value(event.c.properties, _NPS_PROPERTY, "number")
    return (
        select(answer)
        .where(
            event.c.customer_id == scope.customer.c.id,
            event.c.name == _NPS_EVENT,
            event.c.at <= scope.context.now,
            answer.between(0, 10),
            *lately,
        )
        .order_by(event.c.at.desc(), event.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _nps_class(scope: Scope) -> ColumnElement[Any]:
    answer = _nps(scope)
    return case(
        (answer >= _PROMOTER, literal("promoter", String())),
        (answer >= _PASSIVE, literal("passive", String())),
        (answer.is_not(None), literal("detractor", String())),
        else_=null(),
    )


def _loyalty(scope: Scope) -> ColumnElement[Any]:
    answer = _nps(scope)
    stays = and_(scope.customer.c.order_count >= OWN_RHYTHM_ORDERS, func.coalesce(overdue(scope) < SLEEPING_RHYTHMS, False))
    return case(
        (and_(answer >= _PROMOTER, stays), literal("loyal", String())),
        (answer >= _PASSIVE, literal("accessible", String())),
        (and_(answer.is_not(None), stays), literal("trapped", String())),
        (answer.is_not(None), literal("high risk", String())),
        else_=null(),
    )


def is_detractor(context: AudienceContext, customer: FromClause, within: timedelta) -> ColumnElement[bool]:
    """Return SQL for "was asked within that time, and the newest answer is that of a detractor"."""
    return func.coalesce(_nps(Scope(context, customer), within=within) < _PASSIVE, false())


FIELDS = (
    Field(
        "nps",
        Kind.NUMBER,
        f"the newest answer from 0 to 10: the property {_NPS_PROPERTY} of the event {_NPS_EVENT}",
        "nps <= 6",
        _nps,
        Cost.LOOKUP,
    ),
    Field(
        "nps_class",
        Kind.TEXT,
        "promoter (9, 10), passive (7, 8) or detractor",
        "nps_class != 'detractor'",
        _nps_class,
        Cost.LOOKUP,
    ),
    Field(
        "loyalty",
        Kind.TEXT,
        "loyal (9, 10 and keeps ordering), accessible (satisfied), trapped (not, but keeps ordering), high risk; empty without",
        "loyalty = 'trapped'",
        _loyalty,
        Cost.LOOKUP,
    ),
)


def _no_property(name: str) -> tuple[str, str] | None:
    if is_attribute_name(name):
        return None
    return f"{name!r} cannot be asked for", "a property that can be is named with a to z, 0 to 9 and _"


_EVENT = Parameter("event", Kind.TEXT)
_PROPERTY = Parameter("property", Kind.TEXT, wrong=_no_property)
_VALUE = Parameter("value", Kind.ANY)

FUNCTIONS = (
    Function("did", (_EVENT, ANY_DAYS), Kind.FLAG, "did something, by the event's name", "did('webinar', 30)", _did),
    Function("event_count", (_EVENT, ANY_DAYS), Kind.NUMBER, "how often they did it", "event_count('visit', 7) >= 3", _count),
    Function(
        "days_since_event",
        (_EVENT,),
        Kind.NUMBER,
        "whole days since they last did it, empty when never",
        "days_since_event('visit') > 14",
        _days_since,
    ),
    Function(
        "did_with",
        (_EVENT, _PROPERTY, _VALUE, ANY_DAYS),
        Kind.FLAG,
        "did something with a property of the event",
        "did_with('download', 'topic', 'care', 90)",
        _did_with,
    ),
    Function(
        "event_count_with",
        (_EVENT, _PROPERTY, _VALUE, ANY_DAYS),
        Kind.NUMBER,
        "how often they did it with that",
        "event_count_with('download', 'topic', 'care') >= 2",
        _count_with,
    ),
    Function(
        "event_sum",
        (_EVENT, _PROPERTY, ANY_DAYS),
        Kind.NUMBER,
        "the sum of a number that the events carry, such as points",
        "event_sum('points', 'amount', 365) >= 500",
        _sum,
    ),
)
