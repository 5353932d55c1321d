"""Killed at any point, a folder is still what it was: nobody has to adopt it after a crash."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.installation.conftest import OpenShop
from winback.installation import advance, look, places_of
from winback.installation import card as cards
from winback.installation.fence import examine, new_card
from winback.project import Project
from winback.store import places, writing

KILLS = 6


def test_killed_at_any_moment_a_folder_is_never_taken_for_a_copy(
    engine: Engine, database_url: str, shop: Project, now: datetime
) -> None:
    rng = random.Random(11)
    newest = places_of(engine)[0].generation
    for _ in range(KILLS):
        command = [sys.executable, "-m", "tests.installation.victim", str(shop.root), database_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "here\n"
            time.sleep(rng.uniform(0, 0.05))  # not to wait for something: to meet it anywhere
            victim.kill()
        assert look(engine, shop) is None
        assert advance(engine, shop, now) is None
        generation = places_of(engine)[0].generation
        assert generation > newest
        newest = generation


def cut_off(engine: Engine, shop: Project, now: datetime) -> Path:
    """Leave the folder as it is when a process ends after it has told the database; return the card still to be put in place."""
    card, pending = (shop.root / "var" / name for name in ("installation.json", "installation.json.new"))
    before = shop.root / "var/kept"
    before.hardlink_to(card)
    assert advance(engine, shop, now) is None
    card.rename(pending)
    before.rename(card)
    return pending


def test_cut_off_after_the_database_was_told(engine: Engine, shop: Project, now: datetime) -> None:
    pending = cut_off(engine, shop, now)
    for _ in range(2):
        assert look(engine, shop) is None
        assert advance(engine, shop, now) is None
    assert not pending.exists()


@contextmanager
def unwritable(engine: Engine) -> Iterator[None]:
    """Let the database keep nothing of what it is told."""
    made, gone = {
        "sqlite": (
            "CREATE TRIGGER deaf BEFORE UPDATE ON places BEGIN SELECT RAISE(IGNORE); END",
            "DROP TRIGGER deaf",
        ),
        "postgresql": ("CREATE RULE deaf AS ON UPDATE TO places DO INSTEAD NOTHING", "DROP RULE deaf ON places"),
    }[engine.dialect.name]
    with writing(engine) as connection:
        connection.exec_driver_sql(made)
    try:
        yield
    finally:
        with writing(engine) as connection:
            connection.exec_driver_sql(gone)


def test_cut_off_twice(engine: Engine, shop: Project, now: datetime) -> None:
    """The second time before the database was told: the card that it knows must have been put in place before."""
    cut_off(engine, shop, now)
    with unwritable(engine):
        assert advance(engine, shop, now) is not None
    assert look(engine, shop) is None
    assert advance(engine, shop, now) is None


def test_cut_off_in_the_very_first_pass(engine: Engine, open_shop: OpenShop, now: datetime) -> None:
    project = open_shop("shop")
    assert advance(engine, project, now) is None
    card = project.root / "var/installation.json"
    card.rename(card.with_name("installation.json.new"))
    assert look(engine, project) is None
    assert advance(engine, project, now) is None
    assert card.exists()


@pytest.mark.parametrize("written", ["whole", "in part"])
def test_cut_off_in_the_very_first_pass_before_the_database_was_told(
    engine: Engine, open_shop: OpenShop, now: datetime, written: str
) -> None:
    project = open_shop("shop")
    prepare_next(engine, project, now)
    card = project.root / "var/installation.json"
    pending = card.with_name("installation.json.new")
    if written == "in part":
        pending.write_bytes(pending.read_bytes()[:40])
    assert look(engine, project) is None
    assert advance(engine, project, now) is None
    assert (card.exists(), pending.exists(), len(places_of(engine))) == (True, False, 1)


def prepare_next(engine: Engine, project: Project, now: datetime) -> None:
    """Leave the folder as it is when a process ends before it has told the database, or the database would not be told."""
    project.var.mkdir(exist_ok=True)
    cards.prepare(project.var, new_card(project, examine(engine, project), "a-place", now))


def test_a_folder_that_has_sent_does_not_pass_for_a_new_one_because_it_was_cut_off(
    engine: Engine, shop: Project, now: datetime
) -> None:
    prepare_next(engine, shop, now)
    (shop.root / "var/installation.json").unlink()
    with writing(engine) as connection:
        connection.execute(places.delete())
    assert look(engine, shop) is not None
