"""`winback plan` and `winback apply`: what changed files would do, and taking them up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from winback.cli.adopt import who
from winback.cli.base import ShopOption, load_shop, open_database, say, show_json
from winback.errors import InputError, ProjectError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from winback.project import Project
    from winback.project.snapshot import Snapshot
    from winback.versions import FileChange, Version

#: What there is to say in a script, as terraform's -detailed-exitcode has it.
NOTHING, FAILED, CHANGES = 0, 1, 2


class PlanOutput(StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class _Trusted(TyperCommand):
    """A command whose exit code 2 means changes; whatever goes wrong ends with 1, a slip in an option and a lost database too."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with _failing():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _failing():
            return super().invoke(ctx)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        from winback.store.refusals import failed

        found: Any = failed(error) or error
        if getattr(found, "exit_code", None) == CHANGES:
            found.exit_code = FAILED
        raise found from found.__cause__


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("plan", cls=_Trusted, short_help="Show what changed files would do.")(plan)
    app.command("apply", short_help="Take changed files up.")(apply)


def plan(
    output: Annotated[PlanOutput, typer.Option("-o", "--output", help="How to print.")] = PlanOutput.TEXT,
    shop: ShopOption = None,
) -> None:
    """Show what changed since files were last applied: key by key, for whom, and what becomes of people who are in a campaign.

    Nothing is written. Exit 0: nothing changed, 1: it could not be said, 2: there are changes.

    \b
    Example: winback plan -o markdown
    """
    from winback.cli.plan_words import as_markdown, as_text

    found = _compare(shop)
    if output is PlanOutput.JSON:
        show_json(
            {
                "base": asdict(found.base) if found.base else None,
                "changed": bool(found.files),
                "files": [asdict(change) for change in found.files],
                **asdict(found.effects()),
            }
        )
    elif not found.files:
        typer.echo(f"Nothing changed: the files are {found.base}.")
    else:
        words = as_markdown if output is PlanOutput.MARKDOWN else as_text
        for line in words(found.base, found.files, found.effects(), found.project):
            typer.echo(line)
        if output is PlanOutput.TEXT:
            say(f"\n{_what_now(found)}")
    if found.files:
        raise typer.Exit(CHANGES)


def apply(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    shop: ShopOption = None,
) -> None:
    """Take changed files up: campaigns go by them from the next pass on. Every message tells which version it was made from.

    Files with problems are refused. With `auto_apply = true`, which is the default, passes take files up by themselves, and
    there is seldom anything to do.

    \b
    Example: winback apply --yes
    """
    from winback import clock
    from winback.cli.plan_words import as_text
    from winback.store import exclusive, writing
    from winback.versions import record
    from winback.versions.git import revision

    found = _compare(shop)
    if not found.files and found.base is not None:
        typer.echo(f"Nothing to apply: the files are {found.base}.")
        return
    for line in as_text(found.base, found.files, found.effects(), found.project):
        say(line)
    if not yes:
        _confirm()
    commit = revision(found.project.root)
    with writing(found.engine) as connection:
        exclusive(connection)
        version = record(
            connection,
            found.snapshot,
            now=clock.now(),
            by=who(),
            automatic=False,
            auto_apply=found.project.settings.auto_apply,
            revision=commit,
        )
    typer.echo(f"Applied: {version}, {len(found.snapshot.files)} files.")


@dataclass(frozen=True)
class _Comparison:
    """The shop's files as they are, and as they were applied last."""

    engine: Engine
    project: Project
    snapshot: Snapshot
    base: Version | None
    before: Snapshot | None
    files: tuple[FileChange, ...]

    def effects(self) -> Any:
        from winback import clock
        from winback.plan.changes import Effects, effects
        from winback.project import inspect_project
        from winback.project.project import Project
        from winback.project.snapshot import COPIES

        if not self.files:
            return Effects((), ())
        if self.before is None:
            before = Project(self.project.root, self.project.settings)
        else:
            # Whatever a newer program says of them: they are what runs.
            before, _ = inspect_project(self.project.root, copy=self.before.lay_out(self.project.root / COPIES))
        return effects(self.engine, before, self.project, self.files, clock.now())


def _compare(folder: Path | None) -> _Comparison:
    """Read both. Raise ProjectError when the files as they are have problems."""
    from winback.project.snapshot import Snapshot
    from winback.scheduler.files import check_beyond_files
    from winback.store import reading
    from winback.versions import differences, latest, snapshot_of

    project = load_shop(folder)
    problems = check_beyond_files(project)
    if problems:
        raise ProjectError(problems)
    snapshot = Snapshot.of(project.root)
    engine = open_database(project)
    with reading(engine) as connection:
        base = latest(connection)
        before = None if base is None else snapshot_of(connection, base.id)
    return _Comparison(engine, project, snapshot, base, before, differences(before, snapshot))


def _what_now(found: _Comparison) -> str:
    runs_by_itself = found.project.settings.auto_apply if found.base is None else found.base.auto_apply
    if runs_by_itself:
        return "auto_apply is on: the next pass takes these files up. Or now: winback apply"
    return "These files wait: winback apply takes them up."


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise InputError("nobody is there to say whether these files should be taken up", "winback apply --yes")
    if not typer.confirm("Should campaigns go by these files from now on?", err=True):
        say("Nothing was changed.")
        raise typer.Exit(1)
