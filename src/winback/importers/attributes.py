"""Read free-form values: attributes of customers and orders, properties of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from winback.importers.values import CellError, Texts, parse_flag

_LIMIT = 10_000
_NUMBERS = frozenset("0123456789.-")

#: Whole numbers that both databases keep and compare as numbers; above the other, a float no longer tells neighbours apart.
_LARGEST_WHOLE = 2**63
_EXACT_FLOATS = 2**53

#: Conditions calculate with attributes, and PostgreSQL fails where a result leaves the range of its floats.
_SMALLEST = 1e-18

_text = Texts(_LIMIT)
_name = Texts(100)


def attribute_name(name: str) -> str:
    """Return the name of an attribute; raise CellError for one that cannot be stored."""
    return _name(name)


def attributes(found: Any) -> dict[str, Any]:
    """Return attributes that come as one object. Values of None take an attribute away."""
    if not isinstance(found, dict):
        raise CellError("not an object")
    return {
        _name(str(name)): _text(value) if isinstance(value, str) else None if value is None else attribute(value)
        for name, value in found.items()
    }


def attribute(value: Any) -> Any:
    """Return an attribute: JSON values as they are, texts of CSV files that look like numbers as numbers (but 007 is a name)."""
    if isinstance(value, str):
        return _number_or_text(value)
    if isinstance(value, Decimal):
        value = float(value)
        if value.is_integer() and abs(value) < _EXACT_FLOATS:
            return int(value)
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < _LARGEST_WHOLE):
        return value
    if isinstance(value, float) and abs(value) < _LARGEST_WHOLE:  # neither infinite nor NaN
        return value if abs(value) >= _SMALLEST else 0.0
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return [None if each is None else attribute(each) if not isinstance(each, str) else _text(each) for each in value]
    raise CellError("neither a text, a number, a yes or no, nor a list of them")


@lru_cache(maxsize=4096)  # a column of attributes mostly holds the same few values
def _number_or_text(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if len(text) <= 15 and _NUMBERS.issuperset(text):
        try:
            return _number(text)
        except CellError:
            pass
    return _text(text)


def _number(text: Any) -> Any:
    digits = str(text).removeprefix("-")
    if digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0"):
        return attribute(int(str(text)))
    whole, _, fraction = digits.partition(".")
    if digits.isascii() and whole.isdigit() and fraction.isdigit() and (whole == "0" or whole[0] != "0"):
        return float(str(text))
    raise CellError("not a number", repr(text))


#: Readers by what `types` of a map says.
TYPES: dict[str, Callable[[Any], Any]] = {
    "text": lambda value: _text(str(value)),
    "number": _number,
    "flag": lambda value: value if isinstance(value, bool) else parse_flag(str(value)),
}


def as_json(found: Mapping[str, Any]) -> str:
    """Return what `json.dumps` with sorted keys does, several times as fast: there is one object for nearly every row."""
    pairs = [f"{encode_basestring_ascii(name)}: {_value(found[name])}" for name in sorted(found)]
    return "{" + ", ".join(pairs) + "}"


def _value(value: Any) -> str:
    kind = value.__class__
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is int or kind is float:
        return repr(value)
    return json.dumps(value)
