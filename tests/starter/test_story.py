"""The demo's data: the real orders, whole and in their order, and people who could be real but are not."""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.starter.conftest import TODAY, WEBSITE, ZONE
from winback.addresses import is_zone, normalise_email, normalise_phone
from winback.importers import Kind
from winback.starter.filling import SEED
from winback.starter.records import basket, catalogue
from winback.starter.story import LONG_AGO, Story, write_story

SAMPLE = files("winback") / "starter" / "cdnow" / "CDNOW_sample.txt.gz"
GIVEN = Path(__file__).resolve().parents[3] / "shared/data/cdnow/CDNOW_sample.txt"

#: Numbers that regulators keep for films and books; see made_up/people.toml.
RESERVED = re.compile(
    r"\+49(17139200\d\d|176040690\d\d|(3023125|4066969|8999998|2214710|6990009)\d{3})"
    r"|\+33(19900|46571|53649|26191|35301)\d{4}"
    r"|\+44(2079460|(161|131|113|117)4960)\d{3}"
    r"|\+1\d{3}55501\d\d"
    r"|\+46701740(60[5-9]|6[1-9]\d)"
    r"|\+61(49157015[6-9]|[238]5550\d{4})"
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def rows(story: Story, kind: Kind) -> list[Mapping[str, Any]]:
    return story.rows(kind, LONG_AGO, NOW)


Histories = Counter[tuple[tuple[date, int, Decimal], ...]]


def real_histories() -> Histories:
    """Read the sample as it is: each customer's orders with day, pieces and dollars, moved to end yesterday."""
    moved = TODAY - timedelta(days=1) - date(1998, 6, 30)
    found = defaultdict(list)
    for line in gzip.decompress(SAMPLE.read_bytes()).decode().splitlines():
        customer, _, day, pieces, dollars = line.split()
        found[customer].append((date.fromisoformat(day) + moved, int(pieces), Decimal(dollars)))
    return Counter(tuple(sorted(orders)) for orders in found.values())


def test_the_shipped_sample_is_the_one_that_was_published() -> None:
    if not GIVEN.exists():
        pytest.skip("the data set is not beside the repository")
    assert gzip.decompress(SAMPLE.read_bytes()) == GIVEN.read_bytes()


def test_every_real_order_is_there_with_its_pieces_and_its_price(story: Story) -> None:
    told = rows(story, Kind.ORDERS)
    assert len(told) == 6919
    found = defaultdict(list)
    for row in told:
        day = datetime.fromisoformat(row["placed_at"]).astimezone(ZoneInfo(ZONE)).date()
        found[row["customer_id"]].append((day, sum(line["quantity"] for line in row["lines"]), Decimal(row["total"])))
    assert len(found) == 2357
    assert Counter(tuple(sorted(orders)) for orders in found.values()) == real_histories()


def test_the_customer_of_the_documentation_has_ordered_lately(story: Story) -> None:
    [anna] = [row for row in rows(story, Kind.CUSTOMERS) if row["customer_id"] == "00042"]
    assert (anna["first_name"], anna["email_marketing"]) == ("Anna", True)
    orders = [row for row in rows(story, Kind.ORDERS) if row["customer_id"] == "00042"]
    assert len(orders) > 3
    newest = max(orders, key=lambda row: row["placed_at"])
    assert newest["status"] == "delivered"
    assert timedelta(days=3) < NOW - datetime.fromisoformat(newest["placed_at"]) < timedelta(days=12)


def test_lines_add_up_to_the_order_and_are_products_of_the_catalogue(story: Story) -> None:
    known = {record.product_id: record for records in catalogue().values() for record in records}
    for row in rows(story, Kind.ORDERS):
        lines = row["lines"]
        assert sum(line["quantity"] * Decimal(line["price"]) for line in lines) == Decimal(row["total"]), row["order_id"]
        assert len({line["product_id"] for line in lines}) == len(lines)
        for line in lines:
            assert Decimal(line["price"]) >= 0
            record = known[line["product_id"]]
            assert (line["name"], line["category"], line["url"]) == (record.name, record.category, WEBSITE + record.path)


@given(pieces=st.integers(1, 60), total=st.integers(0, 60_000), seed=st.integers(0, 1000))
def test_a_basket_always_costs_what_was_paid(pieces: int, total: int, seed: int) -> None:
    lines = basket(Random(seed), "Jazz", pieces, total, WEBSITE)
    assert sum(line["quantity"] for line in lines) == pieces
    assert sum(line["quantity"] * Decimal(line["price"]) for line in lines) == Decimal(total) / 100
    assert all(Decimal(line["price"]) >= 0 and line["quantity"] > 0 for line in lines)


def test_record_pages_have_addresses_of_their_own() -> None:
    paths = [record.path for records in catalogue().values() for record in records]
    assert len(set(paths)) == len(paths) == 240
    assert all(re.fullmatch(r"/records/[a-z0-9-]+", path) for path in paths)


def test_the_newest_order_is_of_yesterday_and_nothing_is_still_to_come(story: Story) -> None:
    placed = [datetime.fromisoformat(row["placed_at"]) for row in rows(story, Kind.ORDERS)]
    assert max(placed).astimezone(ZoneInfo(ZONE)).date() == TODAY - timedelta(days=1)
    midnight = datetime(2026, 11, 25, tzinfo=ZoneInfo(ZONE))
    for row in rows(story, Kind.ORDERS):
        for name in ("placed_at", "delivered_at", "voided_at"):
            assert name not in row or datetime.fromisoformat(row[name]) <= NOW
    assert max(datetime.fromisoformat(row["at"]) for row in rows(story, Kind.EVENTS)) < midnight


def test_orders_have_fates(story: Story) -> None:
    told = rows(story, Kind.ORDERS)
    states = Counter(row["status"] for row in told)
    assert set(states) == {"paid", "delivered", "cancelled", "returned", "refunded"}
    assert states["delivered"] > 0.93 * len(told)
    assert 100 < sum(states[state] for state in ("cancelled", "returned", "refunded")) < 500
    for row in told:
        moments = [datetime.fromisoformat(row[name]) for name in ("placed_at", "delivered_at", "voided_at") if name in row]
        assert moments == sorted(moments), row["order_id"]
        assert ("voided_at" in row) == (row["status"] in ("cancelled", "returned", "refunded"))
        assert ("delivered_at" in row) == (row["status"] in ("delivered", "returned", "refunded"))


def test_people_order_by_day_where_they_live(story: Story) -> None:
    home = {person.id: person.lives_in for person in story.people}
    hours = Counter(order.placed_at.astimezone(home[order.about["customer_id"]]).hour for order in story.orders)
    assert sum(hours[hour] for hour in range(1, 6)) < 0.05 * len(story.orders)
    assert sum(hours[hour] for hour in range(18, 23)) > 0.25 * len(story.orders)
    assert len({order.placed_at.minute for order in story.orders}) == 60


def test_addresses_reach_nobody_real(story: Story) -> None:
    told = rows(story, Kind.CUSTOMERS)
    emails = [row["email"] for row in told if "email" in row]
    assert len(set(emails)) == len(emails) > 2300
    for email in emails:
        assert re.search(r"@(example\.(com|net|org)|[a-z]+\.example)$", email), email
        assert normalise_email(email) == email
    phones = [row["phone"] for row in told if "phone" in row]
    assert len(set(phones)) == len(phones) > 400
    for phone in phones:
        assert RESERVED.fullmatch(phone), phone
        assert normalise_phone(phone, "DE") == phone


def test_people_are_as_different_as_in_a_real_shop(story: Story) -> None:
    told = rows(story, Kind.CUSTOMERS)
    count = len(told)
    assert count == 2357 + 150
    assert len({row.get("country") for row in told}) >= 12
    zones = {str(person.lives_in) for person in story.people}
    assert len(zones) >= 15
    assert all(is_zone(row["zone"]) for row in told if "zone" in row)
    known = Counter(name for row in told for name in row)
    for name, least, most in (
        ("email", 0.9, 0.99), ("phone", 0.15, 0.6), ("first_name", 0.85, 0.97), ("birthday", 0.5, 0.8), ("zone", 0.2, 0.7),
        ("email_marketing", 0.6, 0.9), ("sms_marketing", 0.05, 0.3), ("email_service", 0.002, 0.03),
    ):  # fmt: skip
        assert least < known[name] / count < most, name
    assert 0.5 < sum(row.get("email_marketing") is True for row in told) / count < 0.8
    only_sms = [row for row in told if row.get("sms_marketing") and not row.get("email_marketing")]
    assert len(only_sms) > 20
    assert any(re.search(r"[\u0590-\u05ff]", row.get("first_name", "")) for row in told)
    assert any(re.search(r"[\u0600-\u06ff]", row.get("last_name", "")) for row in told)
    assert any(re.search(r"[\u4e00-\u9fff]", row.get("last_name", "")) for row in told)


def test_nobody_agreed_to_what_they_have_no_address_for(story: Story) -> None:
    for row in rows(story, Kind.CUSTOMERS):
        assert "email" in row or not {"email_marketing", "email_service"} & row.keys()
        assert "phone" in row or "sms_marketing" not in row
        assert datetime.fromisoformat(row["consent_at"]) < NOW


def test_birthdays_are_all_over_the_year_and_some_are_awkward(story: Story) -> None:
    told = [row["birthday"] for row in rows(story, Kind.CUSTOMERS) if "birthday" in row]
    days = Counter(birthday[-5:] for birthday in told)
    assert len(days) >= 350
    assert days["02-29"] >= 1
    assert sum(birthday.startswith("--") for birthday in told) > 200
    assert "1900-01-01" in told
    for birthday in told:
        if not birthday.startswith("--") and birthday != "1900-01-01":
            assert 18 <= (TODAY - date.fromisoformat(birthday)).days / 365.25 < 90


def test_the_same_day_and_seed_tell_the_same_story(story: Story) -> None:
    again = write_story(TODAY, SEED, ZONE, WEBSITE)
    for kind in Kind:
        assert rows(again, kind) == rows(story, kind)
    other = write_story(TODAY, SEED + 1, ZONE, WEBSITE)
    assert rows(other, Kind.CUSTOMERS) != rows(story, Kind.CUSTOMERS)


def test_a_day_later_everything_is_a_day_later(story: Story) -> None:
    later = write_story(TODAY + timedelta(days=1), SEED, ZONE, WEBSITE)
    assert [person.row.get("email") for person in later.people] == [person.row.get("email") for person in story.people]
    assert [order.about for order in later.orders] == [order.about for order in story.orders]
    zone = ZoneInfo(ZONE)
    for one, two in zip(story.orders, later.orders, strict=True):
        assert two.placed_at.astimezone(zone).date() - one.placed_at.astimezone(zone).date() == timedelta(days=1)


def test_a_story_told_in_parts_is_the_same_story(story: Story) -> None:
    middle = NOW - timedelta(days=20)
    first, then = story.rows(Kind.ORDERS, LONG_AGO, middle), story.rows(Kind.ORDERS, middle, NOW)
    assert 0 < len(then) < len(first)
    merged = {row["order_id"]: row for row in first} | {row["order_id"]: row for row in then}
    assert merged == {row["order_id"]: row for row in rows(story, Kind.ORDERS)}
    assert any(row["order_id"] in {one["order_id"] for one in first} for row in then), "nothing arrived meanwhile"
    for kind in (Kind.CUSTOMERS, Kind.EVENTS):
        parts = story.rows(kind, LONG_AGO, middle) + story.rows(kind, middle, NOW)
        assert sorted(map(str, parts)) == sorted(map(str, rows(story, kind)))
