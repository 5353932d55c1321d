"""The best SQL that a person writes for the same questions, with the tables, indexes and kept figures that winback has.

Moments are bound, never computed by the database; what differs between SQLite and PostgreSQL stands in `_DIALECT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, TextClause, bindparam, text

from winback.store import UtcDateTime

#: A date as the anchor, in a UNION, of which PostgreSQL wants to know the types of columns that are empty.
_NOTHING_ELSE = "CAST(NULL AS TIMESTAMPTZ), {on}, CAST(NULL AS BIGINT)"

_VOID = "('cancelled', 'refunded', 'returned')"

_DIALECT = {
    "sqlite": {
        "customers": "customers c NOT INDEXED",  # to read them all takes a tenth of looking a third of them up
        "plus_hour": "e.at + 3600000000",
        "later": "c.last_order_at + CAST(86400000000 * {days} AS INTEGER)",
        "gold": "attributes ->> '$.tier' = 'gold' AND attributes ->> '$.points' >= 500",
        "days_ago": "(:now - last_order_at) / 86400000000",
        "date": "{day}",
        "uuid": "lower(hex(randomblob(16)))",
    },
    "postgresql": {
        "customers": "customers c",
        "plus_hour": "e.at + INTERVAL '1 hour'",
        "later": "c.last_order_at + {days} * INTERVAL '1 day'",
        "gold": "attributes ->> 'tier' = 'gold' AND CAST(attributes ->> 'points' AS float) >= 500",
        "days_ago": "EXTRACT(EPOCH FROM :now - last_order_at) / 86400",
        "date": "DATE {day}",
        "uuid": "gen_random_uuid()",
    },
}

#: The shop's usual time between orders in days, which counts for those of whom too little is known.
_SHOP_RHYTHM = "(SELECT CAST(value AS DOUBLE PRECISION) FROM installation WHERE key = 'rhythm.days')"

#: For each campaign of the shop that is measured, who comes in: customer, occasion, moment or date, order.
AUDIENCES = {
    "sleeping": "SELECT c.id, c.last_order_id, :now, NULL, o.id FROM {customers} "
    "JOIN orders o ON o.external_id = c.last_order_id WHERE c.last_order_at >= :year_ago "
    "AND {rhythm} AND c.last_order_at <= :month_ago AND NOT EXISTS (SELECT 1 FROM messages m "
    "WHERE m.customer_id = c.id AND m.campaign = 'thank_you' AND m.state IN ('sent', 'delivered', 'uncertain') "
    "AND m.sent_at > :fortnight_ago)",
    "lapsed": "SELECT c.id, c.last_order_id, :now, NULL, o.id FROM {customers} JOIN orders o ON o.external_id = c.last_order_id "
    "WHERE c.last_order_at >= :year_ago AND c.last_order_at < :quarter_ago AND c.order_count >= 2",
    "birthday": "{birthdays}",
    "anniversary": "{anniversaries}",
    "thank_you": "SELECT o.customer_id, o.external_id, o.placed_at, NULL, o.id FROM orders o "
    f"WHERE o.placed_at >= :since AND o.placed_at < :until AND o.status NOT IN {_VOID}",
    "first_order": "SELECT o.customer_id, o.external_id, o.delivered_at, NULL, o.id FROM orders o JOIN customers c "
    "ON c.id = o.customer_id AND c.first_order_at = o.placed_at "
    f"WHERE o.delivered_at >= :since_day AND o.delivered_at < :until_day AND o.status NOT IN {_VOID}",
    "milestone": "SELECT p.customer_id, 'orders:' || p.number, p.placed_at, NULL, p.id FROM (SELECT o.customer_id, o.placed_at, "
    "o.id, c.order_count - (SELECT count(*) FROM orders x WHERE x.customer_id = o.customer_id AND x.placed_at >= o.placed_at "
    f"AND (x.placed_at > o.placed_at OR x.id > o.id) AND x.status NOT IN {_VOID}) AS number FROM orders o "
    "JOIN customers c ON c.id = o.customer_id WHERE o.placed_at >= :since AND o.placed_at < :until "
    f"AND o.status NOT IN {_VOID} AND c.order_count >= 5) p WHERE p.number IN (5, 10, 25)",
    "replenish": "SELECT c.id, c.last_order_id, {expected}, NULL, o.id FROM customers c "
    "JOIN orders o ON o.external_id = c.last_order_id WHERE {expected} >= :since_ahead AND {expected} < :until_ahead",
    "cart": "SELECT e.customer_id, e.external_id, e.at, NULL, NULL FROM events e WHERE e.name = 'cart_left' "
    "AND e.at >= :since_hour AND e.at < :until_hour AND e.at <= :hour_ago AND NOT EXISTS (SELECT 1 FROM events x "
    "WHERE x.customer_id = e.customer_id AND x.name = 'checkout' AND x.at BETWEEN e.at AND {plus_hour})",
    "nurture": "SELECT s.customer_id, s.level || '#' || s.number, s.at, NULL, NULL FROM score_crossings s "
    "JOIN customers c ON c.id = s.customer_id WHERE s.model = 'lead' AND s.level = 'warm' AND s.upward "
    "AND s.at >= :since AND s.at < :until AND c.order_count = 0",
    "at_risk": "SELECT m.customer_id, 'day', m.entered_at, NULL, NULL FROM segment_members m "
    "WHERE m.segment = 'at_risk' AND m.entered_at >= :since AND m.entered_at < :until",
    "newsletter": "SELECT c.id, '2026-11-24', NULL, {date}, NULL FROM customers c WHERE c.country IN ('DE', 'AT') "
    "AND c.order_count >= 1",
}

#: Expressions of `where`, each with SQL for the customers whom it fits.
CONDITIONS = {
    "orders >= 2 and country in ('DE', 'AT')": "order_count >= 2 AND country IN ('DE', 'AT')",
    "spent >= 250 and days_since_last_order between 30 and 90": "spent_minor >= 25000 AND last_order_at <= :month_ago "
    "AND last_order_at > :days_91",
    "average_order > 60 and email_marketing": "order_count > 0 AND spent_minor > 6000 * order_count AND email_marketing",
    "overdue >= 2 and orders >= 3": f"order_count >= 3 AND {{days_ago}} >= 2 * COALESCE(median_gap_days, {_SHOP_RHYTHM})",
    "age >= 30 and language = 'de' and has_phone": "(birth_year < 1996 OR birth_year = 1996 AND (birth_month < 11 "
    "OR birth_month = 11 AND birth_day <= 24)) AND locale LIKE 'de-%' AND phone IS NOT NULL",
    "attributes.tier = 'gold' and attributes.points >= 500": "{gold}",
    "bought_category('Jazz', 30)": "id IN (SELECT o.customer_id FROM orders o JOIN order_lines l ON l.order_id = o.id "
    f"WHERE o.placed_at > :month_ago AND o.placed_at <= :now AND o.status NOT IN {_VOID} AND l.category = 'Jazz')",
    "orders_in(365) >= 4": "id IN (SELECT customer_id FROM orders WHERE placed_at > :year_ago_now AND placed_at <= :now "
    f"AND status NOT IN {_VOID} GROUP BY customer_id HAVING count(*) >= 4)",
    "did('cart_left', 7) and not did('checkout', 7)": "id IN (SELECT customer_id FROM events WHERE name = 'cart_left' "
    "AND at > :week_ago AND at <= :now EXCEPT SELECT customer_id FROM events WHERE name = 'checkout' AND at > :week_ago "
    "AND at <= :now)",
    "event_count('page_seen', 30) >= 5": "id IN (SELECT customer_id FROM events WHERE name = 'page_seen' AND at > :month_ago "
    "AND at <= :now GROUP BY customer_id HAVING count(*) >= 5)",
}


def audience(connection: Connection, name: str, now: datetime, since: datetime, zones: list[str]) -> TextClause:
    """Return the SQL that keeps a campaign's audience in `bench_found`, its moments bound."""
    words = _DIALECT[connection.dialect.name]
    later = "c.last_order_at <= :shortest"  # what can be told before each own rhythm is looked at
    own, both = "c.median_gap_days", f"c.median_gap_days + COALESCE({_SHOP_RHYTHM}, c.median_gap_days)"
    days = f"CASE WHEN c.order_count >= 3 AND {own} > 7 THEN 2 * {own} WHEN c.order_count >= 3 AND {own} IS NOT NULL THEN 14.0 "
    days += f"WHEN {own} IS NULL THEN COALESCE(CASE WHEN {_SHOP_RHYTHM} > 7 THEN 2 * {_SHOP_RHYTHM} END, 90.0) "
    days += f"WHEN {both} > 14 THEN {both} ELSE 14.0 END"
    usual = (
        f"CASE WHEN {own} IS NULL THEN {_SHOP_RHYTHM} WHEN c.order_count >= 3 THEN {own} ELSE COALESCE(({both}) / 2, {own}) END"
    )
    sql = AUDIENCES[name].format(
        plus_hour=words["plus_hour"],
        customers=words["customers"],
        rhythm=f"{later} AND {words['later'].format(days=days)} <= :now",
        expected=words["later"].format(days=usual),
        date=words["date"].format(day=f"'{now.date()}'"),
        birthdays=" UNION ALL ".join(_birthdays(now, since, zones, words["date"])),
        anniversaries=" UNION ALL ".join(_anniversaries(now, since, zones, words["date"])),
    )
    return _bound(f"INSERT INTO bench_found (customer_id, occasion, anchor_at, anchor_on, order_id) {sql}", now, since)


#: What a person writes to let an audience in, and to plan its first message: no caps, no clocks but one, no second address.
PASS = (
    "INSERT INTO enrollments (campaign, customer_id, occasion, anchor_at, anchor_on, order_id, zone, variant, held_out, state, "
    "step, due_at, due_on, enrolled_at) SELECT '{campaign}', f.customer_id, f.occasion, f.anchor_at, f.anchor_on, f.order_id, "
    "c.local_zone, '', c.id % 10 = 0, 'active', 'first', CASE WHEN c.id % 8 < 5 THEN :soon ELSE :late END, {date}, :now "
    "FROM bench_found f JOIN customers c ON c.id = f.customer_id WHERE c.erased_at IS NULL AND c.email IS NOT NULL "
    "AND c.email_marketing AND NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = 'email' "
    "AND s.address_hash = c.email_hash) ON CONFLICT DO NOTHING",
    "INSERT INTO messages (id, enrollment_id, campaign, step, customer_id, channel, purpose, variant, state, planned_at, due_at, "
    "due_on, next_attempt_at, valid_until, attempts, redirected, definition_hash) SELECT {uuid}, e.id, e.campaign, e.step, "
    "e.customer_id, 'email', 'marketing', '', CASE WHEN e.held_out THEN 'held_out' ELSE 'planned' END, :now, e.due_at, e.due_on, "
    "e.due_at, :late, 0, false, '' FROM enrollments e WHERE e.campaign = '{campaign}' AND e.state = 'active' "
    "AND e.due_at <= :until",
    "INSERT INTO message_history (message_id, to_state, worker, at) SELECT id, state, 'bench', planned_at FROM messages "
    "WHERE campaign = '{campaign}' AND planned_at = :now",
    "UPDATE enrollments SET state = 'finished', step = NULL, due_at = NULL "
    "WHERE campaign = '{campaign}' AND state = 'active' AND due_at <= :until",
)


def planning(connection: Connection, name: str, now: datetime) -> list[TextClause]:
    """Return the SQL that enrolls those in `bench_found` and plans who is due."""
    words = _DIALECT[connection.dialect.name]
    day = words["date"].format(day=f"'{now.date()}'")
    return [_bound(sql.format(campaign=name, date=day, uuid=words["uuid"]), now, now) for sql in PASS]


def condition(connection: Connection, name: str, now: datetime) -> TextClause:
    """Return the SQL that counts the customers whom an expression fits."""
    sql = CONDITIONS[name].format(**_DIALECT[connection.dialect.name])
    return _bound(f"SELECT count(*) FROM customers WHERE {sql}", now, now)


def _bound(sql: str, now: datetime, since: datetime) -> TextClause:
    day = timedelta(days=1)
    until = now + day
    midnight = datetime.combine(now.astimezone(ZoneInfo("Europe/Berlin")).date(), time(0), ZoneInfo("Europe/Berlin"))
    moments = {
        "now": now,
        "since": since,
        "until": until,
        "soon": now + timedelta(hours=12),
        "late": now + 7 * day,
        "since_day": since - day,
        "until_day": until - day,
        "since_hour": since - timedelta(hours=1),
        "until_hour": until - timedelta(hours=1),
        "since_ahead": since + 3 * day,
        "until_ahead": until + 3 * day,
        "hour_ago": now - timedelta(hours=1),
        "shortest": now - 14 * day,
        "week_ago": now - 7 * day,
        "fortnight_ago": now - 14 * day,
        "month_ago": now - 30 * day,
        "days_91": now - 91 * day,
        "year_ago_now": now - 365 * day,
        "quarter_ago": (midnight - 89 * day).astimezone(UTC),
        "year_ago": (midnight - 365 * day).astimezone(UTC),
    }
    used = set(re.findall(r":([a-z_0-9]+)\b", sql)).intersection(moments)
    return text(sql).bindparams(*(bindparam(name, moments[name], UtcDateTime()) for name in used))


def _days(now: datetime, since: datetime, zones: list[str]) -> Iterator[tuple[date, list[str]]]:
    """Yield the local dates from `since` until a day ahead, each with the zones in which it is not between them."""
    first = {zone: since.astimezone(ZoneInfo(zone)).date() for zone in zones}
    last = {zone: (now + timedelta(days=1)).astimezone(ZoneInfo(zone)).date() for zone in zones}
    day = min(first.values())
    while day <= max(last.values()):
        yield day, [zone for zone in zones if not first[zone] <= day <= last[zone]]
        day += timedelta(days=1)


def _elsewhere(zones: list[str]) -> str:
    quoted = ", ".join(f"'{zone}'" for zone in zones)
    return f" AND c.local_zone NOT IN ({quoted})" if zones else ""


def _birthdays(now: datetime, since: datetime, zones: list[str], written: str) -> Iterator[str]:
    for day, elsewhere in _days(now, since, zones):
        on = written.format(day=f"'{day}'")
        yield (
            f"SELECT c.id, '{day.year}', {_NOTHING_ELSE.format(on=on)} FROM customers c "
            f"WHERE c.birth_month = {day.month} AND c.birth_day = {day.day}{_elsewhere(elsewhere)}"
        )


def _anniversaries(now: datetime, since: datetime, zones: list[str], written: str) -> Iterator[str]:
    for day, elsewhere in _days(now, since, zones):
        ranges = []
        for year in range(day.year - 10, day.year):
            first = day.replace(year=year)
            start, end = (
                datetime.combine(each, time(0), ZoneInfo("Europe/Berlin")) for each in (first, first + timedelta(days=1))
            )
            ranges.append(f"c.first_order_at >= {_literal(start, written)} AND c.first_order_at < {_literal(end, written)}")
        on = written.format(day=f"'{day}'")
        yield (
            f"SELECT c.id, '{day.year}', {_NOTHING_ELSE.format(on=on)} FROM customers c "
            f"WHERE ({' OR '.join(ranges)}){_elsewhere(elsewhere)}"
        )


def _literal(moment: datetime, written: str) -> str:
    if written.startswith("DATE"):
        return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat()}'"
    return str(int(moment.timestamp()) * 1_000_000)
