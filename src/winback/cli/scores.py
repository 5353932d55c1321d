"""`winback score`: why somebody has the score that they have."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import AtOption, Column, Output, OutputOption, ShopOption, moment, open_shop, say, show, show_json
from winback.cli.customers import CustomerArgument, find
from winback.errors import InputError

if TYPE_CHECKING:
    from winback.audience import ScoreModel
    from winback.project import Project


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Explain scores.", short_help="Explain scores.", no_args_is_help=True, rich_markup_mode=None)
    group.command("explain", short_help="Show a person's score line by line.")(explain_score)
    # With one command only, a group would be that command.
    group.callback()(lambda: None)
    app.add_typer(group, name="score")


def explain_score(
    customer: CustomerArgument,
    score: Annotated[
        str | None, typer.Option("--score", metavar="NAME", help="Which score of campaigns/scores.toml, where there are several.")
    ] = None,
    at: AtOption = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a person's score as a bank statement is written: each thing that gave points, and what it is worth by now.

    \b
    Example: winback score explain C00021
    """
    from winback.audience import score_statement
    from winback.policy import audience_context
    from winback.store import reading

    opened = open_shop(shop)
    project = opened.project
    model = _chosen(project, score)
    now = moment(at, project)
    with reading(opened.engine) as connection:
        person = find(connection, project, customer)
        found = score_statement(connection, model, audience_context(project, now, since=now), person.external_id)
    if output is Output.JSON:
        show_json({**asdict(found), "total": found.total})
        return
    zone = ZoneInfo(project.settings.shop.zone)
    rows = [asdict(entry) for entry in found.entries]
    when = "%Y-%m-%d %H:%M"
    columns = [
        Column("at", "when", format=lambda value: "" if value is None else f"{value.astimezone(zone):{when}}"),
        Column("what", "what"),
        Column("points", "points", right=True, format=lambda value: f"{value:g}"),
        Column("worth", "worth now", right=True, format=lambda value: f"{value:.1f}"),
        Column("why_not", "why not"),
    ]
    show(rows, columns, output)
    if output is Output.TABLE:
        cut = "" if found.total == found.value else f", cut off from {found.total:.1f}"
        say(f"{model.name} is {found.value:.1f}{cut}")
        for reached in found.reached:
            say(f"reached {reached.level} with {reached.value:.1f} on {reached.at.astimezone(zone):{when}}")


def _chosen(project: Project, name: str | None) -> ScoreModel:
    known = ", ".join(project.scores)
    if not known:
        raise InputError("this shop has no scores", "define one in campaigns/scores.toml")
    if name is None and len(project.scores) > 1:
        raise InputError("this shop has several scores", f"say which with --score: {known}")
    found = project.scores.get(name) if name is not None else next(iter(project.scores.values()))
    if found is None:
        raise InputError(f"there is no score {name!r}", f"known are {known}")
    return found
