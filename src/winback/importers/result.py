"""What an import needs to know of the shop, and what it tells afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

#: Called now and then with rows read, bytes read and bytes in all.
Progress = Callable[[int, int, int], None]


class Kind(StrEnum):
    """What the rows of a file are."""

    CUSTOMERS = "customers"
    ORDERS = "orders"
    EVENTS = "events"


#: What became of one row.
Outcome = Literal["inserted", "updated", "unchanged", "rejected"]


@dataclass(frozen=True)
class ImportSettings:
    """What the shop's settings mean for imported rows."""

    zone: str  # IANA name: local times without an offset, customers of unknown zone
    region: str  # ISO 3166-1 alpha-2: national phone numbers, order of day and month
    currency: str  # ISO 4217: amounts without a currency
    address_key: bytes = field(repr=False)  # of the keyed hashes of addresses
    rejects_folder: Path


@dataclass(frozen=True)
class RowProblem:
    """A row that was refused (`rejected`), or kept without one of its values (a warning)."""

    line: int
    reason: str
    rejected: bool


@dataclass(frozen=True)
class ImportResult:
    """What became of the rows: inserted + updated + unchanged + rejected = rows, always."""

    inserted: int
    updated: int
    unchanged: int
    rejected: int
    rows: int
    customers_created: int
    seconds: float
    rejects_file: Path | None
    warnings: int = 0  # values left out of rows that were kept; each is in the rejects file
    reasons: Mapping[str, int] = field(default_factory=dict)  # how often each reason, rejected or warned, came up
    problems: tuple[RowProblem, ...] = ()  # the first of them, in order; of `write_rows` all
    outcomes: tuple[Outcome, ...] = ()  # of each row, in order; of `write_rows` only
    notes: tuple[str, ...] = ()  # what a person should know of the file as a whole
    columns: Mapping[str, str] = field(default_factory=dict)  # ours = theirs, as said or recognised; none of JSON lines
    encoding: str | None = None  # as detected or said
    format: str | None = None

    @property
    def rows_per_second(self) -> int:
        """Return the speed of the whole import."""
        return round(self.rows / self.seconds) if self.seconds else 0
