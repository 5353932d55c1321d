"""Tables of cases: odd dates, precedence, caps and cooldowns, each played from the first look to the last message."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.project.builder import campaign, email_step, sms_step, write_shop
from winback.project import load_project
from winback.rehearsal import Outcome, find_files, read_tests, rehearse

CASES = Path(__file__).parents[1] / "cases" / "policy"


def _yearly(*steps: dict[str, Any], at: str = "09:00", **audience: Any) -> dict[str, Any]:
    return campaign(
        audience={"preset": "birthday", **audience}, schedule={"at": at}, steps=list(steps) or [email_step("greeting")]
    )


def _on(*days: date, priority: int = 50, at: str = "09:00", step: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    audience = {"preset": "everyone", "on": list(days)}
    return campaign(priority=priority, audience=audience, schedule={"at": at}, steps=[step or email_step("letter")], **changes)


MAY_4 = date(2027, 5, 4)

CAMPAIGNS = {
    "feb28": _yearly(),
    "mar1": _yearly(leap_day="mar1"),
    "never": _yearly(leap_day="skip"),
    "night": _yearly(at="02:30"),
    "teaser": _yearly(email_step("teaser"), email_step("reminder", after="7d"), offset="-3d"),
    "first": _on(MAY_4, priority=10),
    "second": _on(MAY_4, priority=20),
    "third": _on(MAY_4, priority=30),
    "impatient": _on(MAY_4, priority=40, limits={"on_capped": "skip"}),
    "daily": _on(MAY_4, date(2027, 5, 5), date(2027, 5, 6), limits={"on_capped": "replace"}),
    "text": _on(MAY_4, at="12:00", step=sms_step("text")),
    "late_text": _on(MAY_4, at="22:00", step=sms_step("text")),
    "ascension": _on(date(2027, 5, 6), at="10:00", step=sms_step("text")),
    "whitsun": _on(date(2027, 5, 16), at="10:00", step=sms_step("text")),
    "early": _on(MAY_4, at="07:00", step=sms_step("text")),
    "saturday": _on(date(2027, 5, 8), at="14:00"),
    "sunday": _on(date(2027, 5, 9)),
    "twice": campaign(
        audience={"preset": "everyone", "on": [date(2027, 5, 6)]},
        schedule={"at": "10:00"},
        steps=[sms_step("text"), sms_step("again", after="2d")],
    ),
    "thanked": campaign(audience={"preset": "after_order", "after": "placed"}, steps=[sms_step("text", after="24h")]),
    "ordered": campaign(
        purpose="service", audience={"preset": "after_order", "after": "placed"}, steps=[sms_step("text", after="24h")]
    ),
    "cooled": _on(MAY_4, date(2027, 5, 6), date(2027, 5, 14), limits={"cooldown": "7d"}),
    "service": campaign(
        purpose="service",
        priority=5,
        audience={"preset": "after_order", "after": "placed"},
        steps=[email_step("thanks", after="24h")],
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Play all cases, and give what each came to by its name."""
    settings = {"shop": {"zone": "Europe/Berlin", "region": "DE"}}
    root = write_shop(tmp_path_factory.mktemp("policy"), campaigns=CAMPAIGNS, settings=settings)
    project = load_project(root, environ={})
    found, problems = read_tests(project, find_files(project, [CASES]))
    assert problems == []
    return {outcome.name: outcome for outcome in rehearse(project, found)}


NAMES = [case["name"] for file in sorted(CASES.glob("*.toml")) for case in tomllib.loads(file.read_text())["tests"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_case_holds(outcomes: dict[str, Outcome], name: str) -> None:
    assert outcomes[name].failures == ()


def test_every_case_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)
