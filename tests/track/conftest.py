"""A shop on both databases, and one on PostgreSQL or SQLite alone where the database does not matter."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.track.shops import Shop, make_project


@pytest.fixture
def shop(engine: Engine, tmp_path: Path, now: datetime) -> Shop:
    """Give a small shop with a database, on SQLite and on PostgreSQL."""
    return Shop(make_project(tmp_path / "shop"), engine, now)
