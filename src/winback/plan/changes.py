"""What changed files would do: whose audience grows or shrinks, and what becomes of the people who are in a campaign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Engine, MetaData, Select, Table, case, func, insert, select

from winback.plan import progress
from winback.plan.candidates import gather
from winback.plan.tables import candidates, own_tables
from winback.policy import step_of
from winback.project import Campaign, Project
from winback.store import EnrollmentState, Id, MessageState, customers, enrollments, exclusive, messages
from winback.versions import FileChange, KeyChange

#: People who are named for each thing that changes.
SAMPLES = 5

_SHARED = ("campaigns/audiences.toml", "campaigns/scores.toml")

#: Settings that say who is in an audience.
_OF_PEOPLE = ("shop.zone", "deliver.")


class Fate(StrEnum):
    """What becomes of people who wait for a step of a running campaign."""

    GOES_ON = "goes_on"  # they get the step, made from the new files
    LEAVES = "leaves"  # the step is gone, and they leave the campaign
    STOPS = "stops"  # the campaign is off or gone: they get nothing until it is back


@dataclass(frozen=True)
class AudienceChange:
    """How many people a campaign is for before and after, how many the next pass would let in, and who joins or drops out."""

    campaign: str
    before: int
    after: int
    joining: int
    leaving: int
    comes_in_before: int
    comes_in_after: int
    joining_samples: tuple[str, ...]  # customers' external ids
    leaving_samples: tuple[str, ...]


@dataclass(frozen=True)
class Waiting:
    """People in a running campaign who wait for one step, and what becomes of them."""

    step: str
    count: int
    fate: Fate
    misses: tuple[str, ...]  # new steps that come before the one they wait for
    gets: tuple[str, ...]  # new steps that come after it
    renamed: str | None  # the new step with the letter of the one that is gone
    samples: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """What a change does to the people in a campaign, and to messages that are written and not sent yet."""

    campaign: str
    people: int
    waiting: tuple[Waiting, ...]
    messages_go: int  # made from the new files
    messages_cancelled: int


@dataclass(frozen=True)
class Effects:
    """What changed files do to people."""

    audiences: tuple[AudienceChange, ...]
    running: tuple[Running, ...]


_metadata = MetaData()


def _people(name: str) -> Table:
    return Table(
        name,
        _metadata,
        Column("customer_id", Id, primary_key=True, autoincrement=False),
        Column("comes_in", Boolean, nullable=False),
        prefixes=["TEMPORARY"],
    )


#: Who is in a campaign's audience by the files before and after, and whether no rule turns them away.
_before, _after = _people("plan_before"), _people("plan_after")


def effects(engine: Engine, before: Project, after: Project, files: tuple[FileChange, ...], now: datetime) -> Effects:
    """Return what happens to people when the files `after` take the place of those `before`. Everything is undone."""
    with engine.connect() as connection, connection.begin() as transaction:
        try:
            exclusive(connection)
            with own_tables(connection):
                _metadata.create_all(connection, checkfirst=False)
                asked = sorted(_asked_again(before, after, files))
                audiences = [_audience(connection, before, after, name, now) for name in asked]
                running = [_running(connection, before, after, name) for name in _touched(before, after, files)]
        finally:
            transaction.rollback()
    return Effects(
        tuple(audiences), tuple(each for each in running if each.people or each.messages_cancelled or each.messages_go)
    )


def _asked_again(before: Project, after: Project, files: tuple[FileChange, ...]) -> set[str]:
    """Return the campaigns that may be for other people than before."""
    keys: dict[str, tuple[KeyChange, ...]] = {change.path: change.keys for change in files}
    everybody = any(path in keys for path in _SHARED) or any(
        change.key.startswith(_OF_PEOPLE) for change in keys.get("config.toml", ())
    )
    live = {name for project in (before, after) for name, campaign in project.campaigns.items() if campaign.enabled}
    return {name for name in live if everybody or keys.get(f"campaigns/{name}.toml")}


def _touched(before: Project, after: Project, files: tuple[FileChange, ...]) -> list[str]:
    """Return the campaigns whose own files or templates differ."""
    paths = {change.path for change in files}
    names = {*before.campaigns, *after.campaigns}
    return sorted(
        name for name in names if f"campaigns/{name}.toml" in paths or _letters(after.campaigns.get(name)) & _stems(paths)
    )


def _stems(paths: set[str]) -> set[str]:
    """Return the templates that changed files belong to, without language and end."""
    return {path.removeprefix("templates/").partition(".")[0] for path in paths if path.startswith("templates/")}


def _letters(campaign: Campaign | None) -> set[str]:
    steps = campaign.steps if campaign else ()
    named = {template for step in steps for template in (step.template, step.fallback.template if step.fallback else None)}
    arms = {arm.template for step in steps for arm in step.variants.values()}
    return {template for template in named | arms if template is not None}


def _audience(connection: Connection, before: Project, after: Project, name: str, now: datetime) -> AudienceChange:
    _fill(connection, _before, before, name, now)
    _fill(connection, _after, after, name, now)
    joining, leaving = _only_in(_after, _before), _only_in(_before, _after)
    return AudienceChange(
        campaign=name,
        before=_count(connection, select(_before)),
        after=_count(connection, select(_after)),
        joining=_count(connection, joining),
        leaving=_count(connection, leaving),
        comes_in_before=_count(connection, select(_before).where(_before.c.comes_in)),
        comes_in_after=_count(connection, select(_after).where(_after.c.comes_in)),
        joining_samples=_names(connection, joining),
        leaving_samples=_names(connection, leaving),
    )


def _fill(connection: Connection, people: Table, project: Project, name: str, now: datetime) -> None:
    connection.execute(people.delete())
    campaign = project.campaigns.get(name)
    if campaign is None or not campaign.enabled:
        return
    gather(connection, project, campaign, now, progress.looks_back_to(connection, campaign, now))
    comes_in = func.max(case((candidates.c.failure.is_(None), 1), else_=0)) == 1
    chosen = select(candidates.c.customer_id, comes_in).group_by(candidates.c.customer_id)
    connection.execute(insert(people).from_select(["customer_id", "comes_in"], chosen))


def _only_in(here: Table, there: Table) -> Select[int]:
    return (
        select(here.c.customer_id)
        .outerjoin(there, there.c.customer_id == here.c.customer_id)
        .where(there.c.customer_id.is_(None))
    )


def _count(connection: Connection, people: Select[Any]) -> int:
    return connection.scalar(select(func.count()).select_from(people.subquery())) or 0


def _names(connection: Connection, ids: Select[int]) -> tuple[str, ...]:
    """Return some of the people by the shop's own ids, always the same ones."""
    wanted = select(customers.c.external_id).where(customers.c.id.in_(ids)).order_by(customers.c.external_id).limit(SAMPLES)
    return tuple(connection.scalars(wanted))


def _running(connection: Connection, before: Project, after: Project, name: str) -> Running:
    old, new = before.campaigns.get(name), after.campaigns.get(name)
    active = (enrollments.c.campaign == name, enrollments.c.state == EnrollmentState.ACTIVE)
    counts = connection.execute(
        select(enrollments.c.step, func.count()).where(*active).group_by(enrollments.c.step).order_by(enrollments.c.step)
    ).all()
    waiting = [
        _waiting(
            step,
            count,
            old,
            new,
            _names(connection, select(enrollments.c.customer_id).where(*active, enrollments.c.step == step)),
        )
        for step, count in counts
    ]
    written = connection.execute(
        select(messages.c.step, func.count())
        .where(messages.c.campaign == name, messages.c.state == MessageState.PLANNED)
        .group_by(messages.c.step)
    ).all()
    goes = {step for step, _ in written if new is not None and new.enabled and step_of(after, name, step) is not None}
    return Running(
        campaign=name,
        people=sum(count for _, count in counts),
        waiting=tuple(waiting),
        messages_go=sum(count for step, count in written if step in goes),
        messages_cancelled=sum(count for step, count in written if step not in goes),
    )


def _waiting(step: str, count: int, old: Campaign | None, new: Campaign | None, samples: tuple[str, ...]) -> Waiting:
    """Say what becomes of the people who wait for a step; what they had they never get again, wherever it moves."""
    if new is None or not new.enabled:
        return Waiting(step, count, Fate.STOPS, (), (), None, samples)
    known = {each.name: each for each in old.steps} if old else {}
    added = [each for each in new.steps if each.name not in known]
    gone = known.get(step)
    if new.find_step(step) is None:
        same = [each.name for each in added if gone and (each.channel, each.template) == (gone.channel, gone.template)]
        return Waiting(step, count, Fate.LEAVES, (), (), next(iter(same), None), samples)
    places = {each.name: place for place, each in enumerate(new.steps)}
    misses = tuple(each.name for each in added if places[each.name] < places[step])
    gets = tuple(each.name for each in added if places[each.name] > places[step])
    return Waiting(step, count, Fate.GOES_ON, misses, gets, None, samples)
