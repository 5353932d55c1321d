"""A score explained for one person, as a bank statement is: each thing that gave points, and what it is worth now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from winback.audience.context import AudienceContext
from winback.audience.score_points import expired, points, source, worth
from winback.audience.scores import FitRule, ScoreModel, ScoreRule
from winback.audience.where import compile_condition
from winback.store import customers, score_crossings


@dataclass(frozen=True)
class Entry:
    """One line: what happened, the points its rule gives, what they are worth now, and why that is nothing where it is."""

    at: datetime | None  # None: not something that happened, but who the person is
    what: str
    points: float
    worth: float
    why_not: str = ""


@dataclass(frozen=True)
class Reached:
    """A level that was reached."""

    at: datetime
    level: str
    value: float


@dataclass(frozen=True)
class Statement:
    """A score at a moment: its entries, their sum, and the value after it is cut off at floor and cap."""

    score: str
    customer: str
    at: datetime
    entries: tuple[Entry, ...]
    value: float
    reached: tuple[Reached, ...]

    @property
    def total(self) -> float:
        """Return the sum of what the entries are worth."""
        return sum(entry.worth for entry in self.entries)


def score_statement(connection: Connection, model: ScoreModel, context: AudienceContext, customer: str) -> Statement:
    """Return why a customer, by the id in the shop's own system, has the score that they have at the clock's now."""
    key = connection.execute(select(customers.c.id).where(customers.c.external_id == customer)).scalar_one()
    happened = sorted(_happened(connection, model, context, key), key=lambda entry: (entry.at or context.clock.now, entry.what))
    entries = (*happened, *_fits(connection, model, context, key))
    total = sum(entry.worth for entry in entries)
    reached = connection.execute(
        select(score_crossings.c.at, score_crossings.c.level, score_crossings.c.value)
        .where(score_crossings.c.model == model.name, score_crossings.c.customer_id == key, score_crossings.c.at <= context.now)
        .order_by(score_crossings.c.number)
    )
    return Statement(
        score=model.name,
        customer=customer,
        at=context.clock.now,
        entries=entries,
        value=min(max(total, model.floor), model.cap),
        reached=tuple(Reached(*row) for row in reached),
    )


def _happened(connection: Connection, model: ScoreModel, context: AudienceContext, customer: int) -> Iterator[Entry]:
    """Yield everything that a rule is about, whether or not it counts."""
    now = context.clock.now
    counted = points(model, context, chosen=select(customers.c.id).where(customers.c.id == customer)).subquery()
    counts = {(row.rule, row.id) for row in connection.execute(select(counted.c.rule, counted.c.id))}
    for number, rule in enumerate(model.rules):
        rows = source(rule).subquery()
        for row in connection.execute(select(rows).where(rows.c.customer_id == customer, rows.c.at <= now)):
            if (number, row.id) not in counts:
                yield Entry(row.at, _what(rule), rule.points, 0.0, _over(rule, model))
            else:
                why_not = "expired" if expired(model, row.at, now) else ""
                yield Entry(row.at, _what(rule), rule.points, worth(model, rule.points, row.at, now), why_not)


def _fits(connection: Connection, model: ScoreModel, context: AudienceContext, customer: int) -> Iterator[Entry]:
    for rule in model.fit:
        holds = compile_condition(rule.where, context, scope="customer", customer=customers)
        if connection.scalar(select(holds).where(customers.c.id == customer)):
            yield _fit(rule)


def _fit(rule: FitRule) -> Entry:
    return Entry(None, rule.where, rule.points, rule.points)


def _what(rule: ScoreRule) -> str:
    return rule.event or f"message {rule.message}"


def _over(rule: ScoreRule, model: ScoreModel) -> str:
    limits = [str(rule.at_most)] if rule.at_most is not None else []
    if rule.group is not None:
        limits.append(f"{model.groups[rule.group]} of {rule.group}")
    return f"more than {' and '.join(limits)}"
