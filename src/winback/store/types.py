"""Column types and SQL functions that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self, TypeAlias

from sqlalchemy import JSON, BigInteger, Boolean, DateTime, Float, Integer, Row, String, literal_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

#: A row of any query.
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcDateTime(TypeDecorator[datetime]):
    """Store aware moments: `timestamptz` on PostgreSQL, integer microseconds since 1970 on SQLite.

    Naive values are refused, values come back in UTC. SQLite has no time type; integers compare, index and subtract exactly.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime for a UtcDateTime column: {value!r}")
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        return _EPOCH + timedelta(microseconds=int(value))


class Word(String):
    """A column of one of our own words. What it is compared with stands in the statement as a literal, and is not bound.

    SQLite has to know the word to see that an index WHERE state = 'planned' will do: with a bound one it compiles the statement
    anew each time it runs, which takes several times as long as to run it. And a list of bound words is written out each time.
    """

    class Comparator(String.Comparator[str]):
        """Compares with words of ours; everything else is bound as usual."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            """Write down the words that the column is compared with."""
            return super().operate(op, *map(_written, other), **kwargs)

    comparator_factory = Comparator


def _written(other: Any) -> Any:
    if isinstance(other, StrEnum):
        return literal_column(f"'{other}'", String())
    if isinstance(other, Collection) and other and all(isinstance(each, StrEnum) for each in other):
        return [_written(each) for each in other]
    return other


#: Row ids: 64 bits on PostgreSQL, SQLite's own rowid there.
Id = BigInteger().with_variant(Integer(), "sqlite")

#: Free-form objects: `jsonb` on PostgreSQL, text on SQLite.
Json = JSON().with_variant(JSONB(), "postgresql")


class seconds_between(FunctionElement[float]):
    """SQL: seconds from the first moment to the second, as a float (negative when the second is earlier)."""

    type = Float()
    inherit_cache = True
    name = "seconds_between"

    def __init__(self, earlier: Any, later: Any) -> None:
        super().__init__(_moment(earlier), _moment(later))


class plus_seconds(FunctionElement[datetime]):
    """SQL: a moment moved by a number of seconds (int, float or SQL expression)."""

    type = UtcDateTime()
    inherit_cache = True
    name = "plus_seconds"

    def __init__(self, moment: Any, seconds: Any) -> None:
        super().__init__(_moment(moment), seconds)


class among(FunctionElement[bool]):
    """SQL: a text is one of the texts in a JSON list; one value in the statement, however many there are."""

    type = Boolean()
    inherit_cache = True
    name = "among"

    def self_group(self, against: Any = None) -> Self:
        """Stand in a condition as it is: SQLite has no truth values, and `(…) = 1` would keep it from using an index."""
        return self


@compiles(among, "sqlite")
def _among_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    text, texts = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({text} IN (SELECT value FROM json_each({texts})))"  # noqa: S608 - both are SQL, compiled


@compiles(among, "postgresql")
def _among_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    text, texts = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({text} = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({texts} AS JSONB)))))"


def _moment(value: Any) -> ColumnElement[datetime]:
    from sqlalchemy import literal

    return literal(value, UtcDateTime()) if isinstance(value, datetime) else value


@compiles(seconds_between, "sqlite")
def _seconds_between_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    earlier, later = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(({later} - {earlier}) / 1000000.0)"


@compiles(seconds_between, "postgresql")
def _seconds_between_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    earlier, later = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(EXTRACT(EPOCH FROM ({later}) - ({earlier})) AS DOUBLE PRECISION)"


@compiles(plus_seconds, "sqlite")
def _plus_seconds_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    moment, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({moment} + CAST(({seconds}) * 1000000 AS INTEGER))"


@compiles(plus_seconds, "postgresql")
def _plus_seconds_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    moment, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({moment} + ({seconds}) * INTERVAL '1 second')"
