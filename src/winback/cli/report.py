"""`winback report`: what the campaigns did, and what they caused, as a table, as data, and as one HTML file to show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from winback.cli.base import AtOption, Column, Output, OutputOption, ShopOption, moment, open_shop, say, show, show_json
from winback.errors import InputError

if TYPE_CHECKING:
    from winback.report import CampaignReport, Report


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", short_help="Say what campaigns did, and what they caused.")(report)


def report(
    campaign: Annotated[
        str | None, typer.Argument(metavar="CAMPAIGN", help="Name of a campaign: its file without .toml; else all of them.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report with its charts as one HTML file.")
    ] = None,
    at: AtOption = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what campaigns did, each rate with what it is a share of, and what they caused, as far as that can be said.

    --at leaves out what was planned, and what came back, after that moment. Nothing is changed.

    \b
    Example: winback report sleeping --html var/report.html
    """
    from winback.report import ROW_KEYS, build_report, to_html, to_json, to_rows
    from winback.store import reading

    opened = open_shop(shop)
    now = moment(at, opened.project)
    with reading(opened.engine) as connection:
        found = build_report(connection, opened.project, now, campaign=campaign)
    if html is not None:
        _write(html, to_html(found))
    if output is Output.JSON:
        show_json(to_json(found))
    elif output is Output.CSV:
        show(to_rows(found), [Column(key, key) for key in ROW_KEYS], output)
    else:
        _show(found)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}", "name another file") from error
    say(f"The report is in {file}")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


#: What the table shows of a row; JSON and CSV have everything.
_TABLE = [
    Column("name", "campaign, step"),
    Column("planned", "planned", right=True),
    Column("sent", "sent", right=True),
    Column("opened", "opened", right=True),
    Column("open_rate", "", right=True, format=_share),
    Column("clicked", "clicked", right=True),
    Column("click_rate", "", right=True, format=_share),
    Column("converted", "success", right=True),
    Column("conversion_rate", "", right=True, format=_share),
    Column("value", "value", right=True),
    Column("unsubscribed", "unsub.", right=True),
    Column("bounced", "bounced", right=True),
    Column("failed", "failed", right=True),
    Column("skipped", "not sent", right=True),
    Column("held_out", "held out", right=True),
]


def _show(found: Report) -> None:
    from winback.report import to_rows
    from winback.report.printing import Printer

    if not found.campaigns:
        typer.echo("Nothing to report yet: there is no campaign.")
        return
    printer = Printer.of(found.zone, found.locale, found.currency)
    funnels = [funnel for campaign in found.campaigns for funnel in (campaign.total, *campaign.steps)]
    rows = [
        {**row, "name": f"  {row['step']}" if row["step"] else row["campaign"], "value": printer.amounts(funnel.revenue)}
        for row, funnel in zip(to_rows(found), funnels, strict=True)
    ]
    show(rows, _TABLE, Output.TABLE, title=f"{found.shop}, up to {printer.moment(found.at)} ({found.zone})")
    typer.echo("opened: of the e-mails sent and not bounced; clicked and success: of all messages sent and not bounced.")
    for campaign in found.campaigns:
        for line in _judged(campaign):
            typer.echo(f"\n{line}")
    typer.echo(
        f"\nOrders after a message, each once: {printer.count(found.all_conversions)}, {printer.amounts(found.all_revenue)}."
    )


def _judged(campaign: CampaignReport) -> list[str]:
    """Return what a campaign's comparisons say, and why its messages were not sent."""
    lines = []
    if campaign.uplift is not None:
        lines.append(f"{campaign.name}: {campaign.uplift.sentence}")
    lines += [f"{campaign.name}, test: {arm.sentence}" for arm in campaign.variants]
    if campaign.total.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in campaign.total.skipped.items())
        lines.append(f"{campaign.name}, not sent: {reasons}")
    return lines
