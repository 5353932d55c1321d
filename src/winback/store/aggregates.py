"""Keep what is known of a customer's orders in the customer's own row, so that audiences never have to group by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from sqlalchemy import Connection, TextClause, text

from winback.store import VOID_STATUSES, customers, look_over, orders

#: The UTC day of an order as a whole number. Integer division cuts towards zero; moments before 1970 are shifted to floor.
_DAY = {
    "sqlite": "(placed_at - CASE WHEN placed_at < 0 THEN 86399999999 ELSE 0 END) / 86400000000",
    "postgresql": "CAST(FLOOR(EXTRACT(EPOCH FROM placed_at) / 86400) AS BIGINT)",
}

#: A list of ids as one bound value, however long it is.
_GIVEN = {
    "sqlite": "SELECT value AS id FROM json_each(:ids)",
    "postgresql": "SELECT CAST(value AS BIGINT) AS id FROM json_array_elements_text(CAST(:ids AS json))",
}

# One statement for all touched customers. The index of orders by customer and time gives them in the order in which they are
# summed and in which the days between them are taken, so that nothing is sorted but the gaps; NOT MATERIALIZED lets it, for
# SQLite would copy what is named twice. Of the newest orders of the same moment the one with the highest id counts. Spending is
# summed in the currency of the newest order only: euros and dollars do not add up. The median gap comes from the distinct UTC
# days: `gaps` has one row per day but the first, numbered by size; the middle one or two are averaged. A halved sum of whole
# days is exact in binary, so both databases agree to the bit. The last WHERE keeps rows that would not change from being written.
_REFRESH = """
WITH touched AS NOT MATERIALIZED ({touched}),
counted AS NOT MATERIALIZED (
    SELECT id, customer_id, placed_at, total_minor, currency, {day} AS day FROM orders
    WHERE customer_id IN (SELECT id FROM touched) AND status NOT IN ({void})
),
summed AS (
    SELECT customer_id, COUNT(*) AS order_count, MIN(placed_at) AS first_order_at, MAX(placed_at) AS last_order_at,
           CAST(SUM(total_minor) AS BIGINT) AS total_minor, MIN(currency) AS one, MAX(currency) AS other
    FROM counted GROUP BY customer_id
),
newest AS (
    SELECT s.customer_id, s.order_count, s.first_order_at, s.last_order_at, o.currency, o.external_id AS last_order_id,
           CASE WHEN s.one = s.other THEN s.total_minor ELSE (
               SELECT CAST(SUM(c.total_minor) AS BIGINT) FROM orders AS c
               WHERE c.customer_id = s.customer_id AND c.currency = o.currency AND c.status NOT IN ({void})
           ) END AS spent_minor
    FROM summed AS s JOIN orders AS o ON o.id = (
        SELECT MAX(c.id) FROM orders AS c
        WHERE c.customer_id = s.customer_id AND c.placed_at = s.last_order_at AND c.status NOT IN ({void})
    )
),
steps AS (SELECT customer_id, day - LAG(day) OVER (PARTITION BY customer_id ORDER BY placed_at, id) AS gap FROM counted),
gaps AS (
    SELECT customer_id, gap, ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY gap) AS place,
           COUNT(*) OVER (PARTITION BY customer_id) AS many
    FROM steps WHERE gap > 0
),
rhythm AS (
    SELECT customer_id, CAST(SUM(gap) AS DOUBLE PRECISION) / COUNT(*) AS median
    FROM gaps WHERE place IN ((many + 1) / 2, (many + 2) / 2) GROUP BY customer_id
),
fresh AS (
    SELECT t.id, COALESCE(n.order_count, 0) AS order_count, COALESCE(n.spent_minor, 0) AS spent_minor, n.currency,
           n.first_order_at, n.last_order_at, n.last_order_id, r.median AS median_gap_days
    FROM touched AS t
    LEFT JOIN newest AS n ON n.customer_id = t.id
    LEFT JOIN rhythm AS r ON r.customer_id = t.id
)
UPDATE customers SET {sets} FROM fresh WHERE customers.id = fresh.id AND ({differs})
"""

_KEPT = ("order_count", "spent_minor", "currency", "first_order_at", "last_order_at", "last_order_id", "median_gap_days")


def refresh_customers(connection: Connection, customer_ids: Sequence[int] | None) -> None:
    """Compute the order aggregates of these customers (None: of all) anew, in one statement.

    Orders that were cancelled, refunded or returned do not count. `median_gap_days` is the median number of days between
    distinct order days (UTC), empty with fewer than two days; `spent_minor` and `currency` follow the newest order's currency.
    """
    if customer_ids is None:
        _refresh(connection, "SELECT id FROM customers")
    elif customer_ids:
        _refresh(connection, _GIVEN[connection.dialect.name], {"ids": json.dumps([int(each) for each in customer_ids])})


def refresh_selected(connection: Connection, touched: str) -> None:
    """Compute the order aggregates of the customers whose distinct ids a SELECT (column `id`, no parameters) gives."""
    _refresh(connection, touched)


def _refresh(connection: Connection, touched: str, values: Mapping[str, str] | None = None) -> None:
    # The statement joins many with many: planned for empty tables it takes hours.
    look_over(connection, (customers, orders))
    connection.execute(_statement(connection.dialect.name, touched), values)


@lru_cache(maxsize=16)
def _statement(backend: str, touched: str) -> TextClause:
    distinct = "IS NOT" if backend == "sqlite" else "IS DISTINCT FROM"
    return text(
        _REFRESH.format(
            touched=touched,
            void=", ".join(f"'{status}'" for status in VOID_STATUSES),
            day=_DAY[backend],
            sets=", ".join(f"{name} = fresh.{name}" for name in _KEPT),
            differs=" OR ".join(f"customers.{name} {distinct} fresh.{name}" for name in _KEPT),
        )
    )
