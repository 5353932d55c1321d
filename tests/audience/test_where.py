"""Expressions: whom each fits, on both databases; and what is refused, where, with what remedy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Engine, select

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
            if found != expected or sorted(found + left_out) != _EVERYBODY:
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


_EVERYBODY = ["ANNA", "BORIS", "CARLA", "DORA", "EMIL", "FUMI", "GUS"]
_EXAMPLES = [entry for entry in catalogue() if entry.scope == "everywhere" and not entry.name.startswith("attributes.")]


def _values(kind: str) -> list[str]:
    """Return every field, and every function as its example calls it, of one kind."""
    fields = [entry.name for entry in _EXAMPLES if entry.kind == "field" and entry.type == kind]
    calls = [re.search(r"\w+\([^)]*\)", entry.example) for entry in _EXAMPLES if entry.kind == "function" and entry.type == kind]
    return fields + [call[0] for call in calls if call]


_JOINTS = ["and", "or", "=", "!=", "<", ">=", "+", "-", "*", "/", "in", "like", "between", "is", "is not", "not"]

#: Anything after anything: most of it is refused.
_words = st.recursive(
    st.sampled_from(["orders", "country", "attributes.visits", "1", "'DE'", "null", "true", "did('visit', 30)", "-orders"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(_JOINTS), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("not {}".format),
        st.tuples(inner, inner).map(lambda pair: f"{pair[0]} between 1 and {pair[1]}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: f"country in ({', '.join(items)})"),
    ),
    max_leaves=8,
)

_digits = st.one_of(st.integers(0, 10**15).map(str), st.decimals(0, 10**6, places=9).map("{:f}".format))
_numbers = st.recursive(
    st.one_of(st.sampled_from([*_values("number"), "attributes.visits", "attributes.huge", "attributes.tiny"]), _digits),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map("- {}".format),
    ),
    max_leaves=12,
)
_quoted = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5).map(
    lambda text: f"'{text.replace(chr(39), chr(39) * 2)}'"
)
_texts = st.one_of(st.sampled_from([*_values("text"), "attributes.pet"]), _quoted)
_comparisons = ["=", "!=", "<>", "<", "<=", ">", ">="]

#: What makes sense: nearly all of it is accepted, and so has to run.
_conditions = st.recursive(
    st.one_of(
        st.sampled_from([*_values("flag"), "attributes.vip", "true", "false"]),
        st.tuples(_numbers, st.sampled_from(_comparisons), _numbers).map(" ".join),
        st.tuples(_numbers, _numbers, _numbers).map(lambda each: f"{each[0]} not between {each[1]} and {each[2]}"),
        st.tuples(_numbers, st.lists(_digits, min_size=1, max_size=3)).map(lambda each: f"{each[0]} in ({', '.join(each[1])})"),
        st.tuples(_texts, st.sampled_from(["=", "!=", "like", "not like"]), _quoted).map(" ".join),
        st.tuples(_texts, st.lists(_quoted, min_size=1, max_size=3)).map(lambda each: f"{each[0]} not in ({', '.join(each[1])})"),
        st.one_of(_numbers, _texts).map("{} is null".format),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "=", "!="]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map("not {}".format),
        inner.map("({}) is not true".format),
    ),
    max_leaves=6,
)


def _compiled(expression: str) -> ColumnElement[bool] | None:
    try:
        return compile_condition(expression, context(NOW), scope="customer", customer=customers)
    except ExpressionError:
        return None


@given(st.lists(st.one_of(_words, _conditions, _conditions, _conditions), min_size=5, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_accepted_never_fails_in_the_database(world: Engine, expressions: list[str]) -> None:
    accepted = [condition for condition in map(_compiled, expressions) if condition is not None]
    columns = [condition.label(f"condition_{place}") for place, condition in enumerate(accepted)]
    with reading(world) as connection:
        rows = connection.execute(select(customers.c.external_id, *columns).order_by(customers.c.external_id)).all()
    assert [row[0] for row in rows] == _EVERYBODY
    assert {answer for row in rows for answer in row[1:]} <= {True, False}  # never unknown


@pytest.mark.parametrize(
    "expression",
    [
        " * ".join(["1000000000000000"] * 20) + " > 1",  # beyond what a float holds
        " / ".join(["0.000000001"] * 40) + " > 1",
        " and ".join(["orders >= 1"] * 260),
        "orders" + " + 1" * 60 + " > 1",
        "not " * 300 + "true",
        "'\ud800' = city",
        "'\0' = city",
        "attributes.größe = 1",
    ],
)
def test_what_a_database_could_not_do_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionError):
        check_expression(expression, scope="customer", segments={}, scores={})


@pytest.mark.parametrize(
    "expression",
    [
        " * ".join(["spent"] * 14) + " > 1",
        " / ".join(["0.000000001"] * 14) + " < attributes.huge * attributes.huge",
        " or ".join(["country = 'DE'"] * 200),
        "orders" + " + 1" * 30 + " > 1",
        "not " * 30 + "has_email",
        f"orders in ({', '.join(map(str, range(800)))})",
        f"city like '{'%' * 200}'",
    ],
)
def test_what_is_just_not_too_long_runs(world: Engine, expression: str) -> None:
    condition = compile_condition(expression, context(), scope="customer", customer=customers)
    with reading(world) as connection:
        assert sorted(names(connection, condition) + names(connection, ~condition)) == _EVERYBODY


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_expression_or_an_error_of_ours(expression: str) -> None:
    column = 0
    try:
        check_expression(expression, scope="enrollment", segments=SEGMENTS, scores=SCORES)
    except ExpressionError as error:
        column = error.column
    assert 0 <= column <= len(expression) + 1
