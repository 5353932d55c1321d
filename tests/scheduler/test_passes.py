"""One pass: what it does, and what it does when a part of it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, insert, select, text

from tests.project.builder import campaign, write_shop
from tests.scheduler.shops import THANKS, WAKE, add_sleepers, in_outbox, make_shop, states
from winback.project import load_project
from winback.scheduler import run_pass
from winback.store import conversions, open_engine, orders, passes, reading, writing


def _passes(engine: Engine) -> list[dict[str, object]]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(select(passes).order_by(passes.c.id)).mappings()]


@contextmanager
def _without(engine: Engine, table: str) -> Iterator[None]:
    """Take a table away, as a failed migration or a tired database might."""
    with writing(engine) as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {table}_gone"))
    try:
        yield
    finally:
        with writing(engine) as connection:
            connection.execute(text(f"ALTER TABLE {table}_gone RENAME TO {table}"))


def test_a_pass_plans_sends_and_is_written_down(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    add_sleepers(engine, 3, now)
    outcome = run_pass(engine, project, now, "worker", clock=lambda: now + timedelta(seconds=7))
    assert (outcome.enrolled, outcome.planned, outcome.sent, outcome.failed, outcome.errors) == (3, 3, 3, 0, [])
    assert sorted(in_outbox(project.root).items()) == [(f"s000{number}@example.com", 1) for number in range(3)]
    [row] = _passes(engine)
    assert (row["worker"], row["started_at"], row["finished_at"]) == ("worker", now, now + timedelta(seconds=7))
    assert (row["enrolled"], row["planned"], row["sent"], row["failed"], row["error"]) == (3, 3, 3, 0, None)
    again = run_pass(engine, project, now + timedelta(minutes=1), "worker")
    assert (again.enrolled, again.sent) == (0, 0)
    assert states(engine) == {"sent": 3}


def test_a_pass_attributes_orders_to_what_it_sent_before(
    engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    add_sleepers(engine, 1, now)
    run_pass(engine, project, now, "worker")
    with writing(engine) as connection:
        order = {"external_id": "O1", "customer_id": 1, "placed_at": now + timedelta(hours=1), "status": "paid"}
        connection.execute(
            insert(orders).values(**order, total_minor=2000, currency="USD", attributes={}, updated_at=now + timedelta(hours=1))
        )
    assert run_pass(engine, project, now + timedelta(hours=2), "worker").conversions == 1
    with reading(engine) as connection:
        assert connection.scalars(select(conversions.c.campaign)).all() == ["wake"]


def test_a_campaign_that_fails_is_named_and_the_others_go(
    engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    broken = campaign(title="Broken", audience={"preset": "sleeping", "inactive": "90d", "where": "opened('wake', 30)"})
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE, "broken": {**broken, "priority": 10}})
    add_sleepers(engine, 2, now)
    with _without(engine, "interactions"):
        outcome = run_pass(engine, project, now, "worker")
    [error] = outcome.errors
    assert error.startswith("campaign broken: ")
    assert "interactions" in error
    assert outcome.sent == 2
    assert _passes(engine)[0]["error"] == error


def test_a_part_that_fails_does_not_stop_the_parts_after_it(
    engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    add_sleepers(engine, 2, now)
    with _without(engine, "conversions"):
        outcome = run_pass(engine, project, now, "worker")
    [error] = outcome.errors
    assert error.startswith("conversions: ")
    assert outcome.sent == 2
    assert run_pass(engine, project, now + timedelta(minutes=1), "worker").errors == []


def test_what_was_planned_goes_although_planning_fails(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    add_sleepers(engine, 2, now)
    asked = iter(range(100))
    stopped = run_pass(engine, project, now, "worker", stop=lambda: next(asked) >= 4)  # before anything is sent
    assert (stopped.errors, stopped.interrupted, states(engine)) == ([], True, {"planned": 2})
    add_sleepers(engine, 1, now, prefix="T")
    with _without(engine, "plan_funnels"):
        outcome = run_pass(engine, project, now + timedelta(minutes=1), "worker")
    assert [error.partition(":")[0] for error in outcome.errors] == ["campaign wake"]
    assert (outcome.sent, states(engine)) == (2, {"sent": 2})


def test_stopping_begins_nothing_new(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings={"dispatch": {"batch": 5}})
    add_sleepers(engine, 20, now)
    asked = iter(range(1000))
    outcome = run_pass(engine, project, now, "worker", stop=lambda: next(asked) > 12)
    assert outcome.interrupted
    found = states(engine)
    assert found["sending"] == 0
    assert 0 < found["sent"] < 20
    assert found["sent"] + found["planned"] == 20
    after = run_pass(engine, project, now, "worker")
    assert (after.interrupted, states(engine)) == (False, {"sent": 20})


def test_who_is_told_to_stop_before_it_begins_does_nothing(
    engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    add_sleepers(engine, 2, now)
    outcome = run_pass(engine, project, now, "worker", stop=lambda: True)
    assert (outcome.interrupted, outcome.plan, outcome.dispatch) == (True, None, None)
    assert states(engine) == {}


def test_a_pass_that_only_sends_plans_nothing(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    add_sleepers(engine, 2, now)
    outcome = run_pass(engine, project, now, "worker", planning=False)
    assert (outcome.plan, states(engine)) == (None, {})


def test_errors_name_nobody(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE, "thanks": THANKS})
    add_sleepers(engine, 2, now)
    with _without(engine, "message_history"), _without(engine, "conversions"), _without(engine, "score_states"):
        outcome = run_pass(engine, project, now, "worker")
    assert outcome.errors
    assert not [error for error in outcome.errors if "@" in error or "Ada" in error or "S0001" in error]


def test_passes_of_long_ago_are_forgotten(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    for days in (31, 29, 0):
        run_pass(engine, project, now - timedelta(days=days), "worker")
    assert [row["started_at"] for row in _passes(engine)] == [now - timedelta(days=29), now]


def test_without_a_database_a_pass_says_so_and_does_not_raise(tmp_path: Path, now: datetime) -> None:
    project = load_project(write_shop(tmp_path / "shop", campaigns={"wake": WAKE}))
    (tmp_path / "broken.sqlite").write_text("this is no database, whatever its name says" * 100)
    engine = open_engine(f"sqlite:///{tmp_path}/broken.sqlite")
    outcome = run_pass(engine, project, now, "worker")
    engine.dispose()
    assert outcome.errors
    assert all("not a database" in error for error in outcome.errors)
