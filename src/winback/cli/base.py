"""What every command shares: finding the shop, the options they have in common, and printing."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from winback.errors import InputError, WinbackError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from winback.project import Project


class Output(StrEnum):
    """How printed data looks."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


ShopOption = Annotated[
    Path | None,
    typer.Option("--shop", help="The shop's folder; else the nearest folder upward with a config.toml.", show_default=False),
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to print.")]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="WHEN", help="As if it were this moment: 2026-12-24 or '2026-12-24 09:30', in the shop's zone."),
]


@dataclass(frozen=True)
class Shop:
    """An open shop: its checked files and its database."""

    project: Project
    engine: Engine


@dataclass(frozen=True)
class Column:
    """One column of printed data; `format` makes the table's text, JSON and CSV get the value itself."""

    key: str
    title: str
    right: bool = False
    format: Callable[[Any], str] = field(default=lambda value: "" if value is None else str(value))


def load_shop(folder: Path | None) -> Project:
    """Return the shop's checked files. Raise ProjectError with every problem."""
    from winback.project import find_root, load_project

    return load_project(find_root(folder or Path.cwd()) if folder is None else folder)


def open_shop(folder: Path | None) -> Shop:
    """Return the shop with its database open and up to date."""
    project = load_shop(folder)
    return Shop(project, open_database(project))


def open_running(folder: Path | None) -> Shop:
    """Return the shop as it runs: by its files, or by the version applied last where changes wait for `winback apply`."""
    from winback.project import find_root
    from winback.versions import hold, running

    root = find_root(Path.cwd()) if folder is None else folder
    project = readable_settings(root)
    engine = open_database(project)
    return Shop(load_shop(folder) if hold(engine) is None else running(engine, project), engine)


def readable_settings(root: Path) -> Project:
    """Return what of the shop's files can be used; raise ProjectError where config.toml does not say which database is ours."""
    from winback.errors import ProjectError
    from winback.project import inspect_project

    project, problems = inspect_project(root)
    if any(problem.file == Path("config.toml") for problem in problems):
        raise ProjectError(problems)
    return project


#: Databases that the present command opened.
_open: list[Engine] = []


def open_database(project: Project) -> Engine:
    """Return the shop's database, brought up to date; it is closed when the command ends."""
    from winback.store.engine import open_engine
    from winback.store.migrate import migrate

    engine = open_engine(project.settings.database.url, root=project.root)
    _open.append(engine)
    migrate(engine)
    return engine


def close_databases() -> None:
    """Close what `open_database` opened."""
    while _open:
        _open.pop().dispose()


def moment(text: str | None, project: Project) -> datetime:
    """Return the moment a command works at: `text` in the shop's zone, else the present."""
    from zoneinfo import ZoneInfo

    from winback import clock

    if text is None:
        return clock.now()
    try:
        return clock.parse_when(text, ZoneInfo(project.settings.shop.zone))
    except ValueError as error:
        raise InputError(f"{text!r} is not a moment", "write 2026-12-24 or '2026-12-24 09:30'") from error


def say(text: str = "") -> None:
    """Print a line for the person at the terminal, apart from the data."""
    typer.echo(text, err=True)


def fail(error: WinbackError) -> NoReturn:
    """Print an error and leave with its exit code."""
    say(f"winback: {error.message}")
    if error.remedy:
        say(f"  {error.remedy}")
    raise SystemExit(error.exit_code)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], output: Output, *, title: str | None = None) -> None:
    """Print rows to standard output as a table, JSON lines in one array, or CSV."""
    if output is Output.JSON:
        show_json([{column.key: row.get(column.key) for column in columns} for row in rows])
    elif output is Output.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow([column.key for column in columns])
        writer.writerows([_plain(row.get(column.key)) for column in columns] for row in rows)
    else:
        _show_table(rows, columns, title)


def show_json(value: Any) -> None:
    """Print a value as JSON; moments and dates become ISO 8601 texts."""
    typer.echo(as_json(value))


def as_json(value: Any) -> str:
    """Return a value as JSON; moments and dates become ISO 8601 texts."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _show_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str | None) -> None:
    from winback.cli.tables import Strip, print_table

    strips = [Strip(column.title, [column.format(row.get(column.key)) for row in rows], right=column.right) for column in columns]
    print_table(strips, title=title)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path | StrEnum):
        return str(value)
    return value
