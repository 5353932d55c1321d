"""`winback doctor`: look closely at the shop, or at the way of its letters to the world."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from winback.cli.base import Output, OutputOption, ShopOption, load_shop, say, show, show_json
from winback.cli.status import ITEM_COLUMNS, show_items
from winback.errors import InputError

if TYPE_CHECKING:
    from winback.scheduler.deliverability import Examination


class Topic(StrEnum):
    """What can be looked at apart from the shop as a whole."""

    SMTP = "smtp"


def doctor(
    topic: Annotated[
        Topic | None, typer.Argument(metavar="smtp", help="smtp: the way of letters to the world.", show_default=False)
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Argument(metavar="GATEWAY", help="Of several SMTP gateways, which; else the one for e-mail.", show_default=False),
    ] = None,
    conversation: Annotated[
        bool, typer.Option("--conversation", help="With smtp: print what was said to the mail server and by it, without secrets.")
    ] = False,
    dns: Annotated[
        str | None,
        typer.Option("--dns", metavar="ADDRESS", help="With smtp: ask this DNS server, not this machine's.", show_default=False),
    ] = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Look closely: files, templates, keys, database, clocks, disk, and every gateway, tried without sending.

    With smtp: the mail server's line, and what receivers find about you in the DNS: SPF, DKIM, DMARC, MX, reverse DNS.
    Exit 1 when something is wrong; each thing says what to do.

    \b
    Example: winback doctor
    Example: winback doctor smtp --conversation
    """
    if topic is Topic.SMTP:
        _smtp(gateway, conversation, dns, shop, output)
    elif conversation or dns is not None:
        raise InputError("--conversation and --dns are about the mail server", "write: winback doctor smtp")
    else:
        _shop(shop, output)


def _shop(shop: Path | None, output: Output) -> None:
    from winback import clock
    from winback.project import find_root
    from winback.scheduler.doctor import examine

    items = examine(find_root(Path.cwd()) if shop is None else shop, clock.now())
    if output is Output.TABLE:
        show_items(items)
    else:
        show([asdict(item) for item in items], ITEM_COLUMNS, output)
    _judge(sum(not item.ok for item in items), len(items), "All is well")


def _smtp(gateway: str | None, conversation: bool, dns: str | None, shop: Path | None, output: Output) -> None:
    from winback.scheduler.deliverability import Names, examine_smtp

    found = examine_smtp(load_shop(shop), Names(dns), gateway)
    if output is Output.JSON:
        show_json(_as_json(found, conversation))
    elif output is Output.CSV:
        show([asdict(finding) for finding in found.findings], ITEM_COLUMNS, output)
    else:
        typer.echo(f"Letters from {found.domain} by {found.host} (gateways.{found.gateway})")
        show_items(found.findings)
        if conversation:
            typer.echo("\nWhat was said (C: winback, S: the mail server)")
            for line in found.conversation:
                typer.echo(f"  {line}")
    unknown = sum(finding.ok is None for finding in found.findings)
    well = f"Nothing is wrong; {unknown} cannot be told from here" if unknown else "All is well"
    _judge(sum(finding.ok is False for finding in found.findings), len(found.findings), well)


def _as_json(found: Examination, conversation: bool) -> dict[str, object]:
    said = {"conversation": found.conversation} if conversation else {}
    return {
        "ok": found.ok,
        "gateway": found.gateway,
        "host": found.host,
        "domain": found.domain,
        "findings": [asdict(finding) for finding in found.findings],
        **said,
    }


def _judge(wrong: int, all_of: int, well: str) -> None:
    if wrong:
        say(f"{wrong} of {all_of} things {'is' if wrong == 1 else 'are'} not well")
        raise typer.Exit(1)
    say(well)
