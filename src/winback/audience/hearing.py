"""Fields and functions about the messages that customers got, and what they did with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, exists, false, func, or_, select

from winback.audience.buying import recent
from winback.audience.context import AudienceContext
from winback.audience.entries import ANY_DAYS, DAYS, Arguments, Cost, Field, Function, Kind, Parameter, Scope
from winback.audience.sql import whole_days
from winback.store import (
    InteractionClass,
    InteractionKind,
    MessageState,
    Purpose,
    UtcDateTime,
    events,
    interactions,
    messages,
)

#: Messages that went to the person; the holdout's virtual ones did not.
_WENT = (MessageState.SENT, MessageState.DELIVERED, MessageState.UNCERTAIN)


def _went(scope: Scope, message: FromClause) -> list[ColumnElement[bool]]:
    return [message.c.customer_id == scope.customer.c.id, message.c.state.in_(_WENT)]


def _by_hand(scope: Scope, hit: FromClause, kind: InteractionKind) -> list[ColumnElement[bool]]:
    """Return the conditions for what the person did, and no machine."""
    return [hit.c.customer_id == scope.customer.c.id, hit.c.klass == InteractionClass.HUMAN.value, hit.c.kind == kind.value]


def _campaign_received(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    message = messages.alias()
    own = (*_went(scope, message), message.c.campaign == arguments[0])
    return exists().where(*own, *recent(scope, message.c.sent_at, arguments, 1))


def _step_messages(scope: Scope, message: FromClause, step: str) -> list[ColumnElement[bool]]:
    """Return the conditions for the message of a step in this enrollment, on whichever channel it went."""
    own_step = or_(message.c.step == step, message.c.step == f"{step}:fallback")
    return [message.c.enrollment_id == scope.about.c.id, own_step]


def _received(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    if scope.enrollment is None or len(arguments) > 1:
        return _campaign_received(scope, arguments)
    message = messages.alias()
    # The holdout goes the same way through a campaign as those it is compared with.
    went = message.c.state.in_((*_WENT, MessageState.HELD_OUT))
    return exists().where(*_step_messages(scope, message, arguments[0]), went)


def _reacted(kind: InteractionKind) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    def compiled(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
        hit = interactions.alias()
        if scope.enrollment is None or len(arguments) > 1:
            own = (*_by_hand(scope, hit, kind), hit.c.campaign == arguments[0])
            return exists().where(*own, *recent(scope, hit.c.at, arguments, 1))
        message = messages.alias()
        return exists().where(
            *_step_messages(scope, message, arguments[0]),
            hit.c.message_id == message.c.id,
            hit.c.kind == kind.value,
            hit.c.klass == InteractionClass.HUMAN.value,
            hit.c.at <= scope.context.now,
        )

    return compiled


def _messages_received(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    message = messages.alias()
    conditions = _went(scope, message) + recent(scope, message.c.sent_at, arguments, 0)
    return select(func.count()).select_from(message).where(*conditions).scalar_subquery()


def _messages_with(kind: InteractionKind) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    def compiled(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
        hit = interactions.alias()
        conditions = _by_hand(scope, hit, kind) + recent(scope, hit.c.at, arguments, 0)
        return select(func.count(hit.c.message_id.distinct())).where(*conditions).scalar_subquery()

    return compiled


def _days_since_message(scope: Scope) -> ColumnElement[Any]:
    message = messages.alias()
    newest = select(func.max(message.c.sent_at, type_=UtcDateTime())).where(
        *_went(scope, message), message.c.sent_at <= scope.context.now
    )
    return whole_days(newest.scalar_subquery(), scope.context.now)


def _days_since_hit(kind: InteractionKind) -> Callable[[Scope], ColumnElement[Any]]:
    def compiled(scope: Scope) -> ColumnElement[Any]:
        hit = interactions.alias()
        conditions = (*_by_hand(scope, hit, kind), hit.c.at <= scope.context.now)
        newest = select(func.max(hit.c.at, type_=UtcDateTime())).where(*conditions).scalar_subquery()
        return whole_days(newest, scope.context.now)

    return compiled


def _unanswered(scope: Scope) -> tuple[FromClause, list[ColumnElement[bool]]]:
    """Return marketing messages after which the person gave no sign of life: no order, no event, nothing done with a message."""
    message, event, hit = messages.alias(), events.alias(), interactions.alias()
    now = scope.context.now
    customer = scope.customer.c
    return message, [
        *_went(scope, message),
        message.c.purpose == Purpose.MARKETING.value,
        message.c.sent_at <= now,
        or_(customer.last_order_at.is_(None), customer.last_order_at < message.c.sent_at),
        ~exists().where(event.c.customer_id == message.c.customer_id, event.c.at >= message.c.sent_at, event.c.at <= now),
        # Two levels down SQLAlchemy does not correlate by itself: the customer is named by the message.
        ~exists().where(
            hit.c.customer_id == message.c.customer_id,
            hit.c.klass == InteractionClass.HUMAN.value,
            hit.c.at >= message.c.sent_at,
            hit.c.at <= now,
        ),
    ]


def _count_unanswered(scope: Scope) -> ColumnElement[Any]:
    """Return how many marketing messages the person got since the last sign of life."""
    message, conditions = _unanswered(scope)
    return select(func.count()).select_from(message).where(*conditions).scalar_subquery()


def _days_unanswered(scope: Scope) -> ColumnElement[Any]:
    """Return the whole days since the first of these, NULL without one."""
    message, conditions = _unanswered(scope)
    oldest = select(func.min(message.c.sent_at, type_=UtcDateTime())).where(*conditions).scalar_subquery()
    return whole_days(oldest, scope.context.now)


def unanswered_for(context: AudienceContext, customer: FromClause, *, count: int, days: int) -> ColumnElement[bool]:
    """Return SQL for "got so many marketing messages since the last sign of life, the first of them so many days ago"."""
    scope = Scope(context, customer)
    return and_(_count_unanswered(scope) >= count, func.coalesce(_days_unanswered(scope) >= days, false()))


FIELDS = (
    Field(
        "days_since_message",
        Kind.NUMBER,
        "whole days since any message went, empty when none did",
        "days_since_message > 30",
        _days_since_message,
        Cost.LOOKUP,
    ),
    Field(
        "days_since_opened",
        Kind.NUMBER,
        "whole days since a person, not a machine, opened a message",
        "days_since_opened <= 90",
        _days_since_hit(InteractionKind.OPEN),
        Cost.LOOKUP,
    ),
    Field(
        "days_since_clicked",
        Kind.NUMBER,
        "whole days since a person clicked in one",
        "days_since_clicked <= 180",
        _days_since_hit(InteractionKind.CLICK),
        Cost.LOOKUP,
    ),
    Field(
        "unanswered",
        Kind.NUMBER,
        "marketing messages since the last sign of life: an order, an event, an opening or a click by a person",
        "unanswered < 5",
        _count_unanswered,
        Cost.LOOKUP,
    ),
    Field(
        "days_unanswered",
        Kind.NUMBER,
        "whole days since the first of these, empty without one",
        "days_unanswered >= 60",
        _days_unanswered,
        Cost.LOOKUP,
    ),
)

_CAMPAIGN = Parameter("campaign", Kind.TEXT)
_STEP = Parameter("step", Kind.TEXT)
_opened, _clicked = _reacted(InteractionKind.OPEN), _reacted(InteractionKind.CLICK)

FUNCTIONS = (
    Function(
        "received", (_CAMPAIGN, ANY_DAYS), Kind.FLAG, "got a message of a campaign", "not received('birthday', 14)", _received
    ),
    Function(
        "opened", (_CAMPAIGN, ANY_DAYS), Kind.FLAG, "a person, not a machine, opened one", "opened('sleeping', 30)", _opened
    ),
    Function("clicked", (_CAMPAIGN, ANY_DAYS), Kind.FLAG, "a person clicked in one", "clicked('nurture')", _clicked),
    Function(
        "messages_received",
        (DAYS,),
        Kind.NUMBER,
        "messages of all campaigns in the last days",
        "messages_received(30) <= 2",
        _messages_received,
    ),
    Function(
        "messages_opened",
        (DAYS,),
        Kind.NUMBER,
        "how many messages a person opened in the last days",
        "messages_opened(90) >= 1",
        _messages_with(InteractionKind.OPEN),
    ),
    Function(
        "messages_clicked",
        (DAYS,),
        Kind.NUMBER,
        "in how many a person clicked",
        "messages_clicked(90) >= 1",
        _messages_with(InteractionKind.CLICK),
    ),
)

#: The same words asked about one step of the enrollment at hand: shown apart in the catalogue.
ENROLLMENT_FUNCTIONS = (
    Function("received", (_STEP,), Kind.FLAG, "the step's message went", "received('hello')", _received),
    Function("opened", (_STEP,), Kind.FLAG, "a person, not a machine, opened it", "opened('hello')", _opened),
    Function("clicked", (_STEP,), Kind.FLAG, "a person clicked in it", "not clicked('hello')", _clicked),
)
