"""`winback report`: the same numbers as a table, as data and as a file."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.worlds import World, make_project
from winback.cli import app
from winback.errors import InputError
from winback.report import ROW_KEYS
from winback.store import MessageState, open_engine, writing
from winback.store.migrate import migrate

DAY = timedelta(days=1)


@pytest.fixture
def shop(tmp_path: Path, now: datetime) -> Path:
    """Give the folder of a shop with a campaign that works."""
    root = tmp_path / "shop"
    project = make_project(root)
    engine = open_engine(project.settings.database.url, root=root)
    migrate(engine)
    with writing(engine) as connection:
        world = World(connection, project, now)
        world.crowd(300, 60, now - 40 * DAY)
        world.crowd(100, 1, now - 40 * DAY, held_out=True)
        world.message(world.enroll(now - DAY), now - DAY, state=MessageState.SKIPPED, reason="no_consent")
        world.attribute()
    engine.dispose()
    return root


def run(shop: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["report", *arguments, "--shop", str(shop), "--at", "2026-11-24"])
    if done.exception:
        raise done.exception
    return done.stdout


def test_the_table_names_denominators_verdict_and_reasons(shop: Path) -> None:
    text = run(shop)
    assert "Half Note, up to 24 November 2026, 00:00 (America/New_York)" in text
    assert "opened: of the e-mails sent and not bounced" in text
    assert "wake: It works. Of the 300 people written to, 20.0% ordered; of the 100 people left alone, 1.0%." in text
    assert "wake, not sent: 1 no_consent" in text
    assert "Orders after a message, each once: 60, $1,200.00." in text


def test_json_and_csv_are_the_data(shop: Path) -> None:
    found = json.loads(run(shop, "wake", "-o", "json"))
    assert found["campaigns"][0]["total"]["sent"] == 300
    assert found["campaigns"][0]["uplift"]["verdict"] == "more"
    rows = list(csv.DictReader(io.StringIO(run(shop, "-o", "csv"))))
    assert tuple(rows[0]) == ROW_KEYS
    assert [(row["step"], row["planned"], row["sent"], row["revenue"]) for row in rows] == [
        ("", "301", "300", "120000 USD"),
        ("hello", "301", "300", "120000 USD"),
        ("offer", "0", "0", ""),
    ]


def test_the_file_is_written_where_it_was_asked_for(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.html"
    run(shop, "--html", str(file))
    assert "It works." in file.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_and_a_campaign_that_is_not_there(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run(shop, "--html", str(tmp_path / "file" / "report.html"))
    with pytest.raises(InputError, match="there is no campaign 'sleep'") as caught:
        run(shop, "sleep")
    assert caught.value.exit_code == 2


def test_a_shop_without_campaigns_has_nothing_to_report(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    root.mkdir()
    (root / "config.toml").write_text('[shop]\nname = "Half Note"\n')
    assert run(root) == "Nothing to report yet: there is no campaign.\n"
