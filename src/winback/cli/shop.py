"""`winback init`, `winback check` and `winback schema`: a shop's files, without its database."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from winback.cli.base import Column, Output, OutputOption, ShopOption, say, show, show_json
from winback.errors import InputError

if TYPE_CHECKING:
    from winback.errors import Problem
    from winback.project import Project

#: What the running shop writes is no part of its files: the database, the outbox, the secret.
_GITIGNORE = "# What the running shop writes: its database, its outbox, its secret.\n/var/\n"

_NEXT = """\
Next:
  cd {folder}
  edit config.toml                      the shop's name, addresses, time zone
  winback check                         every file, as often as you like
  winback import customers FILE         your customers; then orders and events
  winback preview sleeping              who would get what, and why; nothing is sent
  winback daemon                        from now on by itself; messages go to var/outbox until you set up a gateway"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init", short_help="Make a new shop, to change into your own.")(init)
    app.command()(check)
    app.command("schema", short_help="Write what editors complete campaign files by.")(schema)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The new shop's folder; made if it is not there.", show_default=False)
    ],
) -> None:
    """Make a new shop: config, campaigns and templates that work, to change into your own.

    \b
    Example: winback init my-shop
    """
    from winback.project import inspect_project
    from winback.project.completeness import count_templates
    from winback.project.schema import write_schemas
    from winback.starter import copy_shop

    taken = [name for name in ("config.toml", "campaigns", "templates") if (folder / name).exists()]
    if taken:
        raise InputError(f"{folder} already has {', '.join(taken)}", "name a new folder; nothing was changed")
    copy_shop(folder)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text(_GITIGNORE, encoding="utf-8")
    write_schemas(folder)
    project, _ = inspect_project(folder)
    made = f"{_count(len(project.campaigns), 'campaign')}, {_count(count_templates(project), 'template')}"
    say(f"A new shop is in {folder}: {made}.")
    say(_NEXT.format(folder=folder))


def check(shop: ShopOption = None, output: OutputOption = Output.TABLE) -> None:
    """Check every file, template and reference; touch no database. Exit 0: no problems, 1: problems, 2: no shop to check.

    \b
    Example: winback check
    """
    from winback.project import find_root, inspect_project
    from winback.project.completeness import count_templates
    from winback.rehearsal import find_files, read_tests

    project, problems = inspect_project(find_root(Path.cwd()) if shop is None else shop)
    problems = sorted({*problems, *_beyond_files(project)})
    if not problems:  # tests name what is in the other files
        _, problems = read_tests(project, find_files(project))
    steps = sum(len(campaign.steps) for campaign in project.campaigns.values())
    counts = {"campaigns": len(project.campaigns), "steps": steps, "templates": count_templates(project)}
    if output is Output.JSON:
        show_json({**counts, "problems": [asdict(problem) for problem in problems]})
    elif output is Output.CSV:
        show(
            [asdict(problem) for problem in problems],
            [Column(name, name) for name in ("file", "line", "key", "message", "remedy")],
            output,
        )
    else:
        for problem in problems:
            typer.echo(str(problem))
        checked = ", ".join(_count(count, noun.removesuffix("s")) for noun, count in counts.items())
        say(f"{checked}: {_count(len(problems), 'problem') if problems else 'no problems'}")
    if problems:
        raise typer.Exit(1)


def schema(shop: ShopOption = None) -> None:
    """Write the JSON Schemas of the shop's files to .winback/, where editors find them for completion and hints.

    \b
    Example: winback schema
    """
    from winback.project import find_root
    from winback.project.schema import write_schemas

    root = find_root(Path.cwd()) if shop is None else shop
    if not (root / "config.toml").is_file():
        raise InputError(f"{root} is not a shop: it has no config.toml", "make a shop: winback init DIR")
    for path in write_schemas(root):
        typer.echo(path)
    say("Editors with a TOML extension read them through the first line of each file: #:schema ../.winback/campaign.schema.json")


def _beyond_files(project: Project) -> list[Problem]:
    """Return what is wrong with gateways, keys and templates, as far as the files could be used."""
    from winback.compose.check import check_signing, check_templates
    from winback.project.completeness import check_gateways, renderable

    found = [*check_gateways(project), *check_signing(project), *check_templates(renderable(project))]
    return [replace(problem, file=_within(project.root, problem.file)) for problem in found]


def _within(root: Path, file: Path) -> Path:
    return file.relative_to(root) if file.is_relative_to(root) else file


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
