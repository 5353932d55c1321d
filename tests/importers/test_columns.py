"""Rows that are read by their columns mean what the same rows mean when each is read by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Table

from winback.addresses import hash_address
from winback.importers.customers import CustomerReader
from winback.importers.files import Block
from winback.importers.mapping import ImportMap
from winback.importers.orders import OrderReader
from winback.importers.reading import Reading, RowReader
from winback.importers.result import ImportSettings
from winback.importers.tally import Tally
from winback.store.erasure import erased_id

KEY = b"k" * 32
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


class Sheet:
    """Keeps what a reader stages: of each row what is not nothing, nor what the staging table fills in by itself."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, list[tuple[str, Any]]]] = []

    def loader(self, table: Table, columns: Sequence[str]) -> Any:
        """Return what takes rows of a table."""
        sheet = self

        class Taker:
            def add(self, row: tuple[Any, ...]) -> None:
                told = dict(zip(columns, row, strict=True))
                told.pop("number", None)
                usual = {"weight": 1, "has_lines": False}
                kept = [(name, value) for name, value in told.items() if value is not None and value != usual.get(name, ())]
                sheet.rows.append((table.name, sorted(kept)))

            def extend(self, rows: Sequence[tuple[Any, ...]]) -> None:
                for row in rows:
                    self.add(row)

            def flush(self) -> None:
                pass

        return Taker()


def read(kind: type[RowReader], header: list[str], rows: list[list[str]], chosen: ImportMap, by_columns: bool) -> Any:
    """Return all that comes of reading some rows, and whether any was read by its columns."""
    sheet, tally = Sheet(), Tally(None, shown=None)
    reading = Reading(
        settings=ImportSettings(
            zone="Europe/Berlin", region="DE", currency="EUR", address_key=KEY, rejects_folder=Path("rejects")
        ),
        map=chosen,
        now=NOW,
        source="import:file.csv",
        delimiter=",",
        bind=lambda moment: moment,
        erased_ids=frozenset({erased_id("C9", KEY)}),
        erased_hashes=frozenset({hash_address("gone@example.com", KEY), hash_address("+4930901820", KEY)}),
        tally=tally,
        loader=sheet.loader,
    )  # fmt: skip
    reader = kind(reading, header)
    lines = range(2, len(rows) + 2)
    taken = [False]
    if by_columns:
        stage = reader.stage_columns
        reader.stage_columns = lambda *given: taken.append(stage(*given)) or taken[-1]  # type: ignore[method-assign,func-returns-value]
        reader.read_block(Block(lines, rows, is_even=True))
    else:
        for line, row in zip(lines, rows, strict=True):
            reader.read(line, row)
    reader.finish()
    told = (tally.rows, tally.rejected, tally.warnings, tally.unchanged, tally.reasons, tally.notes, tally.problems)
    return (sorted(sheet.rows, key=repr), told, reader.notes(), reader.clears), any(taken)


def cells(*usual: str) -> st.SearchStrategy[str]:
    """Return cells: mostly what is usual there, sometimes what people and programs write instead."""
    odd = ("", " ", "NULL", "x\x00y", "\ud800", "é" * 300, "y" * 10_001, "true", "1.0", "01", "nan", "٣")
    spaced = st.sampled_from(usual).map(lambda text: f" {text} ")
    return st.one_of(*[st.sampled_from(usual)] * 8, spaced, st.sampled_from(odd))


def tables(needed: dict[str, st.SearchStrategy[str]], more: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[Any]:
    """Return headers with rows."""

    def filled(names: list[str]) -> st.SearchStrategy[Any]:
        row = st.tuples(*((needed | more)[name] for name in names)).map(list)
        return st.tuples(st.just(names), st.lists(row, min_size=1, max_size=6))

    names = st.lists(st.sampled_from(sorted(more)), unique=True)
    return names.flatmap(lambda chosen: st.permutations([*needed, *chosen])).flatmap(filled)


MOMENTS = cells(
    "2026-01-05", "20260105", "2026-01-05 09:30:01+00", "2026-03-29 02:30", "2026-01-05T09:30:00Z", "05.01.2026",
    "5/1/2026 9:30 PM", "2026-01-05 09:30:00 +0200", "1970-01-01", "2027-01-01", "2026-02-30",
)  # fmt: skip
#: Too long for an id.
LONG = "b" * 64 + "@" + "c." * 60 + "example"

PEOPLE = tables(
    {"customer_id": cells("C1", "C2", "C9", "Ü1")},
    {
        "email": cells("ann@example.com", "Ann@Example.com", "gone@example.com", "ann@bücher.example", "ann", LONG),
        "phone": cells("+4915123456789", "030 901820", "+49 (0)30 901820", "+447400123456", "+12127365000", "+999", "0664 123"),
        "name": cells("Ann Miller", "Miller, Ann", "Ann", ","),
        "first_name": cells("Ann", "Zoë"),
        "last_name": cells("Miller"),
        "locale": cells("de-AT", "de_DE.UTF-8", "xx-yy"),
        "country": cells("AT", "Austria", "Narnia"),
        "zone": cells("Europe/Vienna", "Mars/North"),
        "birthday": cells("1985-11-24", "--02-29", "1900-01-01", "24.11.", "01/01/1980", "3/4/1981", "1985-02-30", "1980-01-01"),
        "email_marketing": cells("yes", "no", "pending", "perhaps"),
        "sms_service": cells("1", "0"),
        "consent_at": MOMENTS,
        "consent_source": cells("till", "s" * 100),
        "consent_wording": cells("v2"),
        "attributes.points": cells("12", "007", "1.5", "yes", "1", "1.0"),
        "attributes.tier": cells("gold", "true", "1"),
        "unknown": cells("x"),
    },
)  # fmt: skip
ADDRESSES = tables({"email": cells("ann@example.com", "bob@example.com", "gone@example.com", LONG)}, {"city": cells("Ulm")})
PURCHASES = tables(
    {"order_id": cells("A1", "A2", "A3"), "placed_at": MOMENTS, "total": cells("12.50", "12.5", "1,234", "(3)", "1,50 €", "x")},
    {
        "customer_id": cells("C1", "C2", "C9"),
        "customer_email": cells("ann@example.com", "gone@example.com", "ann"),
        "status": cells("paid", "Shipped", "in transit", "lost"),
        "currency": cells("EUR", "usd", "JPY", "XXY"),
        "delivered_at": MOMENTS,
        "voided_at": MOMENTS,
        "attributes.branch": cells("North", "1", "true"),
        "attributes": cells("{}"),
    },
)  # fmt: skip
CUSTOMER_MAPS = [
    {},
    {"birthday": "%d.%m.%Y", "types": {"attributes.tier": "text", "attributes.points": "number"}},
    {"constants": {"country": "AT", "attributes.shop": 7, "email_marketing": True, "consent_source": "till"}},
    {"empty": "clear"},
    {"ids": {"customer_id": "{customer_id}-x"}},
]
ORDER_MAPS = [
    {},
    {"decimal": ",", "round": True, "zone": "America/New_York"},
    {"constants": {"currency": "USD", "status": "paid", "attributes.shop": "web"}},
    {"amounts": "minor", "date": "%d.%m.%Y"},
    {"ids": {"order_id": "{order_id}-{placed_at}-{n}"}},
    {"status": {"lost": "cancelled"}},
]


def is_the_same(kind: type[RowReader], table: tuple[list[str], list[list[str]]], chosen: dict[str, Any]) -> bool:
    """Compare both ways of reading; say whether any row was read by its columns."""
    header, rows = table
    by_columns, taken = read(kind, header, rows, ImportMap(**chosen), by_columns=True)
    by_rows, _ = read(kind, header, rows, ImportMap(**chosen), by_columns=False)
    assert by_columns == by_rows
    return taken


@settings(max_examples=200, deadline=None)
@given(PEOPLE, st.sampled_from(CUSTOMER_MAPS))
def test_customers(table: Any, chosen: dict[str, Any]) -> None:
    assert is_the_same(CustomerReader, table, chosen) is (chosen != {"empty": "clear"})


@given(ADDRESSES)
def test_a_list_of_addresses(table: Any) -> None:
    assert is_the_same(CustomerReader, table, {})


@settings(max_examples=200, deadline=None)
@given(PURCHASES, st.sampled_from(ORDER_MAPS))
def test_orders(table: Any, chosen: dict[str, Any]) -> None:
    assert is_the_same(OrderReader, table, chosen) is any(name in table[0] for name in ("customer_id", "customer_email"))


@pytest.mark.parametrize("column", ["product_id", "lines"])
def test_lines_of_orders(column: str) -> None:
    header = ["order_id", "customer_id", "placed_at", "total", "price", column]
    assert not is_the_same(OrderReader, (header, [["A1", "C1", "2026-01-05", "5", "5", "P1"]]), {"columns": {column: column}})
