"""The command line: one module per noun, each thin: parse, call, print."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import typer

from winback.cli.base import close_databases, fail
from winback.errors import WinbackError

#: Modules that add commands, in the order `winback --help` shows them.
_MODULES = (
    "shop",  # init, check, schema
    "imports",
    "fields",
    "preview",  # preview, explain
    "simulate",
    "plan",  # plan, apply
    "rehearsal",  # test
    "daemon",  # run, daemon, status, doctor, retry
    "pausing",  # pause, resume
    "adopt",
    "report",
    "customers",
    "scores",
    "predict",
    "dkim",
    "demo",
)

#: So many new objects before Python looks for those that only hold each other.
_OBJECTS = 50_000

app = typer.Typer(
    name="winback",
    help="Personal retention e-mail and SMS, run from files.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _name in _MODULES:
    import_module(f"winback.cli.{_name}").register(app)


def _version(show: bool) -> None:
    if show:
        from winback import __version__

        typer.echo(f"winback {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and exit."),
) -> None:
    """Personal retention e-mail and SMS, run from files."""
    context.call_on_close(close_databases)


def main() -> None:
    """Run the command line; errors of ours, and of the database, become one clear text and an exit code."""
    # Looked for every 700 objects, as Python does, rings of them that nobody holds cost a sixth of a short command's time.
    gc.set_threshold(_OBJECTS)
    try:
        app()
    except WinbackError as error:
        fail(error)
    except Exception as error:
        failed = _of_database(error)
        if failed is None:
            raise
        fail(failed)


def _of_database(error: Exception) -> WinbackError | None:
    """Return what a database's error says. As it stands it would quote the statement, and rows with it."""
    if "sqlalchemy" not in sys.modules:  # not imported for this: most commands' help needs none
        return None
    from winback.store.refusals import failed

    return failed(error)
