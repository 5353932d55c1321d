"""Killed at any point, a folder is still what it was: nobody has to adopt it after a crash."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from tests.installation.conftest import OpenShop
from winback.installation import advance, look, places_of
from winback.project import Project

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


def test_cut_off_after_the_database_was_told(engine: Engine, shop: Project, now: datetime) -> None:
    card, pending = (shop.root / "var" / name for name in ("installation.json", "installation.json.new"))
    before = shop.root / "var/kept"
    before.hardlink_to(card)
    assert advance(engine, shop, now) is None
    card.rename(pending)
    before.rename(card)
    for _ in range(2):
        assert look(engine, shop) is None
        assert advance(engine, shop, now) is None
    assert not pending.exists()


def test_cut_off_in_the_very_first_pass(engine: Engine, open_shop: OpenShop, now: datetime) -> None:
    project = open_shop("shop")
    assert advance(engine, project, now) is None
    card = project.root / "var/installation.json"
    card.rename(card.with_name("installation.json.new"))
    assert look(engine, project) is None
    assert advance(engine, project, now) is None
    assert card.exists()
