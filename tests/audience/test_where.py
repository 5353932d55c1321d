"""Expressions: whom each fits, on both databases; and what is refused, where, with what remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from tests.audience.world import NOW, SCORES, SEGMENTS, context, fill, names
from winback.audience import catalogue, check_expression, compile_condition, update_scores
from winback.errors import ExpressionError
from winback.store import customers, enrollments, reading, writing

CASES = Path(__file__).resolve().parents[1] / "cases" / "where"
ACCEPTED = [
    (expression, expected.split())
    for table in tomllib.loads((CASES / "accepted.toml").read_text(encoding="utf-8")).values()
    for expression, expected in table.items()
]
REFUSED = list(tomllib.loads((CASES / "refused.toml").read_text(encoding="utf-8")).items())


@pytest.fixture
def world(engine: Engine) -> Engine:
    fill(engine)
    with writing(engine) as connection:
        update_scores(connection, SCORES, context())
    return engine


def test_each_expression_fits_whom_it_should(world: Engine) -> None:
    wrong = {}
    with reading(world) as connection:
        for expression, expected in ACCEPTED:
            condition = compile_condition(expression, context(), scope="customer", customer=customers)
            found = names(connection, condition)
            left_out = names(connection, ~condition)
            if found != expected or sorted(found + left_out) != ["ANNA", "BORIS", "CARLA", "DORA", "EMIL", "FUMI", "GUS"]:
                wrong[expression] = (found, left_out)
    assert not wrong


@pytest.mark.parametrize(("expression", "said"), REFUSED, ids=[expression for expression, _ in REFUSED])
def test_what_cannot_be_used_is_refused_with_its_place(expression: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        check_expression(expression, scope="customer", segments=SEGMENTS, scores=SCORES)
    error = caught.value
    assert f"{error.column}: {error.message}; {error.remedy}".startswith(said)
    assert error.remedy
    assert error.expression == expression


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ordered", ["ANNA"]),  # ten days ago, after what the campaign is about
        ("not ordered", ["BORIS"]),
        ("voided", []),
        ("received('first')", ["ANNA", "BORIS"]),
        ("received('second')", []),
        ("clicked('first')", ["ANNA"]),
        ("not clicked('first')", ["BORIS"]),
        ("opened('first')", []),
        ("clicked('second')", []),
        ("received('wake', 60)", ["ANNA", "BORIS"]),  # with days it is a campaign
        ("received('wake', 10)", []),
        ("ordered or country = 'AT'", ["ANNA", "BORIS"]),
    ],
)
def test_a_campaign_knows_what_happened_in_it(engine: Engine, expression: str, expected: list[str]) -> None:
    fill(engine)
    condition = compile_condition(expression, context(), scope="enrollment", customer=customers, enrollment=enrollments)
    with reading(engine) as connection:
        found = connection.scalars(
            select(customers.c.external_id)
            .join_from(enrollments, customers, customers.c.id == enrollments.c.customer_id)
            .where(condition)
            .order_by(customers.c.external_id)
        ).all()
    assert found == expected


def test_a_definition_in_a_circle_ends() -> None:
    round_and_round = {
        name: SEGMENTS["german"].model_copy(update={"name": name, "where": f"in_segment('{other}')"})
        for name, other in (("a", "b"), ("b", "a"))
    }
    with pytest.raises(ExpressionError, match="there is no segment"):
        check_expression("in_segment('a')", scope="customer", segments=round_and_round, scores={})


@pytest.mark.parametrize("expression", ["(" * 3000 + "true" + ")" * 3000, "not " * 990 + "true", "orders = 1 or " * 400 + "true"])
def test_a_monster_is_refused_and_not_swallowed(expression: str) -> None:
    with pytest.raises(ExpressionError):
        check_expression(expression, scope="customer", segments={}, scores={})


def test_every_example_of_the_catalogue_can_be_used() -> None:
    entries = catalogue()
    assert {entry.scope for entry in entries} == {"everywhere", "campaign"}
    for entry in entries:
        scope = "enrollment" if entry.scope == "campaign" else "customer"
        segments = {"loyal": SEGMENTS["german"]}
        check_expression(entry.example, scope=scope, segments=segments, scores=SCORES)


_VALUES = ["orders", "spent", "overdue", "age", "country", "city", "has_email", "attributes.visits", "attributes.pet", "1", "2.5"]
_VALUES += [
    "'DE'",
    "'B%'",
    "true",
    "null",
    "did('visit', 30)",
    "orders_in(30)",
    "score('lead')",
    "level('lead')",
    "-orders",
    "(orders)",
]
_JOINTS = ["and", "or", "=", "!=", "<", ">=", "+", "-", "*", "/", "in", "like", "between", "is", "is not", "not"]

_random = st.recursive(
    st.sampled_from(_VALUES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(_JOINTS), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("not {}".format),
        st.tuples(inner, inner).map(lambda pair: f"{pair[0]} between 1 and {pair[1]}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: f"country in ({', '.join(items)})"),
    ),
    max_leaves=8,
)


@given(_random)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_accepted_never_fails_in_the_database(world: Engine, expression: str) -> None:
    try:
        condition = compile_condition(expression, context(NOW), scope="customer", customer=customers)
    except ExpressionError:
        return
    with reading(world) as connection:
        found = names(connection, condition)
        assert sorted(found + names(connection, ~condition)) == ["ANNA", "BORIS", "CARLA", "DORA", "EMIL", "FUMI", "GUS"]


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_expression_or_an_error_of_ours(expression: str) -> None:
    column = 0
    try:
        check_expression(expression, scope="enrollment", segments=SEGMENTS, scores=SCORES)
    except ExpressionError as error:
        column = error.column
    assert 0 <= column <= len(expression) + 1
