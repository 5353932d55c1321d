"""A shop in one transaction that is never committed, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from tests.report.worlds import World, make_project


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose writes are undone."""
    with engine.connect() as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def world(connection: Connection, tmp_path: Path, now: datetime) -> World:
    """Give a shop with one campaign of two steps, a holdout of a tenth and a window of ten days."""
    return World(connection, make_project(tmp_path / "shop"), now)
