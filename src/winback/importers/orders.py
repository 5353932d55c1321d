"""Read orders: one row an order, one row a line of an order, or JSON objects with their lines in a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from winback.errors import InputError
from winback.importers.columns import Column, Columns
from winback.importers.files import raw_text
from winback.importers.merging import merge_values
from winback.importers.reading import Cell, Reading, RowReader, own_id
from winback.importers.result import Kind
from winback.importers.staging import Loader, staged_lines, staged_orders
from winback.importers.values import LARGEST_AMOUNT, CellError, Texts, exponent, parse_whole
from winback.store import OrderStatus

_STAGED = (
    *("line", "external_id", "customer", "email", "email_hash", "placed_at", "status", "total_minor", "currency"),
    *("delivered_at", "voided_at", "attributes", "cleared", "has_lines", "raw", "weight"),
)

_as_staged = itemgetter(*_STAGED)

#: What shops call the states of an order.
_STATUS_WORDS = {
    OrderStatus.PLACED: "placed new open pending processing on-hold on_hold unpaid authorized offen neu",
    OrderStatus.PAID: "paid partially_paid shipped fulfilled sent in_transit bezahlt versendet payée",
    OrderStatus.DELIVERED: "delivered completed complete done closed geliefert zugestellt abgeschlossen",
    OrderStatus.CANCELLED: "cancelled canceled voided void failed expired declined storniert annulée",
    OrderStatus.REFUNDED: "refunded erstattet remboursée",
    OrderStatus.RETURNED: "returned retourniert zurückgesandt",
}
_STATUSES = {word: status for status, words in _STATUS_WORDS.items() for word in words.split()}

#: Columns that say something of one line; a file with any of them has one row a line.
_LINE_COLUMNS = ("product_id", "product_name", "category", "quantity", "price", "url")


class OrderReader(RowReader):
    """Read rows of orders and their lines."""

    kind = Kind.ORDERS

    def __init__(self, reading: Reading, header: Sequence[str] | None) -> None:
        super().__init__(reading, header)
        self.line_mode = any(name in self.columns for name in _LINE_COLUMNS)
        self._orders = reading.loader(staged_orders, _STAGED)
        self._lines = reading.loader(
            staged_lines, ("line", "position", "product_id", "name", "category", "quantity", "price_minor", "url")
        )  # fmt: skip
        # Rows of one order mostly follow each other: the one at hand is held back until another one comes.
        self._held: dict[str, Any] | None = None
        self._plain: Loader | None = None  # of rows that are staged by their columns

    def prepare(self) -> None:
        """Make the readers of the columns."""
        self._readers: dict[str, tuple[Callable[[Any], Any], bool]] = {
            "customer_id": (Texts(200), True),
            "customer_email": (self.address, False),
            "placed_at": (self.moments.parse, True),
            "status": (lru_cache(maxsize=1024)(self._status), True),
            "total": (Texts(100), True),
            "currency": (_currency, True),
            "delivered_at": (self.moments.parse, False),
            "voided_at": (self.moments.parse, False),
            "product_id": (Texts(200), True),
            "product_name": (Texts(500), True),
            "category": (Texts(200), False),
            "quantity": (parse_whole, True),
            "price": (Texts(100), True),
            "url": (Texts(2000), False),
        }
        self._own_statuses = {theirs.casefold(): _own_status(theirs, ours) for theirs, ours in self.reading.map.status.items()}

    def cell(self, name: str) -> Cell:
        """Return how one of our columns is read."""
        if name == "order_id":
            return own_id(self.kind)
        if name == "lines":
            return Cell(name, _list, hard=True, takes=(list, dict))
        free = self.free_cell(name)
        if free is not None:
            return free
        read, hard = self._readers[name]
        return Cell(name, read, hard=hard)

    def check_columns(self, columns: Sequence[str]) -> None:
        """Need the order's id; what a new order needs besides is asked of each row, for a file may only update."""
        if "order_id" not in columns:
            raise InputError(
                "no column of the file is the order's id",
                "say which one: --map order_id=…, or make ids of other columns in a map file (docs/import.md, [ids]); "
                f"its columns are: {', '.join(self.header or ())}",
            )
        product = next((name for name in ("product_id", "product_name") if name in columns), None)
        if product is not None and "price" not in columns:
            raise InputError(
                f"the file has a {product} and no column that is its price",
                "say which one: --map price=…, or keep the product as a field of your own: --map attributes.product=…; "
                f"its columns are: {', '.join(self.header or ())}",
            )

    def stage(self, line: int, cells: dict[str, Any], raw: Any) -> None:
        """Write an order and its lines into the staging tables."""
        external_id = cells.get("order_id")
        if external_id is None:
            raise CellError("order_id is empty")
        currency = cells.get("currency")
        order_currency = currency or self.reading.settings.currency
        email = cells.get("customer_email")
        if email is not None and "customer_id" not in cells:
            self.as_id(email)
        email_hash = self.hashed(email) if email is not None else None
        if self.is_erased(cells.get("customer_id") or email, email_hash):
            self.pass_erased()
            return
        lines = self._row_lines(cells, order_currency)
        total = self._amount("total", cells["total"], order_currency) if "total" in cells else None
        if total is not None and currency is None:
            currency = order_currency
        order = {
            "line": line, "external_id": external_id, "customer": cells.get("customer_id"), "email": email,
            "email_hash": email_hash, "placed_at": cells.get("placed_at"), "status": cells.get("status"), "total_minor": total,
            "currency": currency, "delivered_at": cells.get("delivered_at"), "voided_at": cells.get("voided_at"),
            "attributes": self.free_values(cells), "cleared": cells.get("cleared"),
            "has_lines": lines is not None, "raw": None, "weight": 1,
        }  # fmt: skip
        if self.line_mode:
            self._hold(order, lines or [], raw)
        else:
            self._write(order, lines or [], [raw])

    def stage_columns(self, columns: Columns, found: dict[str, Column]) -> bool:
        """Write orders that have all that a new order needs, in files that have one row an order."""
        who = found.get("customer_id", found.get("customer_email"))
        if self.line_mode or who is None or not {"placed_at", "total"} <= found.keys():
            return False
        columns.need(found["order_id"], who, found["placed_at"], found["total"])
        own = self.reading.settings.currency
        currencies = [each or own for each in found.get("currency", [own] * len(who))]
        staged = {
            "external_id": found["order_id"],
            "placed_at": found["placed_at"],
            "total_minor": columns.apply(self.amounts.parse, [each or "" for each in found["total"]], currencies),
            "currency": currencies,
        }
        staged |= {name: found[name] for name in ("status", "delivered_at", "voided_at") if name in found}
        if "customer_id" in found:
            staged["customer"] = who
        else:
            columns.apply(self.as_id, [each or "" for each in who])
        hashes = [self.hashes(found["customer_email"])] if "customer_email" in found else []
        if hashes:
            staged |= {"email": found["customer_email"], "email_hash": hashes[0]}
        self.leave_erased(columns, who, *hashes)
        attributes = self.free_columns(found)
        if attributes is not None:
            staged["attributes"] = attributes
        if self._plain is None:
            self._plain = self.reading.loader(staged_orders, ("line", *staged))
        self._plain.extend(columns.rows(staged))
        return True

    def _row_lines(self, cells: dict[str, Any], currency: str) -> list[tuple[Any, ...]] | None:
        """Return the lines that a row brings (None: it says nothing of lines), each without its order's line and position."""
        listed = cells.get("lines")
        if listed is not None:
            return [self._listed_line(number, each, currency) for number, each in enumerate(listed, 1)]
        if not any(name in cells for name in ("product_id", "product_name")):
            return None
        return [self._line(cells, currency)]

    def _line(self, cells: dict[str, Any], currency: str) -> tuple[Any, ...]:
        product_id = cells.get("product_id") or cells.get("product_name")
        if "price" not in cells:
            raise CellError("price is empty")
        price = self._amount("price", cells["price"], currency)
        if abs(price * cells.get("quantity", 1)) > LARGEST_AMOUNT:
            raise CellError("price is an amount beyond reason", f"{cells['price']!r} times {cells['quantity']}")
        name = cells.get("product_name") or product_id
        return (str(product_id)[:200], name, cells.get("category"), cells.get("quantity", 1), price, cells.get("url"))

    def _listed_line(self, number: int, listed: Any, currency: str) -> tuple[Any, ...]:
        if not isinstance(listed, dict):
            raise CellError(f"lines: line {number} is not an object")
        cells: dict[str, Any] = {}
        for name, (read, hard) in self._readers.items():
            if name not in _LINE_COLUMNS:
                continue
            given = next((listed[each] for each in (name, *_IN_LINES.get(name, ())) if listed.get(each) not in (None, "")), None)
            if given is None or isinstance(given, dict | list | bool):
                continue
            try:
                cells[name] = read(str(given).strip())
            except CellError as error:
                if hard:
                    raise CellError(f"lines: {name} {error.told}", f"line {number}: {error.detail}") from None
        if not {"product_id", "product_name"} & cells.keys():
            raise CellError("lines: a line without a product", f"line {number}")
        return self._line(cells, currency)

    def _amount(self, name: str, text: str, currency: str) -> int:
        try:
            return self.amounts.parse(text, currency)
        except CellError as error:
            raise CellError(f"{name} {error.told}", error.detail) from None

    def _hold(self, order: dict[str, Any], lines: list[tuple[Any, ...]], raw: Any) -> None:
        held = self._held
        if held is not None and held["order"]["external_id"] == order["external_id"]:
            merge_values(held["order"], order)
            held["lines"] += lines
            held["raw"].append(raw)
            return
        self._release()
        self._held = {"order": order, "lines": lines, "raw": [raw]}

    def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._write(held["order"], held["lines"], held["raw"])

    def _write(self, order: dict[str, Any], lines: list[tuple[Any, ...]], raw: list[Any]) -> None:
        nobody = order["customer"] is None and order["email"] is None
        if nobody or order["placed_at"] is None or (order["total_minor"] is None and not lines):
            # Enough to update a known order, not to make a new one; which it is, is known later.
            order["raw"] = "\n".join(raw_text(row, self.reading.delimiter) for row in raw)
        self._orders.add(_as_staged(order))
        for position, line in enumerate(lines, 1):
            self._lines.add((order["line"], position, *line))

    def finish(self) -> None:
        """Write what is still held back."""
        self._release()
        if self._plain is not None:
            self._plain.flush()
        self._orders.flush()
        self._lines.flush()

    def _status(self, text: str) -> str:
        own = self._own_statuses.get(text.casefold()) or _STATUSES.get(text.casefold().replace(" ", "_"))
        if own is None:
            known = ", ".join(OrderStatus)
            raise CellError("not a status", f"{text!r}; map it in [status] of a map file to one of: {known}")
        return own.value


#: Other keys that a line of a JSON order may have for the same.
_IN_LINES = {"product_id": ("sku", "id"), "product_name": ("name", "title"), "quantity": ("qty",), "price": ("unit_price",)}


@lru_cache(maxsize=1024)
def _currency(text: str) -> str:
    code = text.upper()
    exponent(code)
    return code


def _own_status(theirs: str, ours: str) -> OrderStatus:
    try:
        return OrderStatus(ours)
    except ValueError:
        raise InputError(f"status.{theirs}: {ours!r} is none of our states", f"use one of: {', '.join(OrderStatus)}") from None


def _list(value: Any) -> Any:
    if not isinstance(value, list):
        raise CellError("not a list")
    return value
