"""Amounts in whole units of their currency, as conditions compare them."""

from __future__ import annotations

from typing import Any

from babel.core import get_global
from babel.numbers import get_currency_precision
from sqlalchemy import ColumnElement, Float, case, cast, literal

#: Currencies by how many decimals they have, but for the usual two.
_UNUSUAL = {code: precision for code in get_global("all_currencies") if (precision := get_currency_precision(code)) != 2}


def major_units(minor: ColumnElement[Any], currency: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return SQL for an amount in whole units: 1234 cents are 12.34, 1234 yen are 1234."""
    by_precision: dict[int, list[str]] = {}
    for code, precision in _UNUSUAL.items():
        by_precision.setdefault(precision, []).append(code)
    units = case(
        *((currency.in_(sorted(codes)), literal(float(10**precision))) for precision, codes in sorted(by_precision.items())),
        else_=literal(100.0),
    )
    return cast(minor, Float()) / units
