"""`winback simulate`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from click.testing import Result
from freezegun import freeze_time
from sqlalchemy import Engine
from typer.testing import CliRunner

from tests.project.builder import campaign, email_step, write_shop
from tests.rows import add_customer
from winback import clock
from winback.cli import simulate
from winback.errors import InputError, ProjectError
from winback.simulation import Assumptions
from winback.store import writing

#: Models are made before the clock is frozen: pydantic knows nothing of false dates.
USUAL = Assumptions()

#: What is played does not depend on the database.
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
def shop(tmp_path: Path, engine: Engine) -> Path:
    """Give a shop with three people, and a birthday campaign that is switched off."""
    with freeze_time("2026-11-24 10:00"), writing(engine) as connection:
        for day in (25, 26, 27):
            add_customer(connection, f"C{day}", clock.now() - timedelta(days=9), birth_month=11, birth_day=day)
    birthday = campaign(enabled=False, audience={"preset": "birthday"}, schedule={"at": "09:00"}, steps=[email_step()])
    return write_shop(tmp_path / "shop", campaigns={"birthday": birthday}, settings={"shop": {"zone": "Europe/Berlin"}})


def _run(shop: Path, database_url: str, *arguments: str) -> Result:
    app = typer.Typer()
    simulate.register(app)
    with freeze_time("2026-11-24 10:00"):
        return CliRunner().invoke(app, ["--shop", str(shop), *arguments], env={"WINBACK_DATABASE_URL": database_url})


def test_a_campaign_that_is_switched_off_is_played_when_it_is_named(shop: Path, database_url: str) -> None:
    assert "Nothing would be sent." in _run(shop, database_url, "--days", "2").output
    done = _run(shop, database_url, "--days", "3", "--campaign", "birthday", "-o", "json")
    assert done.exit_code == 0, done.output
    played = json.loads(done.stdout)
    assert [(day["on"], day["campaign"], day["count"]) for day in played["volume"]] == [
        ("2026-11-25", "birthday", 1),
        ("2026-11-26", "birthday", 1),
    ]


def test_the_first_days_may_be_left_out_and_the_rest_printed_as_csv(shop: Path, database_url: str) -> None:
    done = _run(shop, database_url, "--from", "2026-11-26", "--to", "2026-11-26", "--campaign", "birthday", "-o", "csv")
    assert done.stdout.splitlines() == ["on,campaign,step,channel,count", "2026-11-26,birthday,hello,email,1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2026-11-23"), "2026-11-23 is over"),
        (("--from", "2026-11-26", "--to", "2026-11-25"), "2026-11-25 is before 2026-11-26"),
        (("--to", "2026-11-25", "--days", "2"), "--to and --days are both given"),
        (("--campaign", "brithday"), "there is no campaign 'brithday'"),
        (("--assume", "nowhere.toml"), "there is no file nowhere.toml"),
    ],
)
def test_what_cannot_be_played_is_refused(shop: Path, database_url: str, arguments: tuple[str, ...], said: str) -> None:
    error = _run(shop, database_url, *arguments).exception
    assert isinstance(error, InputError)
    assert said in error.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[email]\nopen = 40", 'assume.toml:2: email.open: 40 is not a share of people; write "40%"'),
        ("[email]\nclicks = '4%'", "assume.toml:2: email.clicks: unknown key; did you mean 'click'?"),
        ("[email]\norder = '9%'", "for email more people order than click (9.00% and 4.00%)"),
        ("[campaigns.thanks.sms]\nclick = '9%'", "assume.toml:1: campaigns.thanks: there is no campaign 'thanks'"),
    ],
)
def test_what_is_wrong_with_assumptions_is_said_with_its_place(
    shop: Path, database_url: str, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "assume.toml"
    file.write_text(text)
    error = _run(shop, database_url, "--assume", str(file)).exception
    assert isinstance(error, ProjectError)
    assert said in str(error)
