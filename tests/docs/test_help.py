"""The command line explains itself, and quickly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner

from winback.cli import app


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield path
        return
    for name, sub in subcommands.items():
        yield from _commands(sub, (*path, name))


ALL = sorted(_commands(typer.main.get_command(app)))

#: What the design names, apart from what is not there yet.
EXPECTED = {
    ("init",),
    ("check",),
    ("schema",),
    ("fields",),
    ("import", "customers"),
    ("import", "orders"),
    ("import", "events"),
    ("preview",),
    ("explain",),
    ("simulate",),
    ("plan",),
    ("apply",),
    ("test",),
    ("predict",),
    ("score", "explain"),
    ("run",),
    ("daemon",),
    ("status",),
    ("doctor",),
    ("report",),
    ("retry",),
    ("pause",),
    ("resume",),
    ("adopt",),
    ("customer", "show"),
    ("customer", "export"),
    ("customer", "unblock"),
    ("customer", "erase"),
    ("demo",),
    ("dkim",),
}


def test_the_commands_are_those_of_the_design() -> None:
    assert set(ALL) == EXPECTED


@pytest.mark.parametrize("path", [(), ("import",), ("customer",)], ids=" ".join)
def test_a_list_of_commands_says_of_each_what_it_does(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    assert [line for line in done.stdout.splitlines() if line.endswith("...") and not line.startswith("Usage")] == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_an_example_in_its_help(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0, done.output
    assert f"Example: winback {' '.join(path)}" in done.output


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_is_in_the_documentation(path: tuple[str, ...]) -> None:
    root = Path(__file__).resolve().parents[2]
    text = "\n".join(page.read_text() for page in [root / "README.md", *(root / "docs").glob("*.md")])
    assert f"winback {' '.join(path)}" in text


def test_help_waits_for_no_heavy_import() -> None:
    """What makes `winback --help` slow is what it imports (the time itself is measured, not asserted)."""
    script = "import sys; from winback.cli import app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"sqlalchemy", "sqlmodel", "sqlglot", "pydantic", "jinja2", "fastapi", "phonenumbers", "alembic", "requests", "rich"}
    assert heavy.isdisjoint(loaded)
