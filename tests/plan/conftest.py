"""A shop whose campaigns a test writes down."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project.builder import write_shop
from winback.project import Project, load_project

ShopMaker = Callable[..., Project]


@pytest.fixture
def make_shop(tmp_path: Path, database_url: str) -> ShopMaker:
    """Write a shop's files, with a body for every template its campaigns name, and load it."""

    def make(**campaigns: str) -> Project:
        written = {name: tomllib.loads(text) for name, text in campaigns.items()}
        # The URL may hold a password, which no file may.
        root = write_shop(tmp_path / "shop", campaigns=written)
        return load_project(root, environ={"WINBACK_DATABASE_URL": database_url})

    return make
