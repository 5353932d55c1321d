"""Orders: one row an order, one row a line, or objects with lists of lines; and customers who come with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import inspect

from tests.importers.conftest import Desk
from winback.addresses import hash_address
from winback.errors import InputError
from winback.store import customers, order_lines, orders

PLAIN = """\
order_id,customer_id,placed_at,status,total,currency,delivered_at,attributes.channel
A1,C1,2026-11-01 10:00,paid,"1,234.50",EUR,,web
A2,C1,2026-11-05,delivered,20,USD,2026-11-07T12:00:00+00:00,shop
A3,C2,2026-11-06,cancelled,9.99,,,
"""

LINES = """\
order_id;customer_id;placed_at;status;product_id;product_name;category;quantity;price;url
B1;C1;2026-11-01;paid;P1;Blue mug;mugs;2;4,50;https://shop.example/p1
B1;;;;P2;Tea;tea;1;12,00;
B2;C2;2026-11-02;paid;P1;Blue mug;mugs;1;4,50;
"""


def lines_of(desk: Desk, external_id: str) -> list[tuple[object, ...]]:
    """Return an order's lines."""
    own = desk.order(external_id).id
    names = ("order_id", "position", "product_id", "name", "category", "quantity", "price_minor", "url")
    return sorted(row[1:] for row in desk.all(order_lines, *names) if row[0] == own)


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_first_import_leaves_all_indexes_as_they_were(desk: Desk, dry_run: bool) -> None:
    def known() -> list[Any]:
        inspected = inspect(desk.engine)
        return [sorted(inspected.get_indexes(table.name), key=repr) for table in (customers, orders, order_lines)]

    before = known()
    desk.run("customers", "customer_id,email\nC1,ann@example.com\n", dry_run=dry_run)
    desk.run("orders", "order_id,customer_id,placed_at,product_id,price\nA1,C1,2026-01-05,P1,5\n", dry_run=dry_run)
    assert known() == before
    assert all(before)
    assert len(desk.all(orders, "id")) == (not dry_run)


def test_every_column_of_an_order_is_kept(desk: Desk) -> None:
    result = desk.run("orders", PLAIN)
    assert (result.inserted, result.customers_created, result.warnings) == (3, 2, 0)
    first, second, third = desk.order("A1"), desk.order("A2"), desk.order("A3")
    assert first.placed_at == datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
    assert (first.total_minor, first.currency, first.status, first.attributes) == (123450, "EUR", "paid", {"channel": "web"})
    assert second.placed_at == datetime(2026, 11, 4, 23, 0, tzinfo=UTC)
    assert (second.total_minor, second.currency) == (2000, "USD")
    assert second.delivered_at == datetime(2026, 11, 7, 12, tzinfo=UTC)
    assert (third.currency, third.status, third.voided_at) == ("EUR", "cancelled", None)


def test_customers_who_are_not_there_are_made_with_what_the_order_tells(desk: Desk) -> None:
    desk.run("orders", "order_id,customer_id,customer_email,placed_at,total\nA1,C1,Ann@example.com,2026-11-01,5\n")
    ann = desk.customer("C1")
    assert (ann.email, ann.local_zone, ann.email_marketing) == ("ann@example.com", "Europe/Berlin", None)
    assert ann.email_hash == hash_address("ann@example.com", desk.settings.address_key)


def test_of_several_addresses_of_a_new_customer_the_last_counts_with_its_hash(desk: Desk) -> None:
    desk.run(
        "orders",
        "order_id,customer_id,customer_email,placed_at,total\n"
        "A1,C1,b@example.com,2026-11-01,5\nA2,C1,a@example.com,2026-11-02,5\nA3,C1,,2026-11-03,5\n",
    )
    ann = desk.customer("C1")
    assert ann.email == "a@example.com"
    assert ann.email_hash == hash_address("a@example.com", desk.settings.address_key)


def test_a_customer_is_found_by_address_where_there_is_no_id(desk: Desk) -> None:
    desk.run("customers", "customer_id,email\nC1,ann@example.com\n")
    result = desk.run("orders", "Order,Email,Date,Total\nA1,ANN@example.com,2026-11-01,5\nA2,new@example.com,2026-11-02,7\n")
    assert result.customers_created == 1
    assert desk.order("A1").customer_id == desk.customer("C1").id
    assert desk.order("A2").customer_id == desk.customer("new@example.com").id


def test_the_second_time_changes_nothing(desk: Desk) -> None:
    for text in (PLAIN, LINES):
        desk.run("orders", text)
        before = [desk.all(table, *table.c.keys()) for table in (orders, order_lines, customers)]
        result = replace(desk, now=desk.now + timedelta(days=9)).run("orders", text)
        assert (result.inserted, result.updated, result.unchanged) == (0, 0, 3)
        assert [desk.all(table, *table.c.keys()) for table in (orders, order_lines, customers)] == before


def test_a_newer_file_updates_orders(desk: Desk) -> None:
    desk.run("orders", PLAIN)
    later = replace(desk, now=desk.now + timedelta(days=3))
    result = later.run("orders", "order_id,status,total\nA1,delivered,\nA2,refunded,\nA3,,9.99\n")
    assert (result.updated, result.unchanged) == (2, 1)
    first, second = desk.order("A1"), desk.order("A2")
    assert (first.status, first.delivered_at, first.total_minor) == ("delivered", later.now, 123450)
    assert (second.status, second.voided_at) == ("refunded", later.now)
    assert desk.customer("C1").order_count == 1
    back = replace(desk, now=desk.now + timedelta(days=4)).run("orders", "order_id,status\nA2,paid\n")
    assert back.updated == 1
    assert desk.order("A2").voided_at is None
    assert desk.customer("C1").order_count == 2


def test_an_order_that_changes_hands_changes_both_customers(desk: Desk) -> None:
    desk.run("orders", PLAIN)
    desk.run("orders", "order_id,customer_id\nA1,C2\n")
    assert (desk.customer("C1").order_count, desk.customer("C1").last_order_id) == (1, "A2")
    assert (desk.customer("C2").order_count, desk.customer("C2").spent_minor) == (1, 123450)


def test_rows_of_lines_become_one_order(desk: Desk) -> None:
    result = desk.run("orders", LINES)
    assert (result.inserted, result.rows) == (3, 3)
    first = desk.order("B1")
    assert (first.total_minor, first.currency) == (2100, "EUR")
    assert lines_of(desk, "B1") == [
        (1, "P1", "Blue mug", "mugs", 2, 450, "https://shop.example/p1"),
        (2, "P2", "Tea", "tea", 1, 1200, None),
    ]


def test_lines_that_do_not_follow_each_other_are_still_one_order(desk: Desk) -> None:
    head, first, second, other = LINES.splitlines()
    result = desk.run("orders", "\n".join([head, first, other, second]))
    assert (result.inserted, result.rows) == (3, 3)
    assert [line[1] for line in lines_of(desk, "B1")] == ["P1", "P2"]
    assert desk.order("B1").total_minor == 2100


def test_changed_lines_are_replaced_and_taken_away(desk: Desk) -> None:
    desk.run("orders", LINES)
    head, first, *_ = LINES.splitlines()
    result = desk.run("orders", "\n".join([head, first.replace(";2;", ";3;")]))
    assert (result.updated, result.rows) == (1, 1)
    assert [line[:5:4] for line in lines_of(desk, "B1")] == [(1, 3)]
    assert desk.order("B1").total_minor == 1350
    assert len(lines_of(desk, "B2")) == 1


def test_an_order_whose_lines_the_file_does_not_tell_keeps_them(desk: Desk) -> None:
    desk.run("orders", LINES)
    desk.run("orders", "order_id,status\nB1,delivered\n")
    assert len(lines_of(desk, "B1")) == 2


def test_a_total_that_is_said_goes_before_the_sum_of_lines(desk: Desk) -> None:
    desk.run("orders", "order_id,customer_id,placed_at,total,product_id,price\nB1,C1,2026-11-01,9.00,P1,4.50\nB1,,,,P2,5.50\n")
    assert desk.order("B1").total_minor == 900


JSON = (
    '{"order_id": 7, "customer_id": "C1", "placed_at": "2026-11-01T10:00:00Z", "currency": "USD", "lines": ['
    '{"sku": "P1", "title": "Mug", "qty": 2, "unit_price": 4.50}, {"product_name": "Gift wrap", "price": "1"}]}\n'
)


def test_objects_bring_their_lines_in_a_list(desk: Desk) -> None:
    assert desk.run("orders", JSON, name="orders.jsonl").inserted == 1
    assert desk.order("7").total_minor == 1000
    assert lines_of(desk, "7") == [(1, "P1", "Mug", None, 2, 450, None), (2, "Gift wrap", "Gift wrap", None, 1, 100, None)]
    assert desk.run("orders", JSON, name="orders.jsonl").unchanged == 1


def test_an_empty_list_of_lines_takes_them_away(desk: Desk) -> None:
    desk.run("orders", JSON, name="orders.jsonl")
    assert desk.run("orders", '{"order_id": 7, "lines": []}\n', name="orders.jsonl").updated == 1
    assert lines_of(desk, "7") == []


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('{"sku": "P1", "price": 1}', "lines is not a list"),
        ('["P1"]', "lines: line 1 is not an object"),
        ('[{"price": 1}]', "lines: a line without a product"),
        ('[{"sku": "P1"}]', "price is empty"),
        ('[{"sku": "P1", "price": "cheap"}]', "price is not an amount"),
        ('[{"sku": "P1", "price": 1, "qty": 1.5}]', "lines: quantity is not a whole number"),
    ],
)
def test_a_bad_line_refuses_its_order(desk: Desk, lines: str, reason: str) -> None:
    row = f'{{"order_id": 7, "customer_id": "C1", "placed_at": "2026-11-01", "lines": {lines}}}\n'
    result = desk.run("orders", row, name="orders.jsonl")
    assert result.rejected == 1
    assert result.problems[0].reason.startswith(reason)


def test_what_a_new_order_needs(desk: Desk) -> None:
    text = (
        "order_id,customer_id,placed_at,status,total,currency\n"
        ",C1,2026-11-01,paid,1,EUR\n"
        "A2,,2026-11-01,paid,1,EUR\n"
        "A3,C1,,paid,1,EUR\n"
        "A4,C1,2026-11-01,paid,,EUR\n"
        "A5,C1,yesterday,paid,1,EUR\n"
        "A6,C1,2026-11-01,lost,1,EUR\n"
        "A7,C1,2026-11-01,paid,free,EUR\n"
        "A8,C1,2026-11-01,paid,1,XXQ\n"
        "A9,C1,1970-01-01,paid,1,EUR\n"
        "A10,C1,2026-11-01,paid,1.999,EUR\n"
        "A11,C1,2026-11-01,paid,1e3,EUR\n"
        "A12,,,,,\n"
    )
    result = desk.run("orders", text)
    assert (result.inserted, result.rejected) == (0, 12)
    assert {problem.line: problem.reason.split(":")[0] for problem in result.problems} == {
        2: "order_id is empty",
        3: "customer_id is empty, and the order is not known yet",
        4: "placed_at is empty, and the order is not known yet",
        5: "total is empty, and the order is not known yet",
        6: "placed_at is not a date",
        7: "status is not a status",
        8: "total is not an amount",
        9: "currency is not a currency code",
        10: "placed_at is a placeholder instead of a date",
        11: "total is an amount that can be read in two ways",
        12: "total is not an amount",
        13: "placed_at and customer_id and total are empty, and the order is not known yet",
    }
    assert result.rejects_file is not None
    assert "A12,,,,," in result.rejects_file.read_text()
    assert desk.all(customers, "id") == []


def test_a_file_without_order_ids_is_refused_with_what_to_do(desk: Desk) -> None:
    with pytest.raises(InputError, match="no column of the file is the order's id") as caught:
        desk.run("orders", "customer,date,total\nC1,2026-11-01,5\n")
    assert "[ids]" in caught.value.remedy


def test_products_without_a_price_are_told_before_every_row_is_refused(desk: Desk) -> None:
    text = "Bestellung;Kundennummer;Datum;Betrag;Artikel\nA1;C1;24.11.2026;19,90;Blue mug\n"
    with pytest.raises(InputError, match="the file has a product_name and no column that is its price") as caught:
        desk.run("orders", text)
    assert "--map price=…" in caught.value.remedy
    result = desk.run("orders", text, "attributes.product=Artikel")
    assert (result.inserted, desk.order("A1").attributes) == (1, {"product": "Blue mug"})
    assert desk.run("orders", text.replace("Artikel", "Artikel;Preis").replace("mug", "mug;9,95")).updated == 1
    assert [row[-2] for row in lines_of(desk, "A1")] == [995]


def test_ids_are_made_of_other_columns_and_a_number(desk: Desk) -> None:
    text = "customer,day,total\nC1,20261101,5\nC1,20261101,5\nC2,20261101,7\nC1,20261102,9\n"
    made = '[ids]\norder_id = "{customer}-{day}-{n}"\n'
    result = desk.run("orders", text, made + '[columns]\nplaced_at = "day"\n')
    assert result.inserted == 4
    assert [row[0] for row in desk.all(orders, "external_id")] == [
        "C1-20261101-1", "C1-20261101-2", "C1-20261102-1", "C2-20261101-1",
    ]  # fmt: skip
    assert desk.run("orders", text, made + '[columns]\nplaced_at = "day"\n').unchanged == 4


def test_more_than_nine_orders_of_an_id_are_numbered(desk: Desk) -> None:
    text = "customer,day,total\n" + "C1,20261101,5\n" * 12
    desk.run("orders", text, '[ids]\norder_id = "{customer}%{day}#{n}"\n[columns]\nplaced_at = "day"\n')
    assert {row[0] for row in desk.all(orders, "external_id")} == {f"C1%20261101#{number}" for number in range(1, 13)}


def test_an_id_cannot_be_made_of_an_empty_cell(desk: Desk) -> None:
    result = desk.run("orders", "customer,day,total\n,20261101,5\n", '[ids]\norder_id = "{customer}-{day}"\n')
    assert result.problems[0].reason == "order_id cannot be made: customer or day is empty"


def test_words_of_the_shop_for_states_are_mapped(desk: Desk) -> None:
    rows = [f"A{number},C1,2026-11-01,5,{word}" for number, word in enumerate(["Unterwegs", "Storniert", "On Hold"])]
    text = "\n".join(["order_id,customer_id,placed_at,total,status", *rows])
    result = desk.run("orders", text, '[status]\nunterwegs = "paid"\n')
    assert result.rejected == 0
    assert [row[0] for row in desk.all(orders, "status")] == ["paid", "cancelled", "placed"]
    with pytest.raises(InputError, match="'on its way' is none of our states"):
        desk.run("orders", text, '[status]\nunterwegs = "on its way"\n')


def test_orders_that_are_still_to_come_are_told(desk: Desk) -> None:
    result = desk.run("orders", "order_id,customer_id,placed_at,total\nA1,C1,2027-01-01,5\n")
    assert "the newest order is of 2026-12-31 23:00 UTC, which is still to come" in result.notes


def test_repeated_orders_in_one_file_count_once(desk: Desk) -> None:
    text = "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,5\nA2,C1,2026-11-01,5\nA1,,,6\n"
    result = desk.run("orders", text)
    assert (result.inserted, result.unchanged) == (2, 1)
    assert (desk.order("A1").total_minor, desk.order("A1").attributes) == (600, {})
    assert desk.run("orders", text).unchanged == 3


def test_repeated_objects_bring_the_lines_of_the_last(desk: Desk) -> None:
    other = JSON.replace('"P1"', '"P9"').replace(', {"product_name": "Gift wrap", "price": "1"}', "")
    result = desk.run("orders", JSON + other, name="orders.jsonl")
    assert (result.inserted, result.unchanged) == (1, 1)
    assert [line[1] for line in lines_of(desk, "7")] == ["P9"]
    assert desk.order("7").total_minor == 900


def test_amounts_in_minor_units_and_other_currencies(desk: Desk) -> None:
    head = "order_id,customer_id,placed_at,total,currency\n"
    desk.run("orders", head + "A1,C1,2026-11-01,1177,USD\n", 'amounts = "minor"\n')
    desk.run("orders", head + "A2,C1,2026-11-01,1200,JPY\nA3,C1,2026-11-01,1.234,KWD\n", 'decimal = "."\n')
    assert desk.all(orders, "total_minor", "currency") == [(1177, "USD"), (1200, "JPY"), (1234, "KWD")]


def test_of_an_order_without_a_currency_it_is_the_shops(desk: Desk) -> None:
    desk.run("orders", "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,1\n")
    assert desk.order("A1").currency == "EUR"
    desk.run("orders", "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,2\n", '[constants]\ncurrency = "USD"\n')
    assert (desk.order("A1").currency, desk.order("A1").total_minor) == ("USD", 200)
