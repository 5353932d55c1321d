"""The demo's story as told on one day, and a shop to fill."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.web.conftest import browser
from winback.project import Project, load_project
from winback.starter import copy_shop
from winback.starter.filling import SEED
from winback.starter.story import Story, write_story

__all__ = ["browser"]

#: The day on which the story is told; the newest order is of the day before.
TODAY = date(2026, 11, 25)

ZONE = "Europe/Berlin"
WEBSITE = "https://halfnote.example"


@pytest.fixture(scope="package")
def story() -> Story:
    """Give the whole story of the demo shop."""
    return write_story(TODAY, SEED, ZONE, WEBSITE)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Give the folder of a new shop."""
    copy_shop(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def project(shop: Path) -> Project:
    """Give a new shop's files."""
    return load_project(shop)
