"""The functions of expressions: what customers bought and did, which messages they got, segments and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from sqlalchemy import ColumnElement, FromClause, String, exists, func, literal, or_, select

from winback.audience.fields import Kind, Scope, major_units, moment
from winback.errors import ExpressionError
from winback.store import (
    VOID_STATUSES,
    InteractionClass,
    InteractionKind,
    MessageState,
    events,
    interactions,
    messages,
    order_lines,
    orders,
    score_states,
)

#: Messages that went to the person; the holdout's virtual ones did not.
_WENT = (MessageState.SENT, MessageState.DELIVERED, MessageState.UNCERTAIN)

Arguments = Sequence[Any]


@dataclass(frozen=True)
class Parameter:
    """One argument of a function, always a plain value."""

    name: str
    kind: Kind
    optional: bool = False


@dataclass(frozen=True)
class Function:
    """A question with arguments."""

    name: str
    parameters: tuple[Parameter, ...]
    kind: Kind
    meaning: str
    example: str
    compile: Callable[[Scope, Arguments], ColumnElement[Any]]

    @property
    def signature(self) -> str:
        """Return how it is written: `bought(product, [days])`."""
        return f"{self.name}({', '.join(f'[{each.name}]' if each.optional else each.name for each in self.parameters)})"


def _recent(scope: Scope, at: ColumnElement[Any], arguments: Arguments, place: int) -> list[ColumnElement[bool]]:
    """Return the conditions for "up to now, and at most so many days ago"."""
    conditions = [at <= moment(scope.context.now)]
    if len(arguments) > place:
        conditions.append(at > moment(scope.context.now - timedelta(days=float(arguments[place]))))
    return conditions


def _counting_orders(scope: Scope, order: FromClause, arguments: Arguments, place: int) -> list[ColumnElement[bool]]:
    return [
        order.c.customer_id == scope.customer.c.id,
        order.c.status.not_in(VOID_STATUSES),
        *_recent(scope, order.c.placed_at, arguments, place),
    ]


def _bought(column: str) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    def compiled(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
        order, line = orders.alias(), order_lines.alias()
        return (
            exists()
            .where(line.c.order_id == order.c.id, line.c[column] == arguments[0])
            .where(*_counting_orders(scope, order, arguments, 1))
        )

    return compiled


def _orders_in(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    order = orders.alias()
    return select(func.count()).select_from(order).where(*_counting_orders(scope, order, arguments, 0)).scalar_subquery()


def _spent_in(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    """Sum in the currency of the newest order, as `spent` does: euros and dollars do not add up."""
    order = orders.alias()
    conditions = [*_counting_orders(scope, order, arguments, 0), order.c.currency == scope.customer.c.currency]
    total = select(func.coalesce(func.sum(order.c.total_minor), 0)).where(*conditions).scalar_subquery()
    return major_units(total, scope.customer.c.currency)


def _own_events(scope: Scope, arguments: Arguments) -> tuple[FromClause, list[ColumnElement[bool]]]:
    event = events.alias()
    return event, [
        event.c.customer_id == scope.customer.c.id,
        event.c.name == arguments[0],
        *_recent(scope, event.c.at, arguments, 1),
    ]


def _did(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    _, conditions = _own_events(scope, arguments)
    return exists().where(*conditions)


def _event_count(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    event, conditions = _own_events(scope, arguments)
    return select(func.count()).select_from(event).where(*conditions).scalar_subquery()


def _campaign_received(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    message = messages.alias()
    return exists().where(
        message.c.customer_id == scope.customer.c.id,
        message.c.campaign == arguments[0],
        message.c.state.in_(_WENT),
        *_recent(scope, message.c.sent_at, arguments, 1),
    )


def _campaign_reaction(kind: InteractionKind) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    def compiled(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
        hit = interactions.alias()
        return exists().where(
            hit.c.customer_id == scope.customer.c.id,
            hit.c.campaign == arguments[0],
            hit.c.kind == kind.value,
            hit.c.klass == InteractionClass.HUMAN.value,
            *_recent(scope, hit.c.at, arguments, 1),
        )

    return compiled


def _step_messages(scope: Scope, message: FromClause, step: str) -> list[ColumnElement[bool]]:
    """Return the conditions for the message of a step in this enrollment, on whichever channel it went."""
    assert scope.enrollment is not None  # noqa: S101 asked by the caller
    own_step = or_(message.c.step == step, message.c.step == f"{step}:fallback")
    return [message.c.enrollment_id == scope.enrollment.c.id, own_step]


def _step_received(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
    if scope.enrollment is None or len(arguments) > 1:
        return _campaign_received(scope, arguments)
    message = messages.alias()
    # The holdout goes the same way through a campaign as those it is compared with.
    went = message.c.state.in_((*_WENT, MessageState.HELD_OUT))
    return exists().where(*_step_messages(scope, message, arguments[0]), went)


def _step_reaction(kind: InteractionKind) -> Callable[[Scope, Arguments], ColumnElement[Any]]:
    by_campaign = _campaign_reaction(kind)

    def compiled(scope: Scope, arguments: Arguments) -> ColumnElement[Any]:
        if scope.enrollment is None or len(arguments) > 1:
            return by_campaign(scope, arguments)
        message, hit = messages.alias(), interactions.alias()
        return exists().where(
            *_step_messages(scope, message, arguments[0]),
            hit.c.message_id == message.c.id,
            hit.c.kind == kind.value,
            hit.c.klass == InteractionClass.HUMAN.value,
            hit.c.at <= moment(scope.context.now),
        )

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


def _meant(name: str, known: Any) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else "known are " + (", ".join(sorted(known)) or "none yet")


_DAYS = Parameter("days", Kind.NUMBER, optional=True)
_CAMPAIGN = Parameter("campaign", Kind.TEXT)
_STEP = Parameter("step", Kind.TEXT)

FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        Function(
            "bought",
            (Parameter("product", Kind.TEXT), _DAYS),
            Kind.FLAG,
            "bought a product, by its id; in the last days",
            "not bought('gift-card', 30)",
            _bought("product_id"),
        ),
        Function(
            "bought_category",
            (Parameter("category", Kind.TEXT), _DAYS),
            Kind.FLAG,
            "bought something of a category",
            "bought_category('Jazz', 365)",
            _bought("category"),
        ),
        Function(
            "orders_in",
            (Parameter("days", Kind.NUMBER),),
            Kind.NUMBER,
            "orders in the last days",
            "orders_in(365) >= 4",
            _orders_in,
        ),
        Function(
            "spent_in",
            (Parameter("days", Kind.NUMBER),),
            Kind.NUMBER,
            "money in the last days",
            "spent_in(365) >= 500",
            _spent_in,
        ),
        Function(
            "did",
            (Parameter("event", Kind.TEXT), _DAYS),
            Kind.FLAG,
            "did something, by the event's name",
            "did('webinar', 30)",
            _did,
        ),
        Function(
            "event_count",
            (Parameter("event", Kind.TEXT), _DAYS),
            Kind.NUMBER,
            "how often they did it",
            "event_count('visit', 7) >= 3",
            _event_count,
        ),
        Function(
            "received",
            (_CAMPAIGN, _DAYS),
            Kind.FLAG,
            "got a message of a campaign",
            "not received('birthday', 14)",
            _step_received,
        ),
        Function(
            "opened",
            (_CAMPAIGN, _DAYS),
            Kind.FLAG,
            "a person, not a machine, opened one",
            "opened('sleeping', 30)",
            _step_reaction(InteractionKind.OPEN),
        ),
        Function(
            "clicked",
            (_CAMPAIGN, _DAYS),
            Kind.FLAG,
            "a person clicked in one",
            "clicked('nurture')",
            _step_reaction(InteractionKind.CLICK),
        ),
        Function(
            "in_segment",
            (Parameter("segment", Kind.TEXT),),
            Kind.FLAG,
            "is in a segment of audiences.toml",
            "in_segment('loyal')",
            _in_segment,
        ),
        Function(
            "score",
            (Parameter("score", Kind.TEXT),),
            Kind.NUMBER,
            "the value of a score of scores.toml",
            "score('lead') >= 20",
            _score,
        ),
        Function("level", (Parameter("score", Kind.TEXT),), Kind.TEXT, "the name of the level", "level('lead') = 'warm'", _level),
    )
}

#: The same words asked about one step of the enrollment at hand: shown apart in the catalogue.
ENROLLMENT_FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        Function("received", (_STEP,), Kind.FLAG, "the step's message went", "received('hello')", _step_received),
        Function(
            "opened",
            (_STEP,),
            Kind.FLAG,
            "a person, not a machine, opened it",
            "opened('hello')",
            _step_reaction(InteractionKind.OPEN),
        ),
        Function(
            "clicked",
            (_STEP,),
            Kind.FLAG,
            "a person clicked in it",
            "not clicked('hello')",
            _step_reaction(InteractionKind.CLICK),
        ),
    )
}
