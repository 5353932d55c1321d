"""The main job's first half on 69 659 real orders: imported, and a sleeping campaign's audience counted from the raw file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select, update

from tests.project.builder import campaign, email_step, write_shop
from winback.importers import import_file
from winback.plan import previewing
from winback.project import Project, load_project
from winback.store import customers, open_engine, orders, reading, writing
from winback.store.migrate import migrate

MASTER = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdnow" / "CDNOW_master.txt"

pytestmark = pytest.mark.skipif(not MASTER.exists(), reason="the CDNOW file is not beside the project (../shared/data/cdnow)")

#: Midnight of this day in the shop's zone is the moment asked about.
ASKED = date(1998, 7, 1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Project]]:
    """Give a shop in New York with every order of the file and a sleeping campaign."""
    written = campaign(audience={"preset": "sleeping", "inactive": "90d..365d"}, steps=[email_step()])
    root = write_shop(
        tmp_path_factory.mktemp("cdnow"), campaigns={"wake": written}, settings={"shop": {"zone": "America/New_York"}}
    )
    project = load_project(root, environ={})
    engine = open_engine(project.settings.database.url, root=root)
    migrate(engine)
    done = import_file(
        engine, project.import_settings(), "orders", MASTER, mapping=["cdnow"], now=datetime(1998, 7, 1, 4, tzinfo=UTC)
    )
    assert (done.inserted, done.rejected, done.customers_created) == (69_659, 0, 23_570)
    yield engine, project
    engine.dispose()


def _last_orders() -> dict[str, date]:
    """Read the last order's date of each customer from the raw file, in plain Python."""
    last: dict[str, date] = {}
    for line in MASTER.read_text().splitlines()[1:]:
        customer, day = line.split()[:2]
        at = datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007 - a date
        last[customer] = max(last.get(customer, at), at)
    return last


def test_the_database_has_what_the_file_says(shop: tuple[Engine, Project]) -> None:
    engine, _ = shop
    lines = MASTER.read_text().splitlines()[1:]
    with reading(engine) as connection:
        count, cents = connection.execute(select(func.count(), func.sum(orders.c.total_minor))).one()
        people = connection.scalar(select(func.count()).select_from(customers))
        spent = connection.scalar(select(func.sum(customers.c.spent_minor)))
    assert (count, people) == (len(lines), len(_last_orders()))
    assert cents == spent == sum(round(float(line.split()[3]) * 100) for line in lines)


def test_the_sleepers_are_those_whose_last_order_is_90_to_365_days_old(shop: tuple[Engine, Project]) -> None:
    engine, project = shop
    expected = {name for name, day in _last_orders().items() if 90 <= (ASKED - day).days <= 365}
    now = datetime(ASKED.year, ASKED.month, ASKED.day, tzinfo=ZoneInfo("America/New_York")).astimezone(UTC)
    with previewing(engine, project, "wake", now) as seen:
        found = {person.customer for person in seen.people()}
        outcome = seen.outcome
    assert 5_000 < len(expected) < 23_570
    assert found == expected
    # The file has no addresses and no consent: everybody is turned away, and the funnel says why.
    assert (outcome.audience, outcome.enrolled, outcome.turned_away) == (len(expected), 0, {"no_consent": len(expected)})


@pytest.fixture
def reachable(shop: tuple[Engine, Project]) -> Iterator[tuple[Engine, Project]]:
    """Give the same shop with an address and consent for everybody, which the other tests do not see."""
    engine, project = shop
    with writing(engine) as connection:
        connection.execute(
            update(customers).values(
                email=customers.c.external_id.concat("@example.com"), email_hash=customers.c.external_id, email_marketing=True
            )
        )
    yield engine, project
    with writing(engine) as connection:
        connection.execute(update(customers).values(email=None, email_hash=None, email_marketing=None))


def test_with_consent_and_addresses_they_would_come_in(reachable: tuple[Engine, Project]) -> None:
    engine, project = reachable
    now = datetime(1998, 7, 1, 4, tzinfo=UTC)
    with previewing(engine, project, "wake", now) as seen:
        enrolled, sends = seen.outcome.enrolled, seen.sends(5)
        volume = sum(day.count for day in seen.volume())
    assert enrolled == volume == sum(90 <= (ASKED - day).days <= 365 for day in _last_orders().values())
    assert {send.due_at - now for send in sends} == {timedelta(0)}  # without a time of day they go at once
