"""A desk at which files are imported into an empty database, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, select

from winback.importers import ImportResult, ImportSettings, import_file
from winback.store import customers, events, orders, reading


@dataclass
class Desk:
    """Writes files and imports them."""

    engine: Engine
    settings: ImportSettings
    folder: Path
    now: datetime

    def write(self, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    def run(self, kind: str, content: str | bytes | Path, *maps: str, name: str = "file.csv", **options: Any) -> ImportResult:
        """Import a text, or a file; `maps` are the values of --map, or the content of a map file."""
        path = content if isinstance(content, Path) else self.write(name, content)
        given = [each if "\n" not in each else str(self.write("map.toml", each)) for each in maps]
        result = import_file(self.engine, self.settings, kind, path, **{"mapping": given, "now": self.now, **options})
        assert result.inserted + result.updated + result.unchanged + result.rejected == result.rows
        return result

    def all(self, table: Table, *columns: str) -> list[tuple[Any, ...]]:
        """Return rows of a table, by external id."""
        with reading(self.engine) as connection:
            query = select(*(table.c[name] for name in columns))
            key = table.c.external_id if "external_id" in table.c else table.c.id
            return [tuple(row) for row in connection.execute(query.order_by(key))]

    def customer(self, external_id: str) -> Any:
        """Return a customer's row."""
        return self._one(customers, external_id)

    def order(self, external_id: str) -> Any:
        """Return an order's row."""
        return self._one(orders, external_id)

    def event(self, external_id: str) -> Any:
        """Return an event's row."""
        return self._one(events, external_id)

    def _one(self, table: Table, external_id: str) -> Any:
        with reading(self.engine) as connection:
            return connection.execute(select(table).where(table.c.external_id == external_id)).one()


@pytest.fixture
def settings(tmp_path: Path) -> ImportSettings:
    """Give the settings of a shop in Berlin."""
    return ImportSettings(
        zone="Europe/Berlin", region="DE", currency="EUR", address_key=b"k" * 32, rejects_folder=tmp_path / "rejects"
    )


@pytest.fixture
def desk(engine: Engine, settings: ImportSettings, tmp_path: Path, now: datetime) -> Desk:
    """Give a desk on an empty database."""
    return Desk(engine, settings, tmp_path, now)
