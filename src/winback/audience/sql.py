"""SQL that expressions need and that SQLite and PostgreSQL write differently."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Self

from sqlalchemy import BigInteger, Boolean, Float, String, literal, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal

from winback.store import UtcDateTime

#: Other letters are written in JSON as \u00f6, and SQLite before 3.45 does not find a name that is written so.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def moment(at: datetime) -> ColumnElement[Any]:
    """Return a moment as an SQL value."""
    return literal(at, UtcDateTime())


class in_passing(FunctionElement[Any]):
    """SQL: a column that is compared while its whole table is read.

    Where a third of a million customers is wanted, SQLite looks each up through an index all the same: it takes ten times as long
    as to read them all, which takes 0.2 s. PostgreSQL knows how many they are, and chooses by itself.
    """

    inherit_cache = True
    name = "in_passing"

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.type = column.type
        super().__init__(column)


@compiles(in_passing, "sqlite")
def _in_passing_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    # "If a term is prefixed with a unary + operator, that term cannot be used by an index" (sqlite.org/optoverview.html).
    return "+" + str(compiler.process(element.clauses, **kw))


@compiles(in_passing, "postgresql")
def _in_passing_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(element.clauses, **kw))


class is_within(FunctionElement[bool]):
    """SQL: a moment lies in one of some spans, each from its beginning to before its end.

    The moments are written into the statement as they are: to bind hundreds of them takes many times as long as to look them up.
    """

    type = Boolean()
    inherit_cache = True
    name = "is_within"
    # As text they are a part of the statement, by which SQLAlchemy finds it again.
    _traverse_internals = [*FunctionElement._traverse_internals, ("spans", InternalTraversal.dp_plain_obj)]  # noqa: RUF012

    def __init__(self, column: ColumnElement[Any], spans: Iterable[tuple[datetime, datetime]]) -> None:
        self.spans = tuple(spans)
        super().__init__(column)

    def self_group(self, against: Any = None) -> Self:
        """Stand in a condition as it is: `(…) = 1` would keep SQLite from using an index."""
        return self


@compiles(is_within)
def _is_within(element: Any, compiler: Any, **kw: Any) -> str:
    column = compiler.process(element.clauses, **kw)

    def written(at: datetime) -> str:
        value = UtcDateTime().process_bind_param(at, compiler.dialect)
        return f"TIMESTAMPTZ '{value.isoformat()}'" if isinstance(value, datetime) else str(value)

    spans = [f"{column} >= {written(start)} AND {column} < {written(end)}" for start, end in element.spans]
    return f"({' OR '.join(spans)})" if spans else "(1 = 0)"


class whole_days(FunctionElement[int]):
    """SQL: the number of whole days from one moment to a later one; a part of a day does not count."""

    type = BigInteger()
    inherit_cache = True
    name = "whole_days"

    def __init__(self, earlier: Any, later: Any) -> None:
        super().__init__(earlier, moment(later) if isinstance(later, datetime) else later)


@compiles(whole_days, "sqlite")
def _whole_days_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    earlier, later = (compiler.process(clause, **kw) for clause in element.clauses)
    # Integer division cuts towards zero on SQLite, and floor is what FLOOR does on PostgreSQL: order the two for moments ahead.
    return f"(CASE WHEN {later} < {earlier} THEN -1 ELSE ({later} - {earlier}) / 86400000000 END)"


@compiles(whole_days, "postgresql")
def _whole_days_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    earlier, later = (compiler.process(clause, **kw) for clause in element.clauses)
    return (
        f"(CASE WHEN {later} < {earlier} THEN -1"
        f" ELSE CAST(FLOOR(EXTRACT(EPOCH FROM ({later}) - ({earlier})) / 86400) AS BIGINT) END)"
    )


class day_number(FunctionElement[int]):
    """SQL: the UTC day of a moment as a whole number, days since 1970."""

    type = BigInteger()
    inherit_cache = True
    name = "day_number"


@compiles(day_number, "sqlite")
def _day_number_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    (at,) = (compiler.process(clause, **kw) for clause in element.clauses)
    # Integer division cuts towards zero; moments before 1970 are shifted to floor.
    return f"(({at} - CASE WHEN {at} < 0 THEN 86399999999 ELSE 0 END) / 86400000000)"


@compiles(day_number, "postgresql")
def _day_number_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    (at,) = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM {at}) / 86400) AS BIGINT)"


class is_one_of(FunctionElement[bool]):
    """SQL: a text is one of a JSON list, which is bound as one value: to write down hundreds takes longer than to look them up.

    Unlike `winback.store.among` not for an index: PostgreSQL hashes the texts instead of comparing with one after another.
    """

    type = Boolean()
    inherit_cache = True
    name = "is_one_of"


@compiles(is_one_of, "sqlite")
def _is_one_of_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    value, texts = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({value} IN (SELECT value FROM json_each({texts})))"  # noqa: S608 - both are compiled SQL


@compiles(is_one_of, "postgresql")
def _is_one_of_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    value, texts = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({value} IN (SELECT jsonb_array_elements_text(CAST({texts} AS JSONB))))"


def is_attribute_name(name: str) -> bool:
    """Say whether an attribute of this name can be asked for."""
    return bool(_NAME.fullmatch(name))


def attribute_value(column: ColumnElement[Any], name: str, kind: str) -> ColumnElement[Any]:
    """Return SQL for one value of a JSON object column if it is of the wanted kind ("text", "number", "flag"), else NULL.

    An attribute of another kind is not converted: what SQLite takes for a number, PostgreSQL refuses in the middle of a run.
    Raise ValueError for a name that is no plain word.
    """
    if not is_attribute_name(name):
        raise ValueError(f"{name!r} is no name of an attribute")
    kinds: dict[str, Callable[..., ColumnElement[Any]]] = {
        "text": _text_attribute,
        "number": _number_attribute,
        "flag": _flag_attribute,
    }
    return kinds[kind](column, literal_column(f"'{name}'"))


class _text_attribute(FunctionElement[str]):
    type = String()
    inherit_cache = True
    name = "text_attribute"


class _number_attribute(FunctionElement[float]):
    type = Float()
    inherit_cache = True
    name = "number_attribute"


class _flag_attribute(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True
    name = "flag_attribute"


def _sqlite(kinds: str, value: str) -> Any:
    def compiled(element: Any, compiler: Any, **kw: Any) -> str:
        column, name = (compiler.process(clause, **kw) for clause in element.clauses)
        path = f"'$.' || {name}"
        return f"(CASE WHEN json_type({column}, {path}) IN ({kinds}) THEN {value.format(column=column, path=path)} END)"

    return compiled


def _postgresql(kind: str, value: str) -> Any:
    def compiled(element: Any, compiler: Any, **kw: Any) -> str:
        column, name = (compiler.process(clause, **kw) for clause in element.clauses)
        return f"(CASE WHEN jsonb_typeof({column} -> {name}) = '{kind}' THEN {value.format(column=column, name=name)} END)"

    return compiled


compiles(_text_attribute, "sqlite")(_sqlite("'text'", "json_extract({column}, {path})"))
compiles(_number_attribute, "sqlite")(_sqlite("'integer', 'real'", "CAST(json_extract({column}, {path}) AS REAL)"))
compiles(_flag_attribute, "sqlite")(_sqlite("'true', 'false'", "json_extract({column}, {path})"))
compiles(_text_attribute, "postgresql")(_postgresql("string", "{column} ->> {name}"))
compiles(_number_attribute, "postgresql")(_postgresql("number", "CAST({column} ->> {name} AS DOUBLE PRECISION)"))
compiles(_flag_attribute, "postgresql")(_postgresql("boolean", "CAST({column} ->> {name} AS BOOLEAN)"))


class like(FunctionElement[bool]):
    """SQL: a text fits a pattern with `%` for any letters and `_` for one; capital and small letters differ, on both databases.

    The second argument is the pattern as PostgreSQL's LIKE takes it, the third as SQLite's GLOB does.
    """

    type = Boolean()
    inherit_cache = True
    name = "like"

    def __init__(self, value: Any, pattern: str) -> None:
        super().__init__(value, literal(pattern, String()), literal(_glob(pattern), String()))


def _glob(pattern: str) -> str:
    """Return a LIKE pattern as one of GLOB, whose own signs are put into brackets."""
    signs = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(signs.get(letter, letter) for letter in pattern)


@compiles(like, "sqlite")
def _like_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    value, _, glob = element.clauses
    return f"({compiler.process(value, **kw)} GLOB {compiler.process(glob, **kw)})"


@compiles(like, "postgresql")
def _like_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    value, pattern, _ = element.clauses
    return f"({compiler.process(value, **kw)} LIKE {compiler.process(pattern, **kw)} ESCAPE '')"
