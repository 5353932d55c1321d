"""The shop that dispatchers of these tests work for, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.dispatch.house import House, build

MakeHouse = Callable[..., House]


@pytest.fixture
def make_house(tmp_path: Path, engine: Engine, now: datetime) -> MakeHouse:
    """Give a function that makes the shop, with settings, templates and campaigns changed."""

    def make(**changes: Any) -> House:
        return build(tmp_path / "shop", engine, now, **changes)

    return make


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    """Give the shop as it is."""
    return make_house()
