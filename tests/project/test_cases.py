"""Every bad file of tests/cases gives exactly the problems written beside it: file, line, key, what is wrong, what to do.

To add a case, write NAME.toml and the expected lines in NAME.txt.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.builder import EMAIL, SMS, campaign, email_step, write_shop
from winback.project import inspect_project

CASES = Path(__file__).resolve().parents[1] / "cases"

#: The shop around each bad campaign: what it may name.
TEMPLATES = {"hello.email.html": EMAIL, "hello.sms.txt": SMS, "offer.email.html": EMAIL}
SEGMENTS = {"loyal": {"title": "Loyal customers", "where": "orders >= 5"}}
SCORES: dict[str, object] = {}


def shop_with(folder: Path, *, bad_campaign: str | None = None, settings: str | None = None) -> Path:
    """Write the shop around one bad file."""
    campaigns = {"birthday": campaign(audience={"preset": "birthday"}, steps=[email_step()])}
    if bad_campaign is not None:
        campaigns["case"] = bad_campaign  # type: ignore[assignment]
    return write_shop(folder, campaigns=campaigns, templates=TEMPLATES, settings=settings, segments=SEGMENTS, scores=SCORES)


def _cases(folder: str) -> list[Path]:
    return sorted((CASES / folder).glob("*.toml"))


@pytest.mark.parametrize("case", _cases("campaigns"), ids=lambda path: path.stem)
def test_a_bad_campaign_file_gives_its_problems(case: Path, tmp_path: Path) -> None:
    _, problems = inspect_project(shop_with(tmp_path, bad_campaign=case.read_text()), environ={})
    assert [str(problem) for problem in problems] == case.with_suffix(".txt").read_text().splitlines()


@pytest.mark.parametrize("case", _cases("settings"), ids=lambda path: path.stem)
def test_a_bad_settings_file_gives_its_problems(case: Path, tmp_path: Path) -> None:
    _, problems = inspect_project(shop_with(tmp_path, settings=case.read_text()), environ={})
    assert [str(problem) for problem in problems] == case.with_suffix(".txt").read_text().splitlines()


def test_there_are_enough_cases_and_each_expects_something() -> None:
    assert len(_cases("campaigns")) >= 25
    for case in [*_cases("campaigns"), *_cases("settings")]:
        assert case.with_suffix(".txt").read_text().strip(), case


def test_no_problem_repeats_a_secret() -> None:
    for expected in (CASES / "settings").glob("*.txt"):
        assert "hunter2" not in expected.read_text()
        assert "4711" not in expected.read_text()
