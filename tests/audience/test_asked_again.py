"""A statement that was built at one moment and is asked again at another asks what one built then would ask."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import ClauseElement
from sqlalchemy.dialects import postgresql, sqlite

from tests.audience.test_where import ACCEPTED
from tests.audience.world import NOW, context
from winback.audience import Audience, AudienceContext, compile_condition, form_of, select_audience, unanswered_for
from winback.store import customers

_ADAPTER: TypeAdapter[Any] = TypeAdapter(Audience)

#: Over the end of a year, a leap day, and both changes of the clocks.
LATER = [NOW + timedelta(minutes=1), NOW + timedelta(days=38, hours=7), NOW + timedelta(days=461, hours=14)]

AUDIENCES = [
    {"preset": "sleeping", "inactive": "90d..365d"},
    {"preset": "sleeping", "inactive": "36h"},
    {"preset": "sleeping", "inactive": "2x..365d", "where": "orders >= 2 and days_since_last_order > 10"},
    {"preset": "birthday", "offset": "-3d", "where": "age >= 18"},
    {"preset": "birthday", "field": "first_order"},
    {"preset": "birthday", "field": "attributes.wedding", "leap_day": "mar1"},
    {"preset": "everyone", "on": [date(2026, 12, 24), "Christmas Day"]},
    {"preset": "after_order", "after": "delivered", "delay": "10d", "where": "orders_in(90) >= 2"},
    {"preset": "after_order", "first": True},
    {"preset": "event", "event": "cart", "unless": "order", "within": "2h"},
    {"preset": "score", "score": "lead", "level": "warm"},
    {"preset": "score", "score": "lead", "level": "warm", "stays": "7d"},
    {"preset": "segment", "segment": "loyal"},
    {"preset": "segment", "segment": "loyal", "when": "leaves"},
    {"preset": "milestone", "field": "orders", "reaches": [5, 10]},
    {"preset": "milestone", "field": "attributes.points", "reaches": [100]},
    {"preset": "replenish", "offset": "-3d"},
]


def asked(statement: ClauseElement) -> list[tuple[str, dict[str, Any]]]:
    """Return a statement as each database gets it: its text, and its values."""
    compiled = [statement.compile(dialect=backend.dialect()) for backend in (sqlite, postgresql)]
    return [(str(each), dict(each.params)) for each in compiled]


def moved(build: Callable[[AudienceContext], ClauseElement], to: datetime) -> ClauseElement:
    """Return what is built now, with its clock moved to another moment."""
    before = context()
    statement = build(before)
    before.clock.set(context(to).clock)
    return statement


@pytest.mark.parametrize("at", LATER)
def test_each_expression(at: datetime) -> None:
    for expression, _ in ACCEPTED:

        def build(about: AudienceContext, expression: str = expression) -> ClauseElement:
            return compile_condition(expression, about, scope="customer", customer=customers)

        assert asked(moved(build, at)) == asked(build(context(at))), expression


@pytest.mark.parametrize("at", LATER)
@pytest.mark.parametrize("keys", AUDIENCES, ids=str)
def test_each_preset_while_its_form_is_the_same(keys: dict[str, Any], at: datetime) -> None:
    audience = _ADAPTER.validate_python(keys)
    if form_of(audience, context(at)) != form_of(audience, context()):
        at = NOW + timedelta(minutes=1)  # local midnights lie on quarters of an hour
    assert form_of(audience, context(at)) == form_of(audience, context())

    def build(about: AudienceContext) -> ClauseElement:
        return select_audience(audience, about)  # type: ignore[return-value]

    assert asked(moved(build, at)) == asked(build(context(at)))


def test_the_form_changes_with_the_day() -> None:
    first_order = {"preset": "birthday", "field": "first_order"}
    for keys in (first_order, {"preset": "segment", "segment": "loyal"}, {"preset": "everyone", "on": ["Christmas Day"]}):
        audience = _ADAPTER.validate_python(keys)
        assert form_of(audience, context(NOW + timedelta(days=1))) != form_of(audience, context())


@pytest.mark.parametrize("field", ["birthday", "attributes.wedding"])
@pytest.mark.parametrize("leap_day", ["feb28", "mar1", "skip"])
def test_birthdays_are_asked_again_on_every_day_of_years_with_and_without_a_leap_day(field: str, leap_day: str) -> None:
    """Within three years there is one 29 February; those born on it are asked about on another day in the other years."""
    audience = _ADAPTER.validate_python({"preset": "birthday", "field": field, "leap_day": leap_day})
    built: dict[Any, tuple[AudienceContext, Any]] = {}
    for number in range(3 * 366):
        now = context(NOW + timedelta(days=number))
        here, statement = built.setdefault(form_of(audience, now), (now, select_audience(audience, now)))
        here.clock.set(now.clock)
        if number % 100 == 0 or f"{now.clock.now:%m-%d}" in {"02-26", "02-27", "02-28", "02-29", "03-01", "03-02"}:
            assert asked(statement) == asked(select_audience(audience, now))  # type: ignore[arg-type]
    assert len(built) < 20


def test_the_sunset() -> None:
    def build(about: AudienceContext) -> ClauseElement:
        return unanswered_for(about, customers, count=5, days=60)

    assert asked(moved(build, LATER[1])) == asked(build(context(LATER[1])))


def test_a_prepared_context_follows_the_one_that_asks() -> None:
    owner = object()
    made: list[AudienceContext] = []

    def build(about: AudienceContext) -> ClauseElement:
        made.append(about)
        return compile_condition("days_since_last_order > 10", about, scope="customer", customer=customers)

    first = context().prepared((owner,), "key", build)
    later = context(LATER[1])
    assert later.prepared((owner,), "key", build) is first
    assert len(made) == 1
    assert asked(first) == asked(build(later))
    assert context().prepared((object(),), "key", build) is not first
    assert context().prepared((owner,), "other key", build) is not first
