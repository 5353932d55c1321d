"""`winback status` and `winback retry`: whether all is well, what waits for what, and trying again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import Column, Output, OutputOption, ShopOption, moment, open_database, open_shop, show, show_json

if TYPE_CHECKING:
    from winback.project import Project
    from winback.scheduler import HealthItem
    from winback.scheduler.deliverability import Finding

#: Of what nobody knows the fate of, and of what comes next, the table shows so many.
_LISTED = 20


class Which(StrEnum):
    """Which messages are tried again."""

    FAILED = "failed"
    UNCERTAIN = "uncertain"


def status(shop: ShopOption = None, output: OutputOption = Output.TABLE) -> None:
    """Say whether all is well, what waits for what and until when, and what goes out next. Exit 1 when something is wrong.

    \b
    Example: winback status -o json
    """
    from winback import clock
    from winback.dispatch import limits
    from winback.plan import forecast
    from winback.scheduler import health
    from winback.scheduler.standing import counts, uncertain, waiting
    from winback.store import reading

    project, engine, wrong = _open(shop)
    now = clock.now()
    with reading(engine) as connection:
        items = [*wrong, *health(connection, project, now)]
        by_state = counts(connection)
        waits = waiting(connection, project, now)
        lost = uncertain(connection, None if output is Output.JSON else _LISTED)
        sends = forecast(connection, project, now, limit=_LISTED)
        limited = limits(connection, project, now)
    well = all(item.ok for item in items)
    if output is Output.JSON:
        show_json(
            {
                "ok": well,
                "at": now,
                "health": [asdict(item) for item in items],
                "messages": by_state,
                "waiting": [asdict(each) for each in waits],
                "uncertain": [asdict(each) for each in lost],
                "next": [asdict(send) for send in sends],
                "limits": [asdict(limit) for limit in limited],
            }
        )
    elif output is Output.CSV:
        show([asdict(item) for item in items], ITEM_COLUMNS, output)
    else:
        zone = ZoneInfo(project.settings.shop.zone)
        typer.echo(f"{project.settings.shop.name}, {_local(now, zone)}: {'all is well' if well else 'something is wrong'}")
        show_items(item for item in items if not item.ok)
        _show_counts(by_state)
        _show_rows("What waits, and for what", [asdict(each) for each in waits], _waiting_columns(zone))
        _show_rows("What gateways take at most", [{**asdict(each), "what": each} for each in limited], _limit_columns(zone))
        _show_rows("Nobody knows what became of", [asdict(each) for each in lost], _uncertain_columns(zone))
        _show_rows("What goes out next", [asdict(send) for send in sends], _next_columns(zone))
    if not well:
        raise typer.Exit(1)


def retry(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name of the campaign: its file without .toml.")],
    only: Annotated[Which, typer.Option("--only", help="Those that failed, or those whose fate nobody knows.")],
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send messages of a campaign again that failed, or that may have arrived or not; the next pass does it.

    Rules are asked again: who unsubscribed meanwhile gets nothing. Uncertain messages may have arrived, so some people may get
    them twice.

    \b
    Example: winback retry sleeping --only failed
    """
    from winback.dispatch import retry as put_back
    from winback.plan.preview import find_campaign
    from winback.store import writing

    opened = open_shop(shop)
    found = find_campaign(opened.project, campaign)
    now = moment(None, opened.project)
    with writing(opened.engine) as connection:
        count = put_back(connection, opened.project, found.name, only.value, now)
    if output is Output.TABLE:
        what = f"{count} {only.value} message{' of' if count == 1 else 's of'} {campaign}"
        typer.echo(f"{what} {'goes' if count == 1 else 'go'} with the next pass")
    else:
        show([{"campaign": campaign, "only": only.value, "count": count}], [Column(name, name) for name in _RETRIED], output)


_RETRIED = ("campaign", "only", "count")

#: What is well, what is not, and what cannot be told.
_MARKS = {True: "ok ", False: "NOT", None: " ? "}

ITEM_COLUMNS = [Column(name, name) for name in ("name", "ok", "message", "remedy")]


def _open(folder: Path | None) -> tuple[Project, Any, list[HealthItem]]:
    """Open a shop as far as its files can be used: status is wanted most when something is wrong with them."""
    from winback.errors import ProjectError
    from winback.project import find_root, inspect_project
    from winback.scheduler import HealthItem
    from winback.versions import hold, running

    project, problems = inspect_project(find_root(Path.cwd()) if folder is None else folder)
    if any(problem.file == Path("config.toml") for problem in problems):
        raise ProjectError(problems)  # which database is ours is not known
    engine = open_database(project)
    if hold(engine) is not None:
        return running(engine, project), engine, []  # what lies in the folder waits, whatever is in it
    remedy = "a running daemon goes on with the last good files; winback check lists all problems"
    return project, engine, [HealthItem("files", False, str(problem), remedy) for problem in problems]


def show_items(items: Iterable[HealthItem | Finding]) -> None:
    """Print what was looked at, each with its remedy."""
    for item in items:
        typer.echo(f"  {_MARKS[item.ok]} {item.name}: {item.message}")
        if item.remedy:
            typer.echo(f"        {item.remedy}")


def _show_counts(by_state: Mapping[str, Mapping[str, int]]) -> None:
    from winback.store import MessageState

    used = [state.value for state in MessageState if any(state.value in states for states in by_state.values())]
    columns = [Column("campaign", "campaign"), *(Column(state, state, True, lambda count: str(count or 0)) for state in used)]
    _show_rows("Messages", [{"campaign": campaign, **states} for campaign, states in by_state.items()], columns)


def _show_rows(title: str, rows: list[dict[str, Any]], columns: list[Column]) -> None:
    if rows:
        show(rows, columns, Output.TABLE, title=title)


def _waiting_columns(zone: ZoneInfo) -> list[Column]:
    return [
        Column("count", "messages", right=True),
        Column("campaign", "campaign"),
        Column("step", "step"),
        Column("since", "due", format=lambda at: _local(at, zone)),
        Column("why", "why"),
        Column("until", "until", format=lambda at: _local(at, zone) if at else ""),
    ]


def _limit_columns(zone: ZoneInfo) -> list[Column]:
    return [
        Column("gateway", "gateway"),
        Column("what", "at most", format=str),
        Column("used", "used", right=True),
        Column("left", "left", right=True),
        Column("until", "more from", format=lambda at: _local(at, zone) if at else ""),
    ]


def _uncertain_columns(zone: ZoneInfo) -> list[Column]:
    return [
        Column("campaign", "campaign"),
        Column("step", "step"),
        Column("customer", "customer"),
        Column("channel", "channel"),
        Column("gateway", "gateway"),
        Column("since", "since", format=lambda at: _local(at, zone)),
        Column("message_id", "message"),
    ]


def _next_columns(zone: ZoneInfo) -> list[Column]:
    return [
        Column("first_at", "from", format=lambda at: _local(at, zone)),
        Column("campaign", "campaign"),
        Column("step", "step"),
        Column("count", "messages", right=True),
        Column("due_on", "local date"),
    ]


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %Y-%m-%d %H:%M}"
