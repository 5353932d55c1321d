"""`winback adopt`: let a copy, a restored backup or one more folder send."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import ShopOption, open_shop, say
from winback.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from winback.scheduler.adoption import Adoption, Standing
    from winback.store import AnyRow


class Due(StrEnum):
    """What becomes of messages that are due by now."""

    SEND = "send"
    SKIP = "skip"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("adopt", short_help="Let this folder send, after a move or a restore.")(adopt)


def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    due: Annotated[
        Due | None,
        typer.Option(
            "--due",
            help="Messages that are due by now: send those that are not too late, or skip all, because the original may have "
            "sent them. Else a restored backup skips them, a copy sends them.",
            show_default=False,
        ),
    ] = None,
    shop: ShopOption = None,
) -> None:
    """Let this folder send from now on: after a move to another machine, from a restored backup, or beside other folders.

    A copy of a shop, and a database that was put back from a backup, send nothing until somebody says that they should: the
    original may be sending too. Without a reason to adopt anything, it says who may send.

    \b
    Example: winback adopt
    """
    from winback import clock
    from winback.installation import places_of
    from winback.scheduler import adoption
    from winback.store.refusals import answering

    opened = open_shop(shop)
    zone, now = ZoneInfo(opened.project.settings.shop.zone), clock.now()
    with answering(opened.engine):
        found = adoption.standing(opened.engine, opened.project, now)
        if found is None:
            _tell_places(places_of(opened.engine), zone)
            return
        send_due = found.sends_what_is_due if due is None else due is Due.SEND
        _tell_standing(found, zone, send_due=send_due)
        if not yes:
            _confirm()
        done = adoption.adopt(opened.engine, opened.project, now, by=who(), send_due=send_due)
    _tell_done(done)


def _tell_places(places: Sequence[AnyRow], zone: ZoneInfo) -> None:
    if not places:
        typer.echo("Nothing has been sent from this database yet: the first folder that runs is adopted by itself.")
        return
    typer.echo("This folder may send; there is nothing to adopt.")
    for row in places:
        who = f"adopted by {row.adopted_by}" if row.adopted_by else "the first"
        typer.echo(f"  {row.folder} on {row.host}: {who}, {_local(row.adopted_at, zone)}; last sent {_local(row.seen_at, zone)}")


def _tell_standing(found: Standing, zone: ZoneInfo, *, send_due: bool) -> None:
    say(f"{found.refusal.message}.")
    if found.last_sent is not None:
        say(f"  The last message that this database knows of was sent on {_local(found.last_sent, zone)}.")
    if send_due:
        say(f"  {_messages(found.due)} due by now; what is not too late goes with the next pass. To leave it out: --due skip")
    else:
        say(f"  {_messages(found.due)} due by now, and what else was due is left out: it may have gone already.")
    if found.held:
        say(f"  {_messages(found.held)} being sent when the copy was made: uncertain from now on.")


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise InputError("nobody is there to say whether this folder should send", "winback adopt --yes")
    if not typer.confirm("Should this folder send from now on?", err=True):
        say("Nothing was changed.")
        raise typer.Exit(1)


def _tell_done(done: Adoption) -> None:
    admitted = done.admitted
    typer.echo("This folder sends from now on.")
    if done.skipped:
        typer.echo(f"  {_messages(done.skipped)} skipped that may have gone already (reason: restored).")
    if admitted.uncertain:
        typer.echo(f"  {_messages(admitted.uncertain)} uncertain: winback status lists them.")
    if admitted.left_out:
        folders = "folder" if admitted.left_out == 1 else "folders"
        typer.echo(f"  {admitted.left_out} other {folders} may no longer send from this database.")


def _messages(count: int) -> str:
    return f"{count} message{' is' if count == 1 else 's are'}"


def who() -> str:
    import getpass
    import socket

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, in a container for example
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
