"""`winback simulate`: the coming days or a year, played in a copy of the database that is thrown away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import Column, Output, OutputOption, ShopOption, moment, open_shop, say, show, show_json
from winback.errors import InputError

if TYPE_CHECKING:
    from winback.project import Project
    from winback.simulation import Simulated, Span

#: Days that are played when nobody says until when.
_DAYS = 14

#: Over longer times the table counts by weeks.
_BY_THE_DAY = 31

CampaignOption = Annotated[
    list[str] | None,
    typer.Option(
        "--campaign", metavar="NAME", help="Show only this campaign, as if it were on; again for more. The others compete along."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", short_help="Play the coming days, or a year; send nothing.")(simulate)


def simulate(
    start: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day, as 2026-12-24; today.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="The last day; two weeks from the first.", show_default=False)
    ] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="How many days, instead of --to.", show_default=False)] = None,
    campaign: CampaignOption = None,
    assume: Annotated[
        Path | None,
        typer.Option("--assume", metavar="FILE", help="How many open, click, order and unsubscribe; see docs/simulate.md."),
    ] = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Play the coming days, or a year: how much goes out when, which campaign gives way to which, and why.

    The same planner and rules work in a copy of the database, with people who behave as assumed. The copy is thrown away:
    nothing is written to the shop's database, and nothing is sent.

    \b
    Example: winback simulate --days 365 --campaign birthday
    """
    from winback.simulation import Assumptions, load_assumptions
    from winback.simulation import simulate as play
    from winback.store.scratch import scratch_copy

    opened = open_shop(shop)
    project = _switched_on(opened.project, campaign or [])
    span = _span(project, start, end, days)
    assumed = load_assumptions(assume, project) if assume else Assumptions()
    with _progress(span.start, span.until) as told, scratch_copy(opened.engine) as connection:
        played = play(connection, project, assumed, span, progress=told)
    if campaign:
        played = _only(played, campaign)
    if output is Output.JSON:
        show_json(asdict(played))
    elif output is Output.CSV:
        show([asdict(day) for day in played.volume], _VOLUME_COLUMNS, output)
    else:
        _show(played, project)
    for error in played.errors:
        say(f"winback: {error}")
    if played.errors:
        raise SystemExit(1)


def _switched_on(project: Project, names: list[str]) -> Project:
    """Return the shop with these campaigns on."""
    from winback.plan.preview import find_campaign

    on = {name: find_campaign(project, name).model_copy(update={"enabled": True}) for name in names}
    return replace(project, campaigns={**project.campaigns, **on})


def _span(project: Project, start: str | None, end: str | None, days: int | None) -> Span:
    from winback.clock import local_instant, now
    from winback.simulation import Span

    zone = ZoneInfo(project.settings.shop.zone)
    present = now().replace(second=0, microsecond=0)
    first = _day(start, project) or present.astimezone(zone).date()
    if end is not None and days is not None:
        raise InputError("--to and --days are both given", "leave one of them out")
    last = _day(end, project) or first + timedelta(days=(days or _DAYS) - 1)
    if first < present.astimezone(zone).date():
        raise InputError(f"{first} is over", "a simulation begins today or later; winback report shows what was")
    if last < first:
        raise InputError(f"{last} is before {first}", "write the last day after --to")
    midnight = datetime.min.time()
    shown = max(local_instant(first, midnight, zone), present)
    return Span(start=present, shown=shown, until=local_instant(last + timedelta(days=1), midnight, zone))


def _day(text: str | None, project: Project) -> date | None:
    if text is None:
        return None
    return moment(text, project).astimezone(ZoneInfo(project.settings.shop.zone)).date()


@contextmanager
def _progress(start: datetime, until: datetime) -> Iterator[Callable[[datetime], None]]:
    """Show a bar by simulated days at a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("Playing", total=(until - start).total_seconds())
        yield lambda at: bar.update(task, completed=(at - start).total_seconds(), description=f"Playing {at:%Y-%m-%d}")


def _only(played: Simulated, names: list[str]) -> Simulated:
    """Return what concerns these campaigns."""
    return replace(
        played,
        volume=[each for each in played.volume if each.campaign in names],
        campaigns=[each for each in played.campaigns if each.campaign in names],
        caps=[each for each in played.caps if each.campaign in names],
        losses=[each for each in played.losses if each.loser in names or each.winner in names],
        sms=[each for each in played.sms if each.campaign in names],
    )


_VOLUME_COLUMNS = [
    Column("on", "day"),
    Column("campaign", "campaign"),
    Column("step", "step"),
    Column("channel", "channel"),
    Column("count", "messages", right=True),
]


def _show(played: Simulated, project: Project) -> None:
    zone = ZoneInfo(project.settings.shop.zone)
    last = (played.until - timedelta(seconds=1)).astimezone(zone)
    typer.echo(f"{project.settings.shop.name} from {played.start.astimezone(zone):%a %Y-%m-%d} to {last:%a %Y-%m-%d}, as assumed")
    days = (played.until - played.start) / timedelta(days=1)
    _show_volume(played, "week of" if days > _BY_THE_DAY else "day")
    _show_campaigns(played)
    from winback.policy import REASONS

    skipped = [
        {"campaign": total.campaign, "reason": reason, "count": count, "why": REASONS.get(reason, "")}
        for total in played.campaigns
        for reason, count in sorted(total.skipped.items())
    ]
    _table(skipped, "Messages that would not go", campaign="campaign", reason="reason", count="messages", why="why")
    _table(
        [asdict(hit) for hit in played.caps],
        "Caps that were in the way",
        campaign="campaign",
        limit="limit",
        cap="at most",
        count="messages",
    )
    losses = [{**asdict(loss), "winner": "itself" if loss.winner == loss.loser else loss.winner} for loss in played.losses]
    _table(losses, "Who gave way to whom", loser="this campaign", winner="gave way to", channel="channel", count="messages")
    _table([asdict(day) for day in played.odd_days], "Odd days", on="day", what="what", where="where", messages="messages")
    _table(
        [asdict(pool) for pool in played.coupons],
        "Coupons",
        pool="pool",
        given="given",
        valid_at_end="still valid at the end",
        left="left",
        runs_out_on="run out on",
    )
    _show_texts(played, project)


def _show_volume(played: Simulated, unit: str) -> None:
    names = sorted({day.campaign for day in played.volume})
    rows: dict[date, dict[str, Any]] = defaultdict(dict)
    for day in played.volume:
        on = day.on if unit == "day" else day.on - timedelta(days=day.on.weekday())
        row = rows[on]
        row[day.campaign] = row.get(day.campaign, 0) + day.count
        row["all"] = row.get("all", 0) + day.count
    if not rows:
        typer.echo("Nothing would be sent.")
        return
    columns = [
        Column("on", unit, format=lambda on: f"{on:%a %Y-%m-%d}"),
        *(Column(name, name, right=True) for name in names),
        Column("all", "all", right=True),
    ]
    show([{"on": on, **row} for on, row in sorted(rows.items())], columns, Output.TABLE, title="Messages")


def _show_campaigns(played: Simulated) -> None:
    rows = [{**asdict(total), "skipped": sum(total.skipped.values())} for total in played.campaigns]
    words = {
        "campaign": "campaign",
        "enrolled": "people come in",
        "email": "letters",
        "sms": "text messages",
        "held_out": "held out",
        "put_off": "put off by caps",
        "skipped": "skipped",
        "exited": "left early",
        "opens": "opens",
        "clicks": "clicks",
        "orders": "orders",
        "unsubscribes": "unsubscribe",
    }
    _table(rows, "Campaigns; what people do is assumed", **words)


def _show_texts(played: Simulated, project: Project) -> None:
    from winback.compose import Money

    currency = project.settings.shop.currency
    rows = [{**asdict(use), "cost": "" if use.cost_minor is None else str(Money(use.cost_minor, currency))} for use in played.sms]
    _table(rows, "Text messages", campaign="campaign", step="step", messages="messages", parts="parts", cost="cost")
    if rows and project.settings.deliver.sms_price is None:
        typer.echo("What they cost is not known: set sms_price in [deliver] of config.toml.")


def _table(rows: list[dict[str, Any]], title: str, **columns: str) -> None:
    """Print rows under a title, numbers to the right; nothing where there are none."""
    if rows:
        shown = [Column(key, word, right=isinstance(rows[0].get(key), int)) for key, word in columns.items()]
        show(rows, shown, Output.TABLE, title=title)
