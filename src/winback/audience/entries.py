"""What an entry of the catalogue is: a field or a function of expressions, with its type, meaning, example and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.sql.expression import FromClause

from winback.audience.context import AudienceContext
from winback.store import enrollments


class Kind(StrEnum):
    """The type of a value."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "flag"  # true or false
    ANY = "any"  # an attribute: what it is compared with says


class Cost(StrEnum):
    """What it takes to answer for one customer."""

    ROW = "row"  # stands in the customer's own row
    LOOKUP = "look-up"  # looks through the customer's own orders, events or messages, by an index
    DAILY = "daily"  # looked up in what is computed for all customers once a day, when something asks for it


@dataclass(frozen=True)
class Scope:
    """The rows an expression is asked about: a customer, and an enrollment where there is one."""

    context: AudienceContext
    customer: FromClause
    enrollment: FromClause | None = None

    @property
    def about(self) -> FromClause:
        """Return the enrollment."""
        return enrollments if self.enrollment is None else self.enrollment


@dataclass(frozen=True)
class Field:
    """A value that each customer (or enrollment) has."""

    name: str
    kind: Kind
    meaning: str
    example: str
    compile: Callable[[Scope], ColumnElement[Any]]
    cost: Cost = Cost.ROW


Arguments = Sequence[Any]


@dataclass(frozen=True)
class Parameter:
    """One argument of a function, always a plain value; `wrong` says what is wrong with one and what to write instead."""

    name: str
    kind: Kind
    optional: bool = False
    wrong: Callable[[Any], tuple[str, str] | None] = lambda _: None


@dataclass(frozen=True)
class Function:
    """A question with arguments."""

    name: str
    parameters: tuple[Parameter, ...]
    kind: Kind
    meaning: str
    example: str
    compile: Callable[[Scope, Arguments], ColumnElement[Any]]
    cost: Cost = Cost.LOOKUP

    @property
    def signature(self) -> str:
        """Return how it is written: `bought(product, [days])`."""
        return f"{self.name}({', '.join(f'[{each.name}]' if each.optional else each.name for each in self.parameters)})"


_LONGEST_DAYS = 36_600


def _no_time(days: float) -> tuple[str, str] | None:
    if 0 < days <= _LONGEST_DAYS:
        return None
    return f"{days:g} days cannot be counted", f"write 1 to {_LONGEST_DAYS}"


#: How far back to look.
DAYS = Parameter("days", Kind.NUMBER, wrong=_no_time)
ANY_DAYS = Parameter("days", Kind.NUMBER, optional=True, wrong=_no_time)
