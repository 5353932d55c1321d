"""`winback test`: made-up customers and a clock, played through the campaigns."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from winback.cli.base import Column, Output, OutputOption, ShopOption, load_shop, say, show, show_json
from winback.errors import InputError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winback.rehearsal import Outcome


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("test", short_help="Try campaigns on made-up customers.")(run_tests)


def run_tests(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Files or folders of tests; without them campaigns/tests.", show_default=False),
    ] = None,
    matching: Annotated[
        str, typer.Option("-k", metavar="TEXT", help="Only tests with this text in their name, or in their file's.")
    ] = "",
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run the tests of campaigns: made-up customers, orders and a clock; what must go to whom and when, and what must not.

    Planner, rules and templates are the real ones; there is no network and no database but one in memory. Exit 1 when a test
    fails.

    \b
    Example: winback test -k birthday
    """
    from winback.rehearsal import find_files, read_tests, rehearse

    project = load_shop(shop)
    found, problems = read_tests(project, find_files(project, files or ()))
    if problems:
        raise ProjectError(problems)
    outcomes = list(rehearse(project, found, matching))
    if not outcomes:
        raise InputError("there are no such tests", "write some into campaigns/tests/: docs/testing-campaigns.md says how")
    if output is Output.JSON:
        show_json([{**asdict(outcome), "passed": outcome.passed} for outcome in outcomes])
    elif output is Output.CSV:
        rows = [{**vars(outcome), "passed": outcome.passed, "failures": _said(outcome)} for outcome in outcomes]
        show(rows, [Column(name, name) for name in ("file", "line", "name", "passed", "seconds", "failures")], output)
    else:
        _show(outcomes)
    failed = sum(not outcome.passed for outcome in outcomes)
    took = sum(outcome.seconds for outcome in outcomes)
    say(f"{len(outcomes)} test{'' if len(outcomes) == 1 else 's'}, {failed or 'none'} failed, {took:.2f} s")
    if failed:
        raise typer.Exit(1)


def _show(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        typer.echo(f"{'ok    ' if outcome.passed else 'FAILED'} {outcome.file}:{outcome.line} {outcome.name}")
        for failure in outcome.failures:
            typer.echo(f"         {outcome.file}:{failure.line}: {failure.message}")


def _said(outcome: Outcome) -> str:
    return "; ".join(failure.message for failure in outcome.failures)
