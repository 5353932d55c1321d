"""A shop that does not exist: the same customers, orders and events each time, as uneven as in real shops.

One customer in seven has never ordered; the others have ordered three times or two hundred times, six on average, most of them
long ago. A tenth of the customers does half of what happens, a few products sell most, and many birthdays are not known.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

#: When it is.
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)

_DAY = 86_400
_NOW = int(NOW.timestamp())
_CHUNK = 10_000
_SEED = 20261124

_ZONES = {
    "DE": "Europe/Berlin",
    "AT": "Europe/Vienna",
    "CH": "Europe/Zurich",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "US": "America/New_York",
    "BR": "America/Sao_Paulo",
    "IN": "Asia/Kolkata",
}
_COUNTRIES = random.Random(_SEED).choices(list(_ZONES), weights=[52, 10, 8, 8, 7, 9, 3, 3], k=1024)
_LOCALES = {
    "DE": "de-DE",
    "AT": "de-AT",
    "CH": "de-CH",
    "FR": "fr-FR",
    "GB": "en-GB",
    "US": "en-US",
    "BR": "pt-BR",
    "IN": "en-IN",
}
#: Mobile numbers of each country: what they begin with, and the first of the rest.
_DIALLED = {
    "DE": ("+49151", 10_000_000),
    "AT": ("+43664", 1_000_000),
    "CH": ("+4179", 2_000_000),
    "FR": ("+336", 10_000_000),
    "GB": ("+44740", 1_000_000),
    "US": ("+1212", 2_000_000),
    "BR": ("+55119", 70_000_000),
    "IN": ("+9198", 10_000_000),
}
_FIRST = (
    "Anna",
    "Jonas",
    "Mara",
    "Zoë",
    "Emil",
    "Lena",
    "Noor",
    "Yusuf",
    "Ida",
    "Theo",
    "Mia",
    "Ben",
    "Olga",
    "Ravi",
    "Chloé",
    "Sam",
)
_LAST = (
    "Weber",
    "Schmidt",
    "Costa",
    "Miller",
    "Novák",
    "Rossi",
    "Khan",
    "Öz",
    "Dubois",
    "Silva",
    "Meyer",
    "Jansen",
    "Park",
    "Ito",
)
_CITIES = ("Berlin", "Wien", "Zürich", "Paris", "London", "Boston", "Recife", "Pune", "Hamburg", "München", "Köln", "Graz")
_TIERS = ("bronze", "bronze", "bronze", "silver", "silver", "gold")
_CATEGORIES = ("Jazz", "Rock", "Classical", "Soul", "Folk", "Hip-hop", "Electronic", "Pop", "Blues", "Metal", "Latin", "Care")
_PRODUCTS = 20_000
_STATUSES = ("paid",) * 30 + ("delivered",) * 64 + ("refunded",) * 3 + ("cancelled",) * 2 + ("returned",)
_EVENTS = random.Random(_SEED).choices(
    ("page_seen", "search", "cart_left", "checkout", "guide_downloaded", "listening_evening_attended", "club_prices_seen",
     "talk_requested", "jobs_page_seen"),
    weights=[560, 210, 70, 50, 60, 20, 24, 2, 4],
    k=4096,
)  # fmt: skip

CUSTOMER = ("id", "external_id", "email", "phone", "email_hash", "phone_hash", "first_name", "last_name", "locale", "country",
            "city", "local_zone", "birth_year", "birth_month", "birth_day", "attributes", "email_marketing", "sms_marketing",
            "created_at", "updated_at")  # fmt: skip
ORDER = ("id", "external_id", "customer_id", "placed_at", "status", "total_minor", "currency", "delivered_at", "voided_at",
         "attributes", "updated_at")  # fmt: skip
LINE = ("id", "order_id", "position", "product_id", "name", "category", "quantity", "price_minor")
EVENT = ("id", "external_id", "customer_id", "name", "at", "properties")
SUPPRESSION = ("id", "channel", "address_hash", "reason", "at", "source")

#: Columns that hold moments, as whole seconds since 1970 here.
MOMENTS = frozenset({"placed_at", "delivered_at", "voided_at", "created_at", "updated_at", "at"})

Rows = list[tuple[object, ...]]


@dataclass
class Chunk:
    """Some customers, and all that is theirs."""

    customers: Rows = field(default_factory=list)
    orders: Rows = field(default_factory=list)
    order_lines: Rows = field(default_factory=list)
    events: Rows = field(default_factory=list)
    suppressions: Rows = field(default_factory=list)


#: What a chunk holds, in the order in which it can be written.
TABLES = {"customers": CUSTOMER, "orders": ORDER, "order_lines": LINE, "events": EVENT, "suppressions": SUPPRESSION}


def chunks(count: int) -> Iterator[Chunk]:
    """Yield so many customers with all that is theirs: about five orders and ten events each."""
    ids = {name: itertools.count(1) for name in TABLES}
    for start in range(1, count + 1, _CHUNK):
        rng = random.Random(_SEED + start)
        chunk = Chunk()
        for number in range(start, min(start + _CHUNK, count + 1)):
            oldest = _order(chunk, rng, number, ids)
            _happen(chunk, rng, number, ids["events"])
            chunk.customers.append(_person(rng, number, oldest))
            if rng.random() < 0.02:
                reason = rng.choice(("hard_bounce", "hard_bounce", "complaint", "manual"))
                chunk.suppressions.append((next(ids["suppressions"]), "email", f"{number:032x}", reason, _NOW - _DAY, "import"))
        yield chunk


def _order(chunk: Chunk, rng: random.Random, customer: int, ids: Mapping[str, Iterator[int]]) -> int:
    """Let a customer order, or not; return when the first order was, or when the lead came."""
    first = _NOW - int(1460 * _DAY * rng.random()) - 60
    if rng.random() < 0.15:
        return first
    count = min(200, int(math.exp(rng.gauss(1.07, 1.1))) + 1)
    # From the first order to the last: who has ordered often has mostly ordered lately.
    span = (_NOW - first) * rng.random() ** (1 / (1 + 2 * math.log(count)))
    moments = sorted(first + int(span * rng.random()) for _ in range(count - 1))
    for at in (first, *moments):
        number = next(ids["orders"])
        status = _STATUSES[int(rng.random() * 100)] if at < _NOW - 3 * _DAY else "placed"
        price = 500 + int(rng.expovariate(1 / 2400))
        void = at + 5 * _DAY if status in {"refunded", "cancelled", "returned"} else None
        delivered = at + 3 * _DAY if status == "delivered" else None
        chunk.orders.append(
            (number, f"O{number:09}", customer, at, status, price, "EUR", delivered, min(void, _NOW) if void else None, "{}", at)
        )
        product = int(_PRODUCTS ** rng.random())
        name = f"Record {product}"
        chunk.order_lines.append((number, number, 1, f"LP-{product}", name, _CATEGORIES[product % 12], 1, price))
    return first


def _happen(chunk: Chunk, rng: random.Random, customer: int, ids: Iterator[int]) -> None:
    """Let a customer look around: mostly lately."""
    for _ in range(min(500, int(math.exp(rng.gauss(1.64, 1.2))))):
        number = next(ids)
        at = _NOW - int(730 * _DAY * rng.random() ** 2) - 1
        chunk.events.append((number, f"E{number:010}", customer, _EVENTS[int(rng.random() * 4096)], at, "{}"))


def _person(rng: random.Random, number: int, since: int) -> tuple[object, ...]:
    country = _COUNTRIES[int(rng.random() * 1024)]
    code, first = _DIALLED[country]
    phone = f"{code}{first + number}" if rng.random() < 0.6 else None
    email = f"person{number}@example.com" if rng.random() < 0.96 else None
    year, month, day = _birth(rng)
    tier = _TIERS[int(rng.random() * 6)]
    return (
        number,
        f"C{number:08}",
        email,
        phone,
        f"{number:032x}" if email else None,
        f"{number + 2**64:032x}" if phone else None,
        _FIRST[int(rng.random() * 16)] if rng.random() < 0.9 else None,
        _LAST[int(rng.random() * 14)],
        _LOCALES[country],
        country,
        _CITIES[int(rng.random() * 12)],
        _ZONES[country],
        year,
        month,
        day,
        f'{{"tier": "{tier}", "points": {int(rng.expovariate(1 / 300))}}}',
        _answer(rng, 0.62, 0.12),
        _answer(rng, 0.21, 0.10),
        since,
        since,
    )


def _birth(rng: random.Random) -> tuple[int | None, int | None, int | None]:
    known = rng.random()
    if known > 0.45:
        return None, None, None
    if known > 0.44:  # what forms fill in by themselves
        return 1990, 1, 1
    day = date(2000, 1, 1) + timedelta(days=int(rng.random() * 366))
    year = 1940 + int(rng.random() * 66) if known < 0.3 else None
    if year is not None and (day.month, day.day) == (2, 29):
        year -= year % 4
    return year, day.month, day.day


def _answer(rng: random.Random, yes: float, no: float) -> bool | None:
    drawn = rng.random()
    return True if drawn < yes else False if drawn < yes + no else None
