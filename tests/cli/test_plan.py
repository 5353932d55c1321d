"""`winback plan`, `winback apply` and `winback test`: what they print, and exit codes that scripts can trust."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tests.project.builder import campaign, write_shop
from winback.cli import plan, rehearsal
from winback.cli.base import close_databases
from winback.errors import ProjectError, WinbackError


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield write_shop(tmp_path / "shop", campaigns={"hello": campaign()})
    close_databases()


def run(root: Path, *arguments: str) -> Result:
    app = typer.Typer()
    plan.register(app)
    rehearsal.register(app)
    return CliRunner().invoke(app, [*arguments, "--shop", str(root)])


def _edit(root: Path, old: str, new: str) -> None:
    path = root / "campaigns/hello.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_plan_ends_with_two_for_changes_and_with_nothing_when_they_are_applied(root: Path) -> None:
    first = run(root, "plan")
    assert first.exit_code == 2, first.output
    assert "campaigns/hello.toml: added" in first.stdout
    assert "no files have been applied yet" in first.stdout
    applied = run(root, "apply", "--yes")
    assert (applied.exit_code, applied.stdout) == (0, "Applied: version 1, 3 files.\n")
    assert (run(root, "plan").exit_code, run(root, "plan").stdout) == (0, "Nothing changed: the files are version 1.\n")
    assert run(root, "apply").stdout == "Nothing to apply: the files are version 1.\n"

    _edit(root, '"90d"', '"60d"')
    changed = run(root, "plan")
    assert changed.exit_code == 2
    assert '  ~ audience.inactive  "90d" → "60d"\n' in changed.stdout
    assert "the next pass takes these files up" in changed.stderr
    markdown = run(root, "plan", "-o", "markdown")
    assert markdown.exit_code == 2
    assert '| ~ | `audience.inactive` | `` "90d" `` | `` "60d" `` |' in markdown.stdout
    told = run(root, "plan", "-o", "json")
    found = json.loads(told.stdout)
    assert (told.exit_code, found["changed"], found["base"]["id"]) == (2, True, 1)
    assert found["files"][0]["keys"][0]["after"] == '"60d"'
    assert found["audiences"][0]["campaign"] == "hello"


def test_what_could_not_be_said_ends_with_one(root: Path) -> None:
    assert run(root, "plan", "--no-such-option").exit_code == 1
    _edit(root, "title", "titel")
    broken = run(root, "plan")
    assert isinstance(broken.exception, ProjectError)
    assert broken.exception.exit_code == 1
    assert isinstance(run(root, "apply", "--yes").exception, ProjectError)
    gone = run(root / "nowhere", "plan")
    assert isinstance(gone.exception, WinbackError)
    assert gone.exception.exit_code == 1


def test_nobody_at_the_terminal_applies_nothing_by_mistake(root: Path) -> None:
    asked = run(root, "apply")
    assert isinstance(asked.exception, WinbackError)
    assert asked.exception.remedy == "winback apply --yes"
    assert run(root, "plan").exit_code == 2


def test_the_command_names_the_file_and_line_of_what_failed(root: Path) -> None:
    tests = root / "campaigns/tests/hello.toml"
    tests.parent.mkdir()
    tests.write_text(
        'campaigns = ["hello"]\n[customers.anna]\n[[tests]]\nname = "Asleep"\nfrom = 2027-05-03\n'
        'orders = [{ customer = "anna", placed = "2027-01-01" }]\n'
        'expect = [\n  { customer = "anna", step = "hello", subject = "Hi" },\n]\n'
    )
    failed = run(root, "test")
    assert failed.exit_code == 1
    assert failed.stdout.splitlines() == [
        "FAILED campaigns/tests/hello.toml:3 Asleep",
        "         campaigns/tests/hello.toml:8: anna's hello: its subject is 'Hello', expected 'Hi'",
    ]
    tests.write_text(tests.read_text().replace('"Hi"', '"Hello"'))
    passed = run(root, "test", "-o", "json")
    assert (passed.exit_code, [test["passed"] for test in json.loads(passed.stdout)]) == (0, [True])
    nothing = run(root, "test", "-k", "no such test")
    assert isinstance(nothing.exception, WinbackError)
