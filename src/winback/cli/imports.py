"""`winback import`: customers, orders and events from files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from winback.cli.base import Column, Output, OutputOption, Shop, ShopOption, open_shop, show, show_json

if TYPE_CHECKING:
    from winback.importers import ImportMap, ImportResult, Progress

#: How many problems are shown by themselves; all of them are in the rejects file.
_SHOWN = 10


class FileFormat(StrEnum):
    """How a file is laid out."""

    CSV = "csv"
    TABLE = "table"
    JSONL = "jsonl"


FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV, JSON lines, or columns set off by spaces; may be gzipped.")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="MAP",
        help="Which column is what: ours=theirs, a map file (.toml), or a map that winback brings (cdnow). Repeat it for more.",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Read and count everything, keep nothing.")]
EncodingOption = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="If it is not found out rightly: utf-8, cp1252, utf-16 …")
]
DelimiterOption = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="SIGN", help="What stands between the columns, if it is not found out rightly."),
]
FormatOption = Annotated[
    FileFormat | None,
    typer.Option("--format", help="How the file is laid out, if it is not found out rightly.", show_default=False),
]
DecimalOption = Annotated[
    str | None, typer.Option("--decimal", metavar="SIGN", help="The decimal sign of amounts: . or , (else it is found out).")
]
DateOption = Annotated[
    str | None,
    typer.Option(
        "--date-format", metavar="FORMAT", help="How dates are written: '%d.%m.%Y %H:%M', unix, unix_ms (else found out)."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Bring in customers, orders and events from files. Importing a file again changes nothing.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("customers", short_help="Bring in customers, with what they allowed.")(import_customers)
    group.command("orders")(import_orders)
    group.command("events", short_help="Bring in what people did: visits, downloads …")(import_events)
    app.add_typer(group, name="import")


def import_customers(
    file: FileArgument,
    map_: MapOption = None,
    dry_run: DryRunOption = False,
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    format_: FormatOption = None,
    decimal: DecimalOption = None,
    date_format: DateOption = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring in customers: addresses, names, birthdays, consent, and attributes of your own.

    Known customers are updated, what the file leaves empty stays. A no is never undone by an older or an undated yes, and nobody
    who asked to be forgotten comes back. Exit 0: every row went in, 1: some were refused, 2: it could not run.

    \b
    Example: winback import customers customers.csv --map customer_id=Number
    """
    chosen = _map(map_, encoding, delimiter, format_, decimal, date_format)
    _import("customers", file, chosen, dry_run, open_shop(shop), output)


def import_orders(
    file: FileArgument,
    map_: MapOption = None,
    dry_run: DryRunOption = False,
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    format_: FormatOption = None,
    decimal: DecimalOption = None,
    date_format: DateOption = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring in orders, with their lines if the file has them. Customers who are not there yet are made.

    Import a file again, or a newer one, as often as you like: known orders are updated, none is counted twice.
    Exit 0: every row went in, 1: some were refused, 2: it could not run.

    \b
    Example: winback import orders orders.csv --dry-run
    """
    chosen = _map(map_, encoding, delimiter, format_, decimal, date_format)
    _import("orders", file, chosen, dry_run, open_shop(shop), output)


def import_events(
    file: FileArgument,
    map_: MapOption = None,
    dry_run: DryRunOption = False,
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    format_: FormatOption = None,
    decimal: DecimalOption = None,
    date_format: DateOption = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring in events: visits, downloads, webinars, whatever campaigns and scores go by.

    An event without an id of its own is known again by what it says. Exit 0: every row went in, 1: some were refused, 2: it
    could not run.

    \b
    Example: winback import events events.jsonl
    """
    chosen = _map(map_, encoding, delimiter, format_, decimal, date_format)
    _import("events", file, chosen, dry_run, open_shop(shop), output)


def _map(
    given: list[str] | None,
    encoding: str | None,
    delimiter: str | None,
    format_: FileFormat | None,
    decimal: str | None,
    date_format: str | None,
) -> ImportMap:
    """Return the map with the command line's options over it."""
    from winback.importers import load_map, with_options

    return with_options(
        load_map(given or []),
        encoding=encoding,
        delimiter=delimiter,
        format=format_.value if format_ else None,
        decimal=decimal,
        date=date_format,
    )


def _import(kind: str, file: Path, chosen: ImportMap, dry_run: bool, shop: Shop, output: Output) -> None:
    from winback import clock
    from winback.importers import import_file
    from winback.store.refusals import answering

    with answering(shop.engine), _bar(file) as progress:
        result = import_file(
            shop.engine,
            shop.project.import_settings(),
            kind,
            file,
            mapping=chosen,
            dry_run=dry_run,
            now=clock.now(),
            progress=progress,
        )
    row = {"kind": kind, "file": file, "dry_run": dry_run, **asdict(result), "rows_per_second": result.rows_per_second}
    del row["outcomes"]
    if output is Output.JSON:
        show_json(row)
    elif output is Output.CSV:
        show([row], [Column(name, name) for name in _COUNTS], output)
    else:
        _show(kind, file, result, dry_run)
    if result.rejected:
        raise typer.Exit(1)


_COUNTS = (
    *("kind", "file", "dry_run", "rows", "inserted", "updated", "unchanged", "rejected"),
    *("warnings", "customers_created", "seconds", "rows_per_second", "rejects_file"),
)


def _show(kind: str, file: Path, result: ImportResult, dry_run: bool) -> None:
    rows = "1 row" if result.rows == 1 else f"{result.rows:,} rows"
    read = f"{rows} of {file.name} ({result.format}, {result.encoding})"
    typer.echo(f"{read} in {result.seconds:.1f} s, {result.rows_per_second:,} rows a second")
    for name in ("inserted", "updated", "unchanged", "rejected"):
        typer.echo(f"  {name:<10}{getattr(result, name):>10,}")
    if dry_run and result.columns:
        typer.echo(f"Read as: {', '.join(f'{ours} = {theirs}' for ours, theirs in result.columns.items())}")
    if result.customers_created and kind != "customers":
        typer.echo(f"Customers who were not there before: {result.customers_created:,}")
    for note in result.notes:
        typer.echo(f"Note: {note}")
    if result.warnings:
        typer.echo(f"Values left out of rows that went in: {result.warnings:,}")
    for problem in result.problems[:_SHOWN]:
        typer.echo(f"  {file.name}:{problem.line}: {'refused' if problem.rejected else 'left out'}: {problem.reason}")
    more = result.rejected + result.warnings - _SHOWN
    if more > 0:
        typer.echo(f"  … and {more:,} more")
    if result.rejects_file is not None:
        typer.echo(f"Every one of them, with its line and reason: {_near(result.rejects_file)}")
    if dry_run:
        typer.echo("This was a dry run: nothing was kept.")


def _near(path: Path) -> Path:
    """Return a path as short as it can be written from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextmanager
def _bar(file: Path) -> Iterator[Progress | None]:
    """Show how far the file is read, to a person; a program or a log file sees nothing of it."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(file.name, total=None, rows=0)

        def progress(rows: int, position: int, size: int) -> None:
            done = position >= size
            bar.update(task, total=size or 1, completed=position, rows=rows, description="merging" if done else file.name)

        yield progress
