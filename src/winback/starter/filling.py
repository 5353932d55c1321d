"""Fill the demo shop's database: real orders, made-up people, through the same importers that a shop's own files go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, exists, insert, select

from winback.addresses import hash_address
from winback.errors import InputError
from winback.importers import Kind, write_rows
from winback.starter.story import LONG_AGO, Story, write_story
from winback.store import Channel, SuppressionReason, customers, exclusive, import_runs, installation, reading
from winback.store.consent import suppress

if TYPE_CHECKING:
    from winback.project import Project

#: The demo shop is the same everywhere.
SEED = 1997

#: What the log of imports calls the demo's data.
SOURCE = "demo shop"

#: Where the database keeps the day and the seed that it was filled for.
_MARK = "demo.filled"

#: Addresses that nobody may write to any more, by the reason.
_SUPPRESSED = {SuppressionReason.HARD_BOUNCE: 8, SuppressionReason.COMPLAINT: 3, SuppressionReason.MANUAL: 2}


@dataclass(frozen=True)
class Filled:
    """How many rows of each kind were put into the shop."""

    customers: int
    orders: int
    events: int


def fill(engine: Engine, project: Project, *, now: datetime, seed: int = SEED, until: datetime | None = None) -> Filled | None:
    """Put the demo's customers, orders, leads and events into a shop, whole or not at all; return None where they are already.

    The newest order is of the day before `now` in the shop's zone. The same `seed` and day give the same data. With `until`, what
    happened after that moment is left out; `story_of` has it.

    Raise InputError for a shop that has customers of its own.
    """
    with engine.begin() as connection:
        exclusive(connection)
        if _mark(connection) is not None:
            return None
        if connection.scalar(select(exists(select(customers.c.id)))):
            raise InputError(
                f"the shop in {project.root} has customers of its own", "choose a folder for a new shop: winback demo my-demo"
            )
        today = now.astimezone(ZoneInfo(project.settings.shop.zone)).date()
        story = _story(project, today, seed)
        at = min(until or now, now)
        counts = {kind: _write(connection, project, story, kind, at) for kind in Kind}
        _suppress_some(connection, project, story, seed, at)
        connection.execute(insert(installation).values(key=_MARK, value=f"{today} {seed}"))
    return Filled(counts[Kind.CUSTOMERS], counts[Kind.ORDERS], counts[Kind.EVENTS])


def story_of(engine: Engine, project: Project) -> Story:
    """Return all that happens in a filled shop. Raise InputError for a shop that is not filled."""
    with reading(engine) as connection:
        mark = _mark(connection)
    if mark is None:
        raise InputError(f"the shop in {project.root} is not the demo shop", "fill one: winback demo my-demo")
    today, _, seed = mark.partition(" ")
    return _story(project, date.fromisoformat(today), int(seed))


def _mark(connection: Connection) -> str | None:
    return connection.scalar(select(installation.c.value).where(installation.c.key == _MARK))


def _story(project: Project, today: date, seed: int) -> Story:
    shop = project.settings.shop
    return write_story(today, seed, shop.zone, shop.website)


def _write(connection: Connection, project: Project, story: Story, kind: Kind, at: datetime) -> int:
    done = write_rows(connection, project.import_settings(), kind, story.rows(kind, LONG_AGO, at), at, SOURCE)
    if done.rejected:
        raise AssertionError(f"the demo's own {kind} are refused: {done.problems[:3]}")
    connection.execute(
        insert(import_runs).values(kind=kind.value, source=SOURCE, started_at=at, finished_at=at, inserted=done.inserted)
    )
    return done.inserted


def _suppress_some(connection: Connection, project: Project, story: Story, seed: int, at: datetime) -> None:
    rng = Random(f"{seed}:suppressed")  # noqa: S311 - invented bounces, no secret
    reachable = [person for person in story.people if "email" in person.row]
    key = project.key("address")
    chosen = iter(rng.sample(reachable, sum(_SUPPRESSED.values())))
    for reason, count in _SUPPRESSED.items():
        for _ in range(count):
            address = hash_address(next(chosen).row["email"], key)
            suppress(connection, Channel.EMAIL, address, reason, at - timedelta(days=rng.uniform(20, 200)), SOURCE)
