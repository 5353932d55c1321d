"""The two sides of a comparison: who is on which, since when, and what they did. Three statements each, whatever the size."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    Subquery,
    and_,
    case,
    cast,
    distinct,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.types import Float

from winback.project import Campaign
from winback.report.intervals import Moments
from winback.report.model import Group, Revenue
from winback.store import (
    VOID_STATUSES,
    Id,
    MessageState,
    UtcDateTime,
    enrollments,
    events,
    message_history,
    messages,
    orders,
    plus_seconds,
)

#: The sides of the holdout; those of a test are named by its arms.
TREATED, HELD_OUT = "treated", "held_out"

#: The pace at which people come in is that of the last weeks, without the first: then all come in whom a campaign has waited for.
_PACE_WEEKS = 8
_WEEK = timedelta(weeks=1)

#: People of one day come in together, at the same time of day in many zones.
_DAY = timedelta(days=1)

_EVENT = "event:"


@dataclass
class Side:
    """One side: people, each counted once, and what they did in their time."""

    people: int = 0
    converted: int = 0
    recent: int = 0  # of the people, those who tell the pace
    still_open: int = 0  # of the people, those whose time is not over
    spent: Counter[str] = field(default_factory=Counter)  # minor units by currency
    squares: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))  # of each person's sum

    def group(self, name: str, base: str) -> Group:
        """Return the side as the report shows it."""
        revenue = tuple(Revenue(currency, minor) for currency, minor in sorted(self.spent.items()))
        return Group(name, self.people, self.converted, revenue, base)

    def moments(self, currency: str) -> Moments:
        """Return what an interval of the amount per person needs."""
        return Moments(self.people, float(self.spent[currency]), self.squares[currency])

    def later(self, weeks: int, pace_weeks: float) -> tuple[int, int]:
        """Return how many of how many people will have converted in some weeks, at the pace of the last `pace_weeks`."""
        people = round(self.people + self.recent / pace_weeks * weeks)
        return round(people * self.converted / self.people), people


@dataclass(frozen=True)
class Period:
    """When the people came in who are compared: while both sides were there, because a season is no effect of a letter."""

    both_since: datetime
    until: datetime
    ended: bool  # one of the sides takes nobody in any more
    complete: bool  # nobody was left out because of it

    @property
    def since(self) -> datetime:
        """Return when the first of them came in: on the day on which the later side began."""
        return self.both_since - _DAY

    def pace(self, now: datetime) -> tuple[datetime, timedelta]:
        """Return since when people tell the pace, and how long that is; negative while it is too early."""
        began = max(now - _PACE_WEEKS * _WEEK, self.both_since + _WEEK)
        return began, now - began


@dataclass(frozen=True)
class Bounds:
    """When the first and the last person of a side came in."""

    first: datetime
    last: datetime


def starts(campaign: Campaign, now: datetime) -> Subquery:
    """Return one row for each person: on which side, and since when (the first message that no rule stopped was due then)."""
    # A message that planning skipped is no start. One that was planned and skipped later is: had the person been held out, nobody
    # would have asked the rules a second time.
    had_begun = exists().where(message_history.c.message_id == messages.c.id, message_history.c.from_state.is_not(None))
    place = func.row_number().over(partition_by=messages.c.customer_id, order_by=[messages.c.due_at, messages.c.id])
    ranked = (
        select(
            messages.c.customer_id,
            enrollments.c.held_out,
            enrollments.c.variant,
            messages.c.due_at.label("since"),
            place.label("place"),
        )
        .join_from(messages, enrollments, enrollments.c.id == messages.c.enrollment_id)
        .where(
            messages.c.campaign == campaign.name,
            messages.c.due_at <= now,
            messages.c.planned_at <= now,
            or_(messages.c.state != MessageState.SKIPPED.value, had_begun),
        )
        .subquery()
    )
    return select(ranked).where(ranked.c.place == 1).subquery("started")


def by_holdout(started: Subquery) -> ColumnElement[str]:
    """Return the side of the holdout that a person is on."""
    return case((started.c.held_out, literal(HELD_OUT, String())), else_=literal(TREATED, String()))


def by_arm(started: Subquery) -> ColumnElement[str]:
    """Return the arm of the test that a person is in; '' for the held-out and for those who came in before there was a test."""
    return case((started.c.held_out, literal("", String())), else_=started.c.variant)


def arms_with_people(connection: Connection, campaign: Campaign) -> set[str]:
    """Return the arms that anybody ever was in."""
    of_campaign = (enrollments.c.campaign == campaign.name, enrollments.c.variant != "")
    return set(connection.scalars(select(enrollments.c.variant).where(*of_campaign).distinct()))


def bounds(connection: Connection, started: Subquery, side: ColumnElement[str]) -> dict[str, Bounds]:
    """Return the sides that anybody is on."""
    each = select(side.label("side"), started.c.since).subquery()
    first, last = (function(each.c.since, type_=UtcDateTime()) for function in (func.min, func.max))
    rows = connection.execute(select(each.c.side, first, last).group_by(each.c.side))
    return {row[0]: Bounds(row[1], row[2]) for row in rows}


def period(found: Mapping[str, Bounds], pair: tuple[str, str], running: Mapping[str, bool], now: datetime) -> Period:
    """Return when people of a pair of sides came in side by side; `running` says which of them still take people in."""
    there = [found[name] for name in pair if name in found]
    both_since = max((each.first for each in there), default=now)
    ended = [name for name in pair if not running.get(name, False)]
    until = min((found[name].last + _DAY for name in ended if name in found), default=now)
    complete = all(each.first >= both_since - _DAY and each.last <= until for each in there)
    return Period(both_since, until, bool(ended), complete)


def gather(
    connection: Connection, campaign: Campaign, now: datetime, started: Subquery, side: ColumnElement[str], within: Period
) -> dict[str, Side]:
    """Count the people of every side who came in within a period, and what they did by `now`."""
    people = (
        select(side.label("side"), started.c.customer_id, started.c.since)
        .where(started.c.since >= within.since, started.c.since <= within.until)
        .subquery("people")
    )
    sides: dict[str, Side] = defaultdict(Side)
    _count_people(connection, campaign, now, people, within, sides)
    _count_outcomes(connection, _outcomes(campaign, now, people), sides)
    return dict(sides)


def _count_people(
    connection: Connection, campaign: Campaign, now: datetime, people: Subquery, within: Period, sides: dict[str, Side]
) -> None:
    recent = func.sum(case((people.c.since >= within.pace(now)[0], 1), else_=0))
    still_open = func.sum(case((people.c.since > now - campaign.measure.window, 1), else_=0))
    query = select(people.c.side, func.count().label("number"), recent.label("recent"), still_open.label("still_open"))
    for row in connection.execute(query.group_by(people.c.side)):
        side = sides[row.side]
        side.people, side.recent, side.still_open = row.number, row.recent, row.still_open


def _outcomes(campaign: Campaign, now: datetime, people: Subquery) -> Subquery:
    """Return what each person who converted in their time brought, a row for each currency; events bring none."""
    what = campaign.measure.conversion
    source: FromClause
    worth: ColumnElement[int]
    currency: ColumnElement[str]
    if what.startswith(_EVENT):
        source, at = events, events.c.at
        counts = events.c.name == what.removeprefix(_EVENT)
        worth, currency = literal(0, Id), type_coerce(null(), String())
    else:
        source, at = orders, orders.c.placed_at
        counts = orders.c.status.not_in(VOID_STATUSES)
        worth, currency = orders.c.total_minor, orders.c.currency
    window = literal(campaign.measure.window.total_seconds())
    rows: Select[tuple[str, int, int, str]] = (
        select(people.c.side, people.c.customer_id, worth.label("worth"), currency.label("currency"))
        .join_from(
            people,
            source,
            and_(source.c.customer_id == people.c.customer_id, at > people.c.since, at <= plus_seconds(people.c.since, window)),
        )
        .where(at <= now, counts)
    )
    each = rows.subquery()
    groups = [each.c.side, each.c.customer_id, each.c.currency]
    return select(*groups, func.sum(each.c.worth).label("spent")).group_by(*groups).subquery("outcomes")


def _count_outcomes(connection: Connection, outcomes: Subquery, sides: dict[str, Side]) -> None:
    converted = select(outcomes.c.side, func.count(distinct(outcomes.c.customer_id))).group_by(outcomes.c.side)
    for name, number in connection.execute(converted):
        sides[name].converted = number
    spent = cast(outcomes.c.spent, Float(53))
    groups = [outcomes.c.side, outcomes.c.currency]
    money = select(*groups, func.sum(outcomes.c.spent).label("total"), func.sum(spent * spent).label("squares"))
    for row in connection.execute(money.where(outcomes.c.currency.is_not(None)).group_by(*groups)):
        sides[row.side].spent[row.currency] = int(row.total)
        sides[row.side].squares[row.currency] = float(row.squares)
