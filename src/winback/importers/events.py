"""Read events: who did what, when, with any properties."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from winback.errors import InputError
from winback.importers.reading import Cell, Reading, RowReader, own_id
from winback.importers.result import Kind
from winback.importers.staging import staged_events
from winback.importers.values import CellError, Texts

_STAGED = ("line", "external_id", "customer", "email", "email_hash", "name", "at", "properties", "weight")


class EventReader(RowReader):
    """Read rows of events."""

    kind = Kind.EVENTS

    def __init__(self, reading: Reading, header: Sequence[str] | None) -> None:
        super().__init__(reading, header)
        self._events = reading.loader(staged_events, _STAGED)

    def cell(self, name: str) -> Cell:
        """Return how one of our columns is read."""
        match name:
            case "event_id":
                return own_id(self.kind)
            case "customer_id":
                return Cell(name, Texts(200), hard=True)
            case "customer_email":
                return Cell(name, self.address)
            case "name":
                return Cell(name, Texts(100), hard=True)
            case "at":
                return Cell(name, self.moments.moment, hard=True)
        free = self.free_cell(name)
        if free is None:
            raise KeyError(name)
        return free

    def check_columns(self, columns: Sequence[str]) -> None:
        """Need who, what and when."""
        found = set(columns)
        lacking = [name for name in ("name", "at") if name not in found]
        if not found & {"customer_id", "customer_email"}:
            lacking.insert(0, "customer_id")
        if lacking:
            raise InputError(
                f"no column of the file is {' or '.join(lacking)}",
                f"say which: --map {lacking[0]}=…; its columns are: {', '.join(self.header or ())}",
            )

    def stage(self, line: int, cells: dict[str, Any], raw: Any) -> None:
        """Write an event into the staging table."""
        customer, email = cells.get("customer_id"), cells.get("customer_email")
        for name in ("name", "at"):
            if name not in cells:
                raise CellError(f"{name} is empty")
        if customer is None:
            if email is None:
                raise CellError("customer_id is empty")
            self.as_id(email)
        email_hash = self.hashed(email) if email is not None else None
        if self.is_erased(customer or email, email_hash):
            self.pass_erased()
            return
        cells.pop("cleared", None)
        properties = self.free_values(cells)
        external_id = cells.get("event_id") or self._digest(customer or f"mailto:{email}", cells, properties)
        at = self.reading.bind(cells["at"])
        self._events.add((line, external_id, customer, email, email_hash, cells["name"], at, properties or "{}", 1))

    @staticmethod
    def _digest(who: str, cells: dict[str, Any], properties: str | None) -> str:
        """Return an id made of all that the event says, so that the same event read twice is one."""
        content = "\x1f".join((who, cells["name"], cells["at"].isoformat(), properties or "{}"))
        return "digest:" + hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def finish(self) -> None:
        """Write what is still held back."""
        self._events.flush()
