"""Scores: points that fade, levels that are reached and left, and the same result however often they are computed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import Connection, Engine, delete, event, func, insert, select, update

from tests.audience.world import NOW, ago, context
from tests.rows import add_customer
from winback.audience import ScoreModel, score_statement, update_scores
from winback.audience.horizon import Horizon
from winback.audience.score_moments import able, chosen, fill_moments, moments, moments_of, own_tables
from winback.audience.score_points import points
from winback.store import customers, events, installation, reading, score_crossings, score_states, temporary, writing

LEVELS = [{"name": "cold", "from": 0}, {"name": "warm", "from": 20}, {"name": "hot", "from": 50}]


def _model(**changes: Any) -> ScoreModel:
    rules = [{"event": "webinar", "points": 30}, {"event": "visit", "points": 4}, {"event": "careers", "points": -10}]
    return ScoreModel.model_validate({"name": "lead", "title": "Lead", "rules": rules, "levels": LEVELS, **changes})


def _did(connection: Connection, customer: int, name: str, at: datetime, number: int = 0) -> None:
    row = {"external_id": f"{customer}-{name}-{at.isoformat()}-{number}", "customer_id": customer, "name": name, "properties": {}}
    connection.execute(insert(events).values(**row, at=at))


def _state(connection: Connection) -> tuple[float, str]:
    row = connection.execute(select(score_states.c.value, score_states.c.level)).one()
    return round(row.value, 6), row.level


def _reached(connection: Connection) -> list[tuple[int, str, datetime]]:
    columns = (score_crossings.c.number, score_crossings.c.level, score_crossings.c.at)
    return [tuple(row) for row in connection.execute(select(*columns).order_by(score_crossings.c.number))]  # type: ignore[misc]


@pytest.fixture
def lead(engine: Engine) -> int:
    with writing(engine) as connection:
        return add_customer(connection, "LEAD", ago(300))


@pytest.mark.parametrize(
    ("changes", "happened", "value", "level"),
    [
        ({}, [("webinar", 10)], 30, "warm"),
        ({}, [("webinar", 10), ("webinar", 5)], 60, "hot"),
        ({"half_life": "10d"}, [("webinar", 10)], 15, "cold"),
        ({"half_life": "10d"}, [("webinar", 20), ("webinar", 10), ("webinar", 0)], 52.5, "hot"),
        ({"expires": "10d"}, [("webinar", 11), ("webinar", 9)], 30, "warm"),
        ({"expires": "10d"}, [("webinar", 11)], 0, "cold"),
        ({"half_life": "10d", "hysteresis": 5}, [("webinar", 10)], 15, "warm"),  # 15 is not below 20 - 5
        ({"half_life": "10d", "hysteresis": 4}, [("webinar", 10)], 15, "cold"),
        ({}, [("careers", 3)], 0, "cold"),  # never below the floor
        ({"floor": -50, "levels": [{"name": "out", "from": -50}, {"name": "in", "from": 5}]}, [("careers", 3)], -10, "out"),
        # Two rules about one event both count.
        ({"rules": [{"event": "visit", "points": 4}, {"event": "visit", "points": 2}]}, [("visit", 3), ("visit", 2)], 12, "cold"),
        ({"cap": 70}, [("webinar", 3), ("webinar", 2), ("webinar", 1)], 70, "hot"),
        (
            {"rules": [{"event": "visit", "points": 4, "at_most": "2 in 30d"}]},
            [("visit", 0.3), ("visit", 0.2), ("visit", 0.1)],
            8,
            "cold",
        ),
        (
            {
                "rules": [{"event": "visit", "points": 4, "group": "site"}, {"event": "webinar", "points": 30, "group": "site"}],
                "groups": {"site": "2 in 30d"},
            },
            [("visit", 0.3), ("visit", 0.2), ("webinar", 0.1)],  # the first two of both together
            8,
            "cold",
        ),
        ({"fit": [{"where": "country = 'DE'", "points": 15}]}, [("visit", 1), ("visit", 2)], 23, "warm"),
        ({"fit": [{"where": "country = 'FR'", "points": 15}]}, [("visit", 1), ("visit", 2)], 8, "cold"),
        ({}, [("nothing-of-ours", 1), ("visit", 1)], 4, "cold"),
        ({}, [("visit", 1), ("webinar", -1)], 4, "cold"),  # what has not happened yet counts nothing
    ],
)
def test_the_value_and_the_level(
    engine: Engine, lead: int, changes: dict[str, Any], happened: list[tuple[str, float]], value: float, level: str
) -> None:
    with writing(engine) as connection:
        connection.execute(update(customers).values(country="DE"))
        for number, (name, days) in enumerate(happened):
            _did(connection, lead, name, ago(days), number)
        update_scores(connection, {"lead": _model(**changes)}, context())
        assert _state(connection) == (value, level)


def test_a_level_is_reached_again_after_it_was_left(engine: Engine, lead: int) -> None:
    model = {"lead": _model(half_life="10d", hysteresis=5)}
    with writing(engine) as connection:
        for days in (60, 58, 20):
            _did(connection, lead, "webinar", ago(days))
        update_scores(connection, model, context())
        assert _reached(connection) == [(1, "warm", ago(60)), (2, "hot", ago(58)), (3, "warm", ago(20))]
        assert _state(connection)[1] == "cold"


def test_who_jumps_over_a_level_reaches_only_the_higher_one(engine: Engine, lead: int) -> None:
    with writing(engine) as connection:
        for number in range(2):
            _did(connection, lead, "webinar", ago(1), number)
        update_scores(connection, {"lead": _model()}, context())
        assert _reached(connection) == [(1, "hot", ago(1))]


def test_a_new_definition_reaches_nothing_in_the_past(engine: Engine, lead: int) -> None:
    with writing(engine) as connection:
        _did(connection, lead, "visit", ago(5))
        update_scores(connection, {"lead": _model()}, context(ago(4)))
        dearer = _model(rules=[{"event": "visit", "points": 30}])
        update_scores(connection, {"lead": dearer}, context(NOW))
        assert _reached(connection) == []
        assert _state(connection) == (30, "warm")


def test_machines_score_nothing_and_scores_that_are_gone_are_forgotten(engine: Engine) -> None:
    from tests.audience.world import fill

    fill(engine)
    rules = [{"message": "opened", "points": 1}, {"message": "clicked", "points": 3}]
    with writing(engine) as connection:
        update_scores(connection, {"lead": _model(rules=rules)}, context())
        rows = connection.execute(
            select(customers.c.external_id, score_states.c.value).join(customers, customers.c.id == score_states.c.customer_id)
        )
        assert {row.external_id: row.value for row in rows if row.value} == {"ANNA": 3}
        update_scores(connection, {}, context())
        assert connection.execute(select(score_states)).all() == []


def test_what_is_committed_late_counts_all_the_same(engine: Engine, lead: int) -> None:
    """On PostgreSQL a row may be committed after one with a higher id; on SQLite its writer would have kept the other waiting."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with writing(engine) as connection:
        other = add_customer(connection, "OTHER", ago(300))
        update_scores(connection, {"lead": _model()}, context(ago(0.9)))

    def make_pass(number: int) -> None:
        with writing(engine) as connection:
            _did(connection, other, "careers", ago(0.1), number)  # always something newer
            update_scores(connection, {"lead": _model()}, context(NOW + number * timedelta(minutes=1)))

    with engine.connect() as late:
        _did(late, lead, "webinar", ago(0.5))
        for number in range(5):
            make_pass(number)
        late.commit()
    make_pass(5)
    with reading(engine) as connection:
        assert _reached(connection) == [(1, "warm", ago(0.5))]
    for number in range(6, 12):
        make_pass(number)
    with reading(engine) as connection:
        newest = connection.scalar(select(func.max(events.c.id))) or 0
        kept = json.loads(connection.scalar(select(installation.c.value)) or "")
    assert newest - 6 <= kept["rows"]["ids"]["events"] < newest  # the last passes' rows are read again, not all of them


def test_after_the_first_pass_not_everything_is_read_again(engine: Engine) -> None:
    """On PostgreSQL two passes go by until it is known what was being written during the first: only that much can be new."""
    with writing(engine) as connection:
        customer = add_customer(connection, "C", ago(9))
        for number in (1, 250_000):
            row = {"id": number, "external_id": f"E{number}", "customer_id": customer, "name": "visit", "properties": {}}
            connection.execute(insert(events).values(**row, at=ago(1)))
        assert Horizon().moved(connection, (events,)).after(events) == (
            150_000 if engine.dialect.name == "postgresql" else 250_000
        )


_steps = st.lists(
    st.tuples(st.sampled_from(["webinar", "visit", "careers", "pass"]), st.integers(1, 6) | st.integers(1, 40)),
    min_size=1,
    max_size=12,
)


_GROUPED = [
    {"event": "webinar", "points": 30, "group": "site"},
    {"event": "visit", "points": 4, "group": "site", "at_most": "2 in 20d"},
    {"event": "careers", "points": -10},
]
_changes = st.sampled_from(
    [{}, {"half_life": "5d"}, {"half_life": "30d"}, {"expires": "25d"}, {"rules": _GROUPED, "groups": {"site": "2 in 30d"}}]
)


def test_the_events_of_everybody_are_read_once_in_an_index_that_holds_all_of_them(engine: Engine) -> None:
    """Looked up by their names in the table, one rule after the other, they took SQLite four times as long."""
    if engine.dialect.name == "postgresql":
        pytest.skip("it knows how many they are, and chooses by itself")
    asked = points(_model(), context(), chosen=None).compile(engine, compile_kwargs={"literal_binds": True})
    with reading(engine) as connection:
        steps = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}")]
    assert steps == ["SCAN events USING COVERING INDEX ix_events_customer"]


@pytest.mark.parametrize("changes", [{}, {"half_life": "10d"}, {"cap": 60}])
def test_who_was_never_given_enough_for_a_level_is_told_apart(engine: Engine, changes: dict[str, Any]) -> None:
    """Their moments are the same, found without following them through all that happened."""
    happened = {
        "VISITOR": ["visit"] * 4,
        "LEAD": ["visit"] * 5,
        "GUEST": ["webinar"],
        "APPLICANT": ["careers", "visit"],
        "IDLE": [],
    }
    model = _model(**changes)
    with writing(engine) as connection, temporary(connection, own_tables):
        ids = {}
        for name, did in happened.items():
            ids[add_customer(connection, name, ago(300))] = name
            for day, what in enumerate(did, 3):
                _did(connection, max(ids), what, ago(day * 4))
        connection.execute(insert(chosen).from_select(["customer_id"], select(customers.c.id)))
        fill_moments(connection, model, context())
        assert {ids[each] for each in connection.scalars(select(able.c.customer_id))} == {"LEAD", "GUEST", "IDLE"}
        apart = _rounded(connection)
        connection.execute(delete(moments))
        connection.execute(moments_of(model, context(), chosen, everybody=True))
        assert apart == _rounded(connection)
        assert {row[0] for row in apart} == set(ids)


def _rounded(connection: Connection) -> list[tuple[Any, ...]]:
    rows = connection.execute(select(moments).order_by(moments.c.customer_id, moments.c.at))
    return [(row.customer_id, row.at, round(row.value, 9), row.before, row.after) for row in rows]


def test_a_level_is_reached_when_points_that_were_taken_expire(engine: Engine, lead: int) -> None:
    """At that moment and not in the next pass: who sank below the level meanwhile has reached it once more."""
    with writing(engine) as connection:
        for name, days in (("careers", 51), ("webinar", 50), ("careers", 40)):
            _did(connection, lead, name, ago(days))
        update_scores(connection, {"lead": _model(expires="25d")}, context())
        reached = [(level, at) for _, level, at in _reached(connection)]
    assert reached == [("warm", ago(50)), ("warm", ago(26) + timedelta(seconds=1))]


@example(
    steps=[("careers", 1), ("careers", 1), ("webinar", 1), ("pass", 24), ("webinar", 1)], changes={"expires": "25d"}, hysteresis=0
)
@given(steps=_steps, changes=_changes, hysteresis=st.sampled_from([0, 8]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_upkeep_from_pass_to_pass_equals_computing_it_once(
    engine: Engine, steps: list[tuple[str, int]], changes: dict[str, Any], hysteresis: int
) -> None:
    scores = {"lead": _model(**changes, hysteresis=hysteresis)}
    with writing(engine) as connection:
        for table in (score_crossings, score_states, installation, events, customers):
            connection.execute(delete(table))
        lead = add_customer(connection, "LEAD", ago(300))
        at = ago(sum(days for _, days in steps))
        update_scores(connection, scores, context(at))
        for number, (name, days) in enumerate(steps):
            at += timedelta(days=days)
            if name != "pass":
                _did(connection, lead, name, at, number)
            update_scores(connection, scores, context(at))
        kept = _reached(connection), connection.execute(select(score_states.c.value, score_states.c.level)).all()
        for table in (score_crossings, score_states, installation):
            connection.execute(delete(table))
        update_scores(connection, scores, context(at))
        again = _reached(connection), connection.execute(select(score_states.c.value, score_states.c.level)).all()
        explained = score_statement(connection, scores["lead"], context(at), "LEAD")
    assert round(explained.value, 6) == round(again[1][0].value if again[1] else 0, 6)
    assert kept[0] == again[0]
    assert [(round(value, 6), level) for value, level in kept[1]] == [(round(value, 6), level) for value, level in again[1]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"half_life": "5d", "expires": "5d"}, "keep one of them"),
        ({"levels": list(reversed(LEVELS))}, "write the lowest first"),
        ({"levels": LEVELS[1:]}, "let the first level begin at 0"),
        ({"levels": [LEVELS[0], {"name": "cold", "from": 9}]}, "two levels of one name"),
        ({"cap": 50}, "set cap above 50"),
        ({"rules": [{"points": 3}]}, "either event or message"),
        ({"rules": [{"event": "a", "message": "opened", "points": 3}]}, "either event or message"),
        ({"rules": [{"event": "a", "points": 3, "at_most": "often"}]}, "5 in 30d"),
        ({"rules": [{"event": "a", "points": 3, "group": "mail"}]}, "add it to groups"),
        ({"groups": {"mail": "5 in 30d"}}, "give some of them its name"),
        ({"cap": 1e300}, "less than or equal"),
    ],
)
def test_a_score_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _model(**changes)


def test_nothing_stays_in_the_connection(engine: Engine, lead: int) -> None:
    """Pooled connections are used again by others."""
    for _ in range(2):
        with writing(engine) as connection:
            update_scores(connection, {"lead": _model(), "other": _model(name="other")}, context())
    with reading(engine) as connection:
        assert connection.execute(select(score_states)).all() == []


def test_a_statement_says_what_each_thing_is_worth(engine: Engine, lead: int) -> None:
    rules = [
        {"event": "webinar", "points": 30},
        {"event": "visit", "points": 4, "at_most": "1 in 30d"},
        {"event": "careers", "points": -10},
    ]
    model = _model(rules=rules, half_life="10d", fit=[{"where": "has_email", "points": 5}, {"where": "has_phone", "points": 7}])
    with writing(engine) as connection:
        for name, days in (("webinar", 20), ("visit", 0.3), ("visit", 0.2), ("careers", 10), ("webinar", -1)):
            _did(connection, lead, name, ago(days))
        update_scores(connection, {"lead": model}, context())
        found = score_statement(connection, model, context(), "LEAD")
        assert [(entry.at, entry.what, entry.points, round(entry.worth, 1), entry.why_not) for entry in found.entries] == [
            (ago(20), "webinar", 30, 7.5, ""),
            (ago(10), "careers", -10, -5.0, ""),
            (ago(0.3), "visit", 4, 3.9, ""),
            (ago(0.2), "visit", 4, 0.0, "more than 1 in 30d"),
            (None, "has_email", 5, 5, ""),
        ]
        assert (round(found.value, 6), "cold") == _state(connection)
        assert [(reached.at, reached.level, reached.value) for reached in found.reached] == [(ago(20), "warm", 35)]
        expired = score_statement(connection, _model(rules=rules, expires="15d"), context(), "LEAD")
        assert expired.entries[0].why_not == "expired"
        assert (expired.total, expired.value) == (-6, 0)  # cut off at the floor


def test_sqlite_reads_only_what_those_did_who_are_looked_at(engine: Engine, lead: int) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("it looks each of them up by an index")
    ways: list[str] = []

    def explained(_connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("INSERT INTO score_moments"):
            ways.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    model = {"lead": _model(rules=[{"message": "opened", "points": 1}, {"event": "webinar", "points": 20}])}
    with writing(engine) as connection:
        update_scores(connection, model, context(ago(0.5)))  # looks at everybody
        _did(connection, lead, "webinar", ago(0.1))
        event.listen(connection, "before_cursor_execute", explained)
        update_scores(connection, model, context())
    read = [way for way in ways if way.split()[1] in {"interactions", "events"}]
    assert len(read) == 2, read
    assert all("(customer_id=?" in way for way in read), read
