"""Expressions as sqlglot reads them: one tree for one text, and where something stands in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from winback.errors import ExpressionError

if TYPE_CHECKING:
    from sqlglot.expressions import Expr as Expression

_LONGEST = 4_000  # characters
_DEEPEST = 40  # levels of brackets and calculations; databases and Python give up on some hundred
_MOST_CONDITIONS = 250  # joined with and, or


def segments_in(expression: str) -> Iterator[str]:
    """Yield the names of the segments that an expression asks about; nothing for one that cannot be read."""
    from sqlglot import exp

    try:
        tree = parse(expression)
    except ExpressionError:
        return
    for call in tree.find_all(exp.Anonymous):
        if str(call.this).lower() == "in_segment" and call.expressions:
            yield str(call.expressions[0].this)


@lru_cache(maxsize=1024)
def fields_in(expression: str) -> frozenset[str]:
    """Return the names of the fields that an expression asks for; nothing for one that cannot be read."""
    from sqlglot import exp

    try:
        return frozenset(str(column.this.this).lower() for column in parse(expression).find_all(exp.Column))
    except ExpressionError:
        return frozenset()


@lru_cache(maxsize=1024)
def parse(expression: str) -> Expression:
    """Return sqlglot's tree of one expression."""
    import sqlglot
    from sqlglot.errors import ParseError, TokenError

    if len(expression) > _LONGEST:
        raise ExpressionError(f"is longer than {_LONGEST} characters", "split it into segments", expression=expression)
    _refuse_signs(expression)
    try:
        statements = sqlglot.parse(expression)
    except ParseError as error:
        raise _syntax_error(expression, error.errors) from None
    except TokenError:
        raise ExpressionError(
            "a text is not closed", "put ' at its end; a ' inside a text is written ''", expression=expression
        ) from None
    except RecursionError:
        raise _too_deep(expression) from None
    tree = statements[0] if len(statements) == 1 else None
    if tree is None:
        raise ExpressionError("is no condition", "write something like orders >= 2", expression=expression)
    _refuse_monsters(expression, tree)
    return tree


#: What may stand outside of texts in quotes.
_OUTSIDE_TEXTS = re.compile(
    r"'(?:[^']|'')*'|(?P<comment>--|/\*|#)|(?P<semicolon>;)|(?P<double>\")|(?P<other>[^\w\s.,()<>=!+\-*/'])"
)


_REFUSED_SIGNS = {
    "comment": ("a comment cannot stand in an expression", "write it as a # comment of the file"),
    "semicolon": ("; cannot stand in an expression", "join conditions with and, or"),
    "double": ('a " stands where a text begins', "put texts in single quotes: 'DE'"),
    "other": ("{sign} cannot stand in an expression", "use = != < <= > >= + - * / ( )"),
}


def _refuse_signs(expression: str) -> None:
    """Refuse what no expression needs before a parser that knows thirty dialects makes something of it."""
    for found in _OUTSIDE_TEXTS.finditer(expression):
        if found.lastgroup is None:
            continue  # a text
        message, remedy = _REFUSED_SIGNS[found.lastgroup]
        raise ExpressionError(message.format(sign=found[0]), remedy, expression=expression, column=found.start() + 1)


def _refuse_monsters(expression: str, tree: Expression) -> None:
    """Refuse what is too deep or too long to be compiled; a chain of `and` or of `or` is one level, however long."""
    conditions = 0
    todo = [(tree, 1)]
    while todo:
        node, level = todo.pop()
        if level > _DEEPEST:
            raise _too_deep(expression)
        joins = type(node).__name__ in ("And", "Or")
        conditions += joins
        todo += [(inner, level + (not joins or type(inner) is not type(node))) for inner in node.iter_expressions()]
    if conditions >= _MOST_CONDITIONS:
        raise ExpressionError(
            f"has more than {_MOST_CONDITIONS} conditions", "write country in ('DE', 'AT', …), or split it", expression=expression
        )


def _too_deep(expression: str) -> ExpressionError:
    return ExpressionError("has too many levels of brackets and calculations", "split it into segments", expression=expression)


def _syntax_error(expression: str, errors: Sequence[Mapping[str, Any]]) -> ExpressionError:
    first = errors[0] if errors else {}
    column = int(first.get("col") or 0)
    said = str(first.get("description", ""))
    plain = re.sub(r"'(?:[^']|'')*'", lambda text: "x" * len(text[0]), expression)
    if plain.count("(") > plain.count(")"):
        return ExpressionError("a bracket is not closed", "add )", expression=expression, column=column)
    if plain.count(")") > plain.count("("):
        return ExpressionError("a bracket is closed that was never opened", "take out )", expression=expression, column=column)
    if plain.count("'") % 2:
        return ExpressionError("a text is not closed", "put ' at its end", expression=expression, column=column)
    what = "something is missing here" if "Expecting" in said or "Required" in said else "this cannot be read"
    return ExpressionError(what, "conditions look like orders >= 2 and country = 'DE'", expression=expression, column=column)


def span_of(node: Expression) -> tuple[int, int]:
    """Return where a node stands in the text, from 0, both ends included; (0, -1) where the parser kept no place."""
    places = [inner.meta for inner in node.walk() if "start" in inner.meta]
    if not places:
        return 0, -1
    return min(place["start"] for place in places), max(place["end"] for place in places)
