"""`winback pause` and `winback resume`: stop a campaign at once, and let it go on."""

from __future__ import annotations

from typing import Annotated

import typer

from winback.cli.base import ShopOption, moment, open_shop

_CampaignArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name of the campaign: its file without .toml.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pause", short_help="Stop a campaign at once.")(pause)
    app.command("resume", short_help="Let a paused campaign go on.")(resume)


def pause(campaign: _CampaignArgument, shop: ShopOption = None) -> None:
    """Stop a campaign at once: nothing of it goes out and nobody comes in until it is resumed.

    \b
    Example: winback pause sleeping
    """
    from winback import policy
    from winback.plan.preview import find_campaign
    from winback.store import writing

    opened = open_shop(shop)
    found = find_campaign(opened.project, campaign)
    with writing(opened.engine) as connection:
        policy.pause(connection, found, moment(None, opened.project), f"{policy.BY_A_PERSON}, on the command line")
    typer.echo(f"{found.name} is paused. To let it go on: winback resume {found.name}")


def resume(campaign: _CampaignArgument, shop: ShopOption = None) -> None:
    """Let a paused campaign go on; what became too late meanwhile is not sent.

    Where winback had paused it, bounces and complaints about what went out before count no more.

    \b
    Example: winback resume sleeping
    """
    from winback import policy
    from winback.plan.preview import find_campaign
    from winback.store import writing

    opened = open_shop(shop)
    found = find_campaign(opened.project, campaign)
    with writing(opened.engine) as connection:
        was_paused = policy.resume(connection, found, moment(None, opened.project))
    typer.echo(f"{found.name} goes on with the next pass" if was_paused else f"{found.name} was not paused")
