"""The first fortnight of a simulation is what a daemon then really does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from freezegun import freeze_time
from sqlalchemy import Engine, func, select

from tests.project.builder import campaign, email_step
from tests.rows import add_customer, add_order
from tests.scheduler.shops import make_shop
from winback.project import Project
from winback.project.watch import ShopFiles
from winback.scheduler.daemon import Daemon
from winback.simulation import Assumptions, simulate
from winback.simulation.people import People
from winback.simulation.run import Span
from winback.store import customers, enrollments, messages, open_engine, reading, writing
from winback.store.migrate import migrate
from winback.store.scratch import scratch_copy

#: Clocks go back in Berlin on the 25th, in New York on 1 November.
START = datetime(2026, 10, 19, 6, 0, tzinfo=UTC)
UNTIL = START + timedelta(days=14)

#: A daemon looks every minute; it is enough to look now and then, and whenever something is due.
_EVERY = timedelta(hours=12)

_ZONES = ("Europe/Berlin", "America/New_York")

#: Nobody does anything about a letter: what they buy is enough of a story, and the daemon's people can buy the same.
SILENT = Assumptions.model_validate(
    {"email": {"open": "0%", "click": "0%", "order": "0%", "unsubscribe": "0%"}},
)

Outcome = set[tuple[Any, ...]]


def _shop(folder: Path, url: str) -> Project:
    thanks = campaign(
        title="Thanks",
        purpose="service",
        priority=10,
        audience={"preset": "after_order"},
        exit={"when": "voided"},
        steps=[email_step("thanks", after="1d"), email_step("care", after="2d", at="10:00", only_if="received('thanks')")],
    )
    birthday = campaign(
        title="Birthday",
        priority=20,
        audience={"preset": "birthday"},
        schedule={"at": "09:00", "late": "12h"},
        limits={"on_capped": "skip"},
        steps=[email_step("greeting"), email_step("reminder", after="3d")],
    )
    sleeping = campaign(
        title="Sleeping",
        priority=40,
        audience={"preset": "sleeping", "inactive": "40d..365d", "where": "not received('thanks', 10)"},
        schedule={"at": "09:30", "days": ["tue", "wed", "thu", "fri"]},
        exit={"when": "ordered"},
        measure={"holdout": "10%"},
        steps=[email_step("hello"), email_step("more", after="2d"), email_step("last", after="3d", only_if="not ordered")],
    )
    news = campaign(
        title="News",
        priority=60,
        audience={"preset": "everyone", "on": [datetime(2026, 10, 22).date()], "where": "orders >= 1"},  # noqa: DTZ001 - a date
        schedule={"at": "08:00"},
        steps=[email_step("news")],
    )
    campaigns = {"thanks": thanks, "birthday": birthday, "sleeping": sleeping, "news": news}
    return make_shop(folder, url, campaigns, settings={"limits": {"email": ["1 in 16h", "4 in 7d"]}})


def _fill(engine: Engine) -> None:
    """Write sixty people; what they ordered a year ago they order again within the fortnight."""
    with writing(engine) as connection:
        for number in range(60):
            birth = {"birth_year": 1980, "birth_month": 10, "birth_day": 20 + number % 9} if number % 5 == 0 else {}
            name = f"C{number:02}"
            customer = add_customer(connection, name, START - timedelta(days=500), local_zone=_ZONES[number % 2], **birth)
            add_order(connection, f"O-{name}", customer, START - timedelta(days=35 + number % 20))
            if number % 4 == 0:
                again = START - timedelta(weeks=52) + timedelta(days=number % 14)
                add_order(connection, f"P-{name}", customer, again)


def _outcome(rows: Any) -> Outcome:
    return {tuple(row) for row in rows}


_QUERY = (
    select(messages.c.campaign, customers.c.external_id, messages.c.step, messages.c.due_at, messages.c.state, messages.c.reason)
    .join(customers, customers.c.id == messages.c.customer_id)
    .where(messages.c.state.in_(("sent", "skipped", "held_out", "cancelled")), messages.c.due_at < UNTIL - timedelta(days=1))
)


def _played(engine: Engine, project: Project) -> tuple[Outcome, dict[str, int]]:
    with scratch_copy(engine) as connection:
        result = simulate(connection, project, SILENT, Span(START, START, UNTIL), every=_EVERY)
        assert result.errors == []
        return _outcome(connection.execute(_QUERY)), {total.campaign: total.email for total in result.campaigns}


def _really_done(engine: Engine, project: Project) -> Outcome:
    """Drive the daemon over the fortnight, its people buying what those of the simulation buy."""
    with writing(engine) as connection:
        people = People(connection, project, SILENT, START)
    with freeze_time(START) as clock:
        daemon = Daemon(engine, ShopFiles(project.root), worker="test")
        since = at = look = START
        while at < UNTIL:
            clock.move_to(at)
            with writing(engine) as connection:
                people.at(connection).act(since, at)
            outcome = daemon.tick()
            assert outcome is not None
            assert outcome.errors == []
            look = look if at < look else look + _EVERY
            since, at = at, min(look, _next_due(engine, at) or look)
    with writing(engine) as connection:
        return _outcome(connection.execute(_QUERY))


def _next_due(engine: Engine, at: datetime) -> datetime | None:
    """Return when the next message is due, or the next step of somebody."""
    with reading(engine) as connection:
        moments = [
            connection.scalar(select(func.min(column, type_=column.type)).where(column > at, active))
            for column, active in (
                (messages.c.next_attempt_at, messages.c.state == "planned"),
                (enrollments.c.due_at, enrollments.c.state == "active"),
            )
        ]
    return min((moment for moment in moments if moment is not None), default=None)


def test_a_daemon_then_sends_what_was_shown(tmp_path: Path) -> None:
    """Thank-yous, birthdays, sleepers and a newsletter that compete for a cap, in two zones, while clocks go back in both.

    What is planned does not depend on the database: one is enough.
    """
    url = f"sqlite:///{tmp_path}/winback.sqlite"
    engine = open_engine(url)
    migrate(engine)
    project = _shop(tmp_path / "shop", url)
    _fill(engine)
    shown, counts = _played(engine, project)
    done = _really_done(engine, project)
    engine.dispose()
    assert shown == done
    assert min(counts.values()) > 0
    assert {row[4] for row in done} >= {"sent", "skipped", "held_out"}
