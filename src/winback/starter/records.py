"""Make up records, and baskets of them that hold as many pieces and cost as much as a real order."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

#: A basket has at most so many different records.
_LINES = 8

#: How likely somebody picks from what they listen to mostly.
_FAITHFUL = 0.68


@dataclass(frozen=True)
class Record:
    """One product of the demo shop."""

    product_id: str
    name: str
    category: str
    path: str  # on the shop's website


@cache
def catalogue() -> dict[str, tuple[Record, ...]]:
    """Return the shop's records by category, the most popular first."""
    tables = tomllib.loads((files("winback") / "starter" / "made_up" / "records.toml").read_text(encoding="utf-8"))
    each = tables.pop("per_artist")
    found: dict[str, tuple[Record, ...]] = {}
    number = 100
    for category, table in tables.items():
        records = []
        for place, title in enumerate(table["titles"]):
            number += 1
            artist = table["artists"][place // each]
            name = f"{artist}: {title}"
            records.append(Record(f"HN-{number}", name, category, f"/records/{_slug(name)}"))
        Random(category).shuffle(records)  # noqa: S311 - which record is popular is no secret
        found[category] = tuple(records)
    return found


@cache
def _weights() -> tuple[list[str], list[int]]:
    tables = tomllib.loads((files("winback") / "starter" / "made_up" / "records.toml").read_text(encoding="utf-8"))
    tables.pop("per_artist")
    return list(tables), [table["weight"] for table in tables.values()]


def favourite(rng: Random) -> str:
    """Return the category that somebody listens to mostly."""
    names, weights = _weights()
    return rng.choices(names, weights)[0]


def basket(rng: Random, genre: str, pieces: int, total: int, website: str) -> list[dict[str, Any]]:
    """Return the lines of an order of `pieces` records that cost `total` cents together, as the importer of orders takes them."""
    chosen: dict[str, Record] = {}
    while len(chosen) < min(pieces, _LINES):
        record = _pick(rng, genre)
        chosen.setdefault(record.product_id, record)
    quantities = [1] * len(chosen)
    for _ in range(pieces - len(chosen)):
        quantities[rng.randrange(max(len(chosen) - 1, 1))] += 1
    return [
        {
            "product_id": record.product_id,
            "name": record.name,
            "category": record.category,
            "quantity": quantity,
            "price": dollars(price),
            "url": website + record.path,
        }
        for record, quantity, price in zip(chosen.values(), quantities, _prices(rng, quantities, total), strict=True)
    ]


def dollars(cents: int) -> str:
    """Write an amount as importers read it."""
    return f"{cents // 100}.{cents % 100:02}"


def _pick(rng: Random, genre: str) -> Record:
    records = catalogue()[genre if rng.random() < _FAITHFUL else favourite(rng)]
    return records[int(len(records) * rng.random() ** 1.7)]


def _prices(rng: Random, quantities: list[int], total: int) -> list[int]:
    """Return a price in cents for a piece of each line; the last line, which has one piece, takes what is left over."""
    usual = total // sum(quantities)
    prices = []
    left = total
    for quantity in quantities[:-1]:
        price = int(usual * rng.uniform(0.8, 1.2))
        price = price - price % 10 + 9 if price > 100 else price
        prices.append(price)
        left -= price * quantity
    if quantities[:-1] and not usual * 0.4 <= left <= usual * 2.5:
        prices = [usual] * len(prices)
        left = total - usual * sum(quantities[:-1])
    return [*prices, left // quantities[-1]]


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold().replace("'", "").replace("ø", "o").replace("ß", "ss"))
    return re.sub(r"[^a-z0-9]+", "-", "".join(letter for letter in plain if letter.isascii())).strip("-")
