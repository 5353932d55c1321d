"""Tests of campaigns: what they find, and how they say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.project.builder import campaign, email_step, to_toml, write_shop
from winback.project import load_project
from winback.rehearsal import Outcome, find_files, read_tests, rehearse

BIRTHDAY = campaign(
    audience={"preset": "birthday"},
    exit={"when": "ordered"},
    measure={"holdout": "100%"},
    enabled=False,
    steps=[
        email_step("greeting", subject="Dear {{ customer.first_name | default('friend', true) }}"),
        email_step("reminder", after="3d", only_if="not clicked('greeting')"),
    ],
)

HEAD = """campaigns = ["birthday"]
[customers.anna]
first_name = "Anna"
birthday = "03-14"
"""


def _case(**keys: Any) -> str:
    return "[[tests]]\n" + to_toml({"name": "One", "from": "2027-03-13", "until": "2027-03-20", **keys})


def _run(tmp_path: Path, text: str, matching: str = "") -> list[Outcome]:
    root = write_shop(tmp_path / "shop", campaigns={"birthday": BIRTHDAY}, settings={"deliver": {"allow": ["@nobody.example"]}})
    (root / "campaigns/tests").mkdir(exist_ok=True)
    (root / "campaigns/tests/birthday.toml").write_text(text)
    project = load_project(root, environ={})
    found, problems = read_tests(project, find_files(project))
    assert problems == []
    outcomes = list(rehearse(project, found, matching))
    assert not (root / "var").exists()  # no secret is made, no database
    return outcomes


def _failures(tmp_path: Path, **keys: Any) -> list[str]:
    [outcome] = _run(tmp_path, HEAD + _case(**keys))
    return [f"{failure.line}: {failure.message}" for failure in outcome.failures]


GREETING = {"customer": "anna", "step": "greeting", "at": "2027-03-14 09:00"}
REMINDER = {"customer": "anna", "step": "reminder", "at": "2027-03-17 09:00"}


def test_what_is_expected_passes_though_the_shop_is_tried_out_and_everybody_held_out(tmp_path: Path) -> None:
    letter = GREETING | {"channel": "email", "subject": "Dear Anna", "contains": ["Hello Anna"], "lacks": ["None"]}
    assert _failures(tmp_path, expect=[letter, REMINDER]) == []


@pytest.mark.parametrize(
    ("expect", "failures"),
    [
        ([GREETING], ["5: anna's reminder went at 2027-03-17 09:00, and is not expected"]),
        (
            [GREETING | {"at": "2027-03-14 08:00"}, REMINDER],
            ["9: anna's greeting: went at 2027-03-14 09:00, expected at 2027-03-14 08:00"],
        ),
        ([GREETING | {"channel": "sms"}, REMINDER], ["9: anna's greeting: went by email, expected by sms"]),
        ([GREETING | {"subject": "Dear Ann"}, REMINDER], ["9: anna's greeting: its subject is 'Dear Anna', expected 'Dear Ann'"]),
        ([GREETING | {"lacks": ["Anna"]}, REMINDER], ["9: anna's greeting: says 'Anna'"]),
        (
            [GREETING, REMINDER, GREETING],
            ["9: anna's greeting at 2027-03-14 09:00 did not go"],
        ),
        (
            [GREETING, REMINDER, {"customer": "anna", "skipped": "no_consent"}],
            ["9: anna was to be left out because of no_consent, and was because of already"],
        ),
    ],
)
def test_what_differs_is_told_with_its_line(tmp_path: Path, expect: list[Any], failures: list[str]) -> None:
    assert _failures(tmp_path, expect=expect) == failures


def test_what_people_do_counts(tmp_path: Path) -> None:
    skipped = {"customer": "anna", "step": "reminder", "skipped": "only_if"}
    clicks = [{"customer": "anna", "step": "greeting", "does": "click"}]
    assert _failures(tmp_path, reactions=clicks, expect=[GREETING, skipped]) == []
    orders = [{"customer": "anna", "placed": "2027-03-15 12:00"}]
    assert _failures(tmp_path, orders=orders, expect=[GREETING, {"customer": "anna", "skipped": "exit"}]) == []
    no_more = [{"customer": "anna", "at": "2027-03-15 12:00", "refused": ["email"]}]
    withdrawn = {"customer": "anna", "step": "reminder", "skipped": "no_consent"}
    assert _failures(tmp_path, changes=no_more, expect=[GREETING, withdrawn]) == []


def test_each_test_has_a_world_of_its_own_and_some_can_be_chosen(tmp_path: Path) -> None:
    other = _case(name="Two", customers={"anna": {"birthday": "12-24"}}, expect=[{"customer": "anna", "skipped": "audience"}])
    text = HEAD + _case(expect=[GREETING, REMINDER]) + other
    assert [(outcome.name, outcome.line, outcome.passed) for outcome in _run(tmp_path, text)] == [
        ("One", 5, True),
        ("Two", 10, True),
    ]
    assert [outcome.name for outcome in _run(tmp_path, text, "two")] == ["Two"]


def test_what_names_nothing_is_a_problem(tmp_path: Path) -> None:
    wrong = HEAD + _case(
        until="tomorrow",
        expect=[{"customer": "anna", "step": "greeting"}],
    )
    dangling = HEAD + _case(
        reactions=[{"customer": "anne", "step": "greting", "does": "click"}],
        expect=[{"customer": "anna"}, {"customer": "anna", "skipped": "no_konsent"}],
    )
    root = write_shop(tmp_path, campaigns={"birthday": BIRTHDAY})
    project = load_project(root, environ={})
    told = []
    for text in (wrong, dangling.replace('"birthday"]', '"birthdy"]'), dangling):
        (root / "tests.toml").write_text(text)
        told.append([str(problem) for problem in read_tests(project, [root / "tests.toml"])[1]])
    assert told[0] == ["tests.toml:8: tests.One.until: 'tomorrow' is not a moment; write \"2026-12-24 09:30\", or 2026-12-24"]
    assert "tests.toml:1: campaigns[1]: there is no campaign 'birthdy'; did you mean 'birthday'?" in told[1]
    assert [line.partition("; ")[0] for line in told[2]] == [
        "tests.toml:9: tests.One.reactions[1].customer: there is no customer 'anne'",
        "tests.toml:10: tests.One.expect[1]: does not say which message",
        "tests.toml:10: tests.One.expect[2].skipped: 'no_konsent' is no reason",
        "tests.toml:9: tests.One.reactions[1].step: no campaign of this test has a step 'greting'",
    ]
