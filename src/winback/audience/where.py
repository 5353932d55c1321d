"""Expressions: text, read by sqlglot, checked node by node, compiled to SQLAlchemy with bound parameters.

sqlglot accepts nearly anything, so what is not in the tables below is refused. Every value has a kind, so that an expression that
is accepted never fails in the database, and means the same on SQLite and PostgreSQL. Nothing compares with an empty value: an
expression that asks about something unknown is false, for `country != 'DE'` as for `country = 'DE'`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, Float, String, and_, cast, false, func, literal, not_, or_, true
from sqlalchemy.sql.expression import FromClause

from winback.audience.catalogue import ENROLLMENT_FIELDS, FUNCTIONS, fields_of
from winback.audience.context import AudienceContext, Clock
from winback.audience.entries import Function, Kind, Parameter, Scope
from winback.audience.sql import attribute_value, is_attribute_name, like
from winback.audience.syntax import parse, span_of
from winback.errors import ExpressionError
from winback.store import customers, enrollments

if TYPE_CHECKING:
    from sqlglot.expressions import Expr as Expression

    from winback.audience.scores import ScoreModel
    from winback.audience.segments import Segment

ScopeName = Literal["customer", "enrollment"]

#: Larger numbers lose digits on their way through a float.
_LARGEST = 10**15

#: Floats end at 10 to the power of 308.
_FARTHEST = 300
_DIGITS = 17  # of a float

#: What no database keeps in a text: NUL, and halves of a pair of UTF-16.
_NO_SIGN = re.compile("[\0\ud800-\udfff]")

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def check_expression(
    expression: str, *, scope: ScopeName, segments: Mapping[str, Segment], scores: Mapping[str, ScoreModel]
) -> None:
    """Raise ExpressionError, with position and remedy, for an expression that cannot be used; touches no database."""
    context = AudienceContext(Clock(_NOW, _NOW, _NOW), "UTC", segments=segments, scores=scores)
    compile_condition(
        expression, context, scope=scope, customer=customers, enrollment=enrollments if scope == "enrollment" else None
    )


def compile_condition(
    expression: str,
    context: AudienceContext,
    *,
    scope: ScopeName,
    customer: FromClause,
    enrollment: FromClause | None = None,
) -> ColumnElement[bool]:
    """Return an expression as SQL over the rows of `customer` (and `enrollment`): true or false, never NULL."""
    about = Scope(context, customer, enrollment if scope == "enrollment" else None)
    compiled = _Compiler(expression, about).flag(parse(expression))
    return func.coalesce(compiled, false())


def compile_fields(expression: str, context: AudienceContext, *, customer: FromClause) -> dict[str, ColumnElement[Any]]:
    """Return the fields and functions that an expression names, as they are written, each as SQL for its value."""
    from sqlglot import exp

    compiler = _Compiler(expression, Scope(context, customer, None))
    found: dict[str, ColumnElement[Any]] = {}
    for node in parse(expression).find_all(exp.Column, exp.Anonymous):
        value = compiler.value(node)
        written = node.sql().lower() if isinstance(node, exp.Column) else f"{str(node.this).lower()}({_list(node.expressions)})"
        found[written] = value.sql if value.attribute is None else attribute_value(value.sql, value.attribute, Kind.TEXT.value)
    return found


def _list(nodes: Sequence[Expression]) -> str:
    return ", ".join(node.sql() for node in nodes)


@dataclass(frozen=True)
class _Value:
    """Compiled SQL and the kind of its value.

    `attribute` is the name of an attribute whose kind is still open. `reach` bounds a number that is not zero: it lies between 10
    to the power of -reach and of reach. `grain` is how fine a float of that size is: nothing less is left between two of them.
    PostgreSQL fails where a calculation leaves the range of its floats.
    """

    sql: ColumnElement[Any]
    kind: Kind
    attribute: str | None = None
    reach: int = 19  # of 64-bit whole numbers, and of what imports take for a number
    grain: int = 36


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "EQ": operator.eq,
    "NEQ": operator.ne,
    "GT": operator.gt,
    "GTE": operator.ge,
    "LT": operator.lt,
    "LTE": operator.le,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul}
_WANTED = {
    Kind.TEXT: ("a text in single quotes", "write 'name'"),
    Kind.NUMBER: ("a plain number", "write 30"),
    Kind.ANY: ("a plain value", "write 'text', 30 or true"),
}
_ORDERED = frozenset({"GT", "GTE", "LT", "LTE"})


class _Compiler:
    """Compiles one expression; each method takes a node and refuses what it does not know."""

    def __init__(self, expression: str, scope: Scope) -> None:
        self._text = expression
        self._scope = scope

    def flag(self, node: Expression) -> ColumnElement[bool]:
        """Return a node as a condition."""
        value = self.value(node)
        if value.kind is Kind.ANY:
            value = self._as_kind(value, Kind.FLAG)
        if value.kind is not Kind.FLAG:
            raise self._error(node, f"{self._words(node)} is a {value.kind}, not a condition", self._comparison_hint(value.kind))
        return value.sql

    def value(self, node: Expression) -> _Value:
        """Return a node as a value."""
        name = type(node).__name__
        self._refuse_extras(node, name)
        compiled = getattr(self, f"_{name.lower()}", None)
        if name in _COMPARE:
            return self._comparison(node, name)
        if name in _ARITHMETIC or name == "Div":
            return self._calculation(node, name)
        if compiled is None or name not in _KNOWN_NODES:
            if name == "Null":
                raise self._error(node, "nothing is equal to null", "write is null or is not null")
            raise self._error(node, f"{self._words(node)} cannot stand in an expression", "winback fields lists what there is")
        result: _Value = compiled(node)
        return result

    def _refuse_extras(self, node: Expression, name: str) -> None:
        """Refuse what a known node says beyond what is compiled: a part that is passed over would change the meaning."""
        known = _PARTS.get(name, _OPERANDS)
        extra = sorted(key for key, part in node.args.items() if part not in (None, False, []) and key not in known)
        if extra:
            raise self._error(node, f"{self._words(node)} cannot stand in an expression", "winback fields lists what there is")

    def _and(self, node: Expression) -> _Value:
        return _Value(and_(*(self.flag(each) for each in _chain(node))), Kind.FLAG)

    def _or(self, node: Expression) -> _Value:
        return _Value(or_(*(self.flag(each) for each in _chain(node))), Kind.FLAG)

    def _not(self, node: Expression) -> _Value:
        return _Value(not_(self.flag(node.this)), Kind.FLAG)

    def _paren(self, node: Expression) -> _Value:
        return self.value(node.this)

    def _boolean(self, node: Expression) -> _Value:
        return _Value(true() if node.this else false(), Kind.FLAG)

    def _neg(self, node: Expression) -> _Value:
        number = self._number(node.this)
        return replace(number, sql=-number.sql)

    def _literal(self, node: Expression) -> _Value:
        if node.is_string:
            if _NO_SIGN.search(node.this):
                raise self._error(node, "a text holds a sign that is none", "take it out")
            return _Value(literal(str(node.this), String()), Kind.TEXT)
        return _Value(self._numeral(node), Kind.NUMBER)

    def _numeral(self, node: Expression) -> ColumnElement[Any]:
        text = str(node.this)
        if not re.fullmatch(r"\d{1,16}(\.\d{1,9})?", text) or float(text) > _LARGEST:
            raise self._error(node, f"{text} is no number that can be counted with", "write 250 or 19.99")
        return literal(float(text), Float()) if "." in text else literal(int(text))

    def _column(self, node: Expression) -> _Value:
        identifier = node.this
        table = node.args.get("table")
        if table is not None:
            return self._attribute(node, str(table.this), str(identifier.this))
        name = str(identifier.this)
        fields = fields_of(self._scope)
        field = fields.get(name.lower())
        if field is None:
            raise self._unknown(node, name, fields)
        return _Value(field.compile(self._scope), field.kind)

    def _attribute(self, node: Expression, table: str, name: str) -> _Value:
        if table.lower() != "attributes" or node.args.get("db") is not None:
            raise self._error(node, f"unknown field '{table}.{name}'", "your own fields are attributes.NAME")
        if not is_attribute_name(name):
            raise self._error(node, f"{name!r} cannot be asked for", "give it a name of a to z, 0 to 9 and _ when you import it")
        column: ColumnElement[Any] = self._scope.customer.c.attributes
        return _Value(column, Kind.ANY, attribute=name)

    def _unknown(self, node: Expression, name: str, fields: Mapping[str, Any]) -> ExpressionError:
        near = get_close_matches(name.lower(), sorted(fields), n=1, cutoff=0.6)
        if near:
            remedy = f"did you mean {near[0]!r}?"
        elif name.lower() in ENROLLMENT_FIELDS:
            remedy = "it can only stand in only_if and exit.when"
        elif name.lower() in FUNCTIONS:
            remedy = f"it is a function: {FUNCTIONS[name.lower()].example}"
        else:
            remedy = f"winback fields lists them; a text stands in single quotes: '{name}'"
        return self._error(node, f"unknown field {name!r}", remedy)

    def _anonymous(self, node: Expression) -> _Value:
        name = str(node.this)
        function = FUNCTIONS.get(name.lower())
        if function is None:
            near = get_close_matches(name.lower(), sorted(FUNCTIONS), n=1, cutoff=0.6)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(FUNCTIONS))}"
            raise self._error(node, f"unknown function {name!r}", remedy)
        arguments = self._arguments(node, function)
        try:
            return _Value(function.compile(self._scope, arguments), function.kind)
        except ExpressionError as error:
            if error.expression:
                raise
            raise self._error(node.expressions[0], error.message, error.remedy) from None

    def _arguments(self, node: Expression, function: Function) -> list[Any]:
        given = node.expressions
        needed = [each for each in function.parameters if not each.optional]
        if not len(needed) <= len(given) <= len(function.parameters):
            raise self._error(node, f"{function.name} is written {function.signature}", f"for example {function.example}")
        return [self._argument(each, parameter) for each, parameter in zip(given, function.parameters, strict=False)]

    def _argument(self, node: Expression, parameter: Parameter) -> Any:
        """Return the plain value of an argument."""
        kind, written = parameter.kind, self._plain_kind(node)
        if written is None or kind not in (written, Kind.ANY):
            raise self._error(node, f"{parameter.name} must be {_WANTED[kind][0]}", _WANTED[kind][1])
        value: Any = bool(node.this) if written is Kind.FLAG else self._literal(node).sql.value
        wrong = parameter.wrong(value)
        if wrong is not None:
            raise self._error(node, *wrong)
        return value

    def _plain_kind(self, node: Expression) -> Kind | None:
        """Return the kind of a plain value, None for anything else."""
        from sqlglot import exp

        if isinstance(node, exp.Boolean):
            return Kind.FLAG
        if not isinstance(node, exp.Literal):
            return None
        return Kind.TEXT if node.is_string else Kind.NUMBER

    def _comparison(self, node: Expression, name: str) -> _Value:
        left, right = self._alike(node, self.value(node.this), self.value(node.expression))
        if name in _ORDERED and left.kind is Kind.FLAG:
            raise self._error(node, "true and false have no order", "compare them with = or !=")
        if name in _ORDERED and left.kind is Kind.TEXT:
            # "B" < "a" on one database and not on the other: texts have no order that all agree on.
            raise self._error(node, "texts have no order", "compare them with =, != , in or like")
        return _Value(_COMPARE[name](left.sql, right.sql), Kind.FLAG)

    def _alike(self, node: Expression, left: _Value, right: _Value) -> tuple[_Value, _Value]:
        """Give an attribute the kind of what it is compared with; refuse to compare a text with a number."""
        if left.kind is Kind.ANY and right.kind is Kind.ANY:
            raise self._error(node, "two attributes are compared with each other", "compare each with a value of its own")
        if left.kind is Kind.ANY:
            left = self._as_kind(left, right.kind)
        if right.kind is Kind.ANY:
            right = self._as_kind(right, left.kind)
        if left.kind is not right.kind:
            raise self._error(node, f"a {left.kind} is compared with a {right.kind}", self._mixed_hint(left, right))
        return left, right

    def _calculation(self, node: Expression, name: str) -> _Value:
        left, right = self._number(node.this), self._number(node.expression)
        if name in ("Mul", "Div"):
            reach = left.reach + right.reach
            grain = reach + _DIGITS
        else:
            grain = max(left.grain, right.grain)
            reach = max(left.reach + 1, right.reach + 1, grain)
        if grain > _FARTHEST:
            raise self._error(node, "calculates with too many numbers", "make it shorter, or split it into comparisons")
        first, second = cast(left.sql, Float()), cast(right.sql, Float())
        if name == "Div":
            # Whole numbers divide to whole ones in SQL, and nothing may be divided by nothing.
            return _Value(first / func.nullif(second, 0.0), Kind.NUMBER, reach=reach, grain=grain)
        return _Value(_ARITHMETIC[name](first, second), Kind.NUMBER, reach=reach, grain=grain)

    def _number(self, node: Expression) -> _Value:
        value = self.value(node)
        if value.kind is Kind.ANY:
            value = self._as_kind(value, Kind.NUMBER)
        if value.kind is not Kind.NUMBER:
            raise self._error(node, f"{self._words(node)} is a {value.kind}, not a number", "only numbers can be counted with")
        return value

    def _in(self, node: Expression) -> _Value:
        if not node.expressions:
            raise self._error(node, "in needs a list", "write country in ('DE', 'AT')")
        value = self.value(node.this)
        choices = [self._alike(each, value, self._plain(each)) for each in node.expressions]
        left = choices[0][0]
        if any(first.kind is not left.kind for first, _ in choices):
            raise self._error(node, "the list mixes texts and numbers", "write one kind")
        return _Value(left.sql.in_([second.sql for _, second in choices]), Kind.FLAG)

    def _plain(self, node: Expression) -> _Value:
        """Return a member of a list: a plain value."""
        from sqlglot import exp

        inner = node.this if isinstance(node, exp.Neg) else node
        if not isinstance(inner, exp.Literal):
            raise self._error(node, "a list holds plain values", "write country in ('DE', 'AT')")
        return self.value(node)

    def _between(self, node: Expression) -> _Value:
        low, high, value = (self._number(node.args[key]).sql for key in ("low", "high", "this"))
        return _Value(value.between(low, high), Kind.FLAG)

    def _like(self, node: Expression) -> _Value:
        from sqlglot import exp

        value = self.value(node.this)
        if value.kind is Kind.ANY:
            value = self._as_kind(value, Kind.TEXT)
        pattern = node.expression
        if value.kind is not Kind.TEXT or not isinstance(pattern, exp.Literal) or not pattern.is_string:
            raise self._error(node, "like compares a text with a pattern", "write city like 'Ber%'")
        fits = like(value.sql, str(pattern.this))
        return _Value(not_(fits) if node.args.get("negate") else fits, Kind.FLAG)

    def _is(self, node: Expression) -> _Value:
        from sqlglot import exp

        value = self.value(node.this)
        if isinstance(node.expression, exp.Null):
            if value.kind is Kind.ANY:
                kinds = [self._as_kind(value, kind).sql.is_(None) for kind in (Kind.TEXT, Kind.NUMBER, Kind.FLAG)]
                return _Value(and_(*kinds), Kind.FLAG)
            return _Value(value.sql.is_(None), Kind.FLAG)
        if isinstance(node.expression, exp.Boolean):
            condition = func.coalesce(self.flag(node.this), false())
            return _Value(condition if node.expression.this else not_(condition), Kind.FLAG)
        raise self._error(node, "is asks for null, true or false", "write first_name is not null")

    def _as_kind(self, value: _Value, kind: Kind) -> _Value:
        assert value.attribute is not None  # noqa: S101 only attributes are of any kind
        return _Value(attribute_value(value.sql, value.attribute, kind.value), kind)

    def _comparison_hint(self, kind: Kind) -> str:
        return "compare it: orders >= 2" if kind is Kind.NUMBER else "compare it: country = 'DE'"

    def _mixed_hint(self, left: _Value, right: _Value) -> str:
        if {left.kind, right.kind} == {Kind.TEXT, Kind.NUMBER}:
            return "texts stand in single quotes, numbers in none"
        return "compare it with true or false, or with nothing at all"

    def _words(self, node: Expression) -> str:
        start, end = span_of(node)
        found = self._text[start : end + 1].strip() if end >= start else ""
        return repr(found) if found and len(found) <= 40 else type(node).__name__.lower()

    def _error(self, node: Expression, message: str, remedy: str) -> ExpressionError:
        start, _ = span_of(node)
        return ExpressionError(message, remedy, expression=self._text, column=start + 1)


def _chain(node: Expression) -> list[Expression]:
    """Return what a chain of `and`, or of `or`, joins; the parser makes it as deep as it is long."""
    found = []
    inner = node
    while type(inner) is type(node):
        found.append(inner.expression)
        inner = inner.this
    return [inner, *reversed(found)]


#: The parts of sqlglot's nodes that are compiled. The tree of one expression differs between its releases: `city not like 'B%'`
#: is a Not around a Like in one, and a Like with `negate` in another.
_OPERANDS = frozenset({"this", "expression"})
_PARTS: dict[str, frozenset[str]] = {
    "Not": frozenset({"this"}),
    "Paren": frozenset({"this"}),
    "Boolean": frozenset({"this"}),
    "Neg": frozenset({"this"}),
    "Literal": frozenset({"this", "is_string"}),
    "Column": frozenset({"this", "table", "db"}),
    "Anonymous": frozenset({"this", "expressions"}),
    "In": frozenset({"this", "expressions"}),
    "Between": frozenset({"this", "low", "high"}),
    "Like": frozenset({"this", "expression", "negate"}),
}

#: The nodes that have a method of the compiler; comparisons and calculations come on top.
_KNOWN_NODES = frozenset({"And", "Or", "Is", *_PARTS})
