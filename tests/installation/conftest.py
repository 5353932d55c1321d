"""Shops for tests of the fence, on both databases: a folder that has sent, and others that would like to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from tests.scheduler.shops import WAKE, add_sleepers, make_shop
from winback.project import Project
from winback.scheduler import run_pass
from winback.store import places, writing

OpenShop = Callable[[str], Project]


@pytest.fixture
def open_shop(engine: Engine, database_url: str, tmp_path: Path) -> OpenShop:
    """Give a function that makes a shop's folder by its name, all of them on one database."""
    return lambda name: make_shop(tmp_path / name, database_url, {"wake": WAKE})


@pytest.fixture
def shop(engine: Engine, open_shop: OpenShop, now: datetime) -> Project:
    """Give the folder that has sent two letters from the database."""
    project = open_shop("shop")
    add_sleepers(engine, 2, now)
    assert run_pass(engine, project, now, "test").sent == 2
    return project


def placed(project: Project, root: Path) -> Project:
    """Return the shop as it is in another folder."""
    return replace(project, root=root)


def change_row(engine: Engine, **values: Any) -> None:
    """Let the database remember another machine, another run of it, another file, or another database than this one."""
    with writing(engine) as connection:
        connection.execute(update(places).values(values))
