"""`winback fields`: what `where`, `only_if` and `exit` may ask."""

from __future__ import annotations

from dataclasses import asdict

import typer

from winback.cli.base import Column, Output, OutputOption, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fields", short_help="List what conditions may ask about.")(fields)


def fields(output: OutputOption = Output.TABLE) -> None:
    """List the fields and functions of expressions (`where`, `only_if`, `exit`), each with its type, meaning and an example.

    \b
    Example: winback fields
    """
    from winback.audience import catalogue

    # A function shows its brackets; the table has little room.
    columns = [column for column in _COLUMNS if column.key != "kind"] if output is Output.TABLE else _COLUMNS
    show([asdict(entry) for entry in catalogue()], columns, output)


_COLUMNS = [
    Column("name", "name"),
    Column("kind", "kind"),
    Column("type", "type"),
    Column("meaning", "meaning"),
    Column("example", "example"),
    Column("cost", "cost"),
    Column("scope", "where it may stand"),
]
