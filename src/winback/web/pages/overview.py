"""The first page: is all well, what goes out next, and what came of the last thirty days."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from fastapi import APIRouter, Request, Response

from winback.plan import NextSend, forecast
from winback.scheduler import health
from winback.store import reading
from winback.web.queries import overview as read
from winback.web.render import page
from winback.web.shop import Shop

router = APIRouter()

#: How many coming sends are listed.
_NEXT = 12


@router.get("/")
def overview(request: Request) -> Response:
    """Show the whole shop on one page."""
    shop: Shop = request.app.state.shop
    project = request.state.project
    now = shop.now()
    with reading(shop.engine) as connection:
        lines = read.campaign_lines(connection, project, now)
        sends = forecast(connection, project, now, limit=None)
        state = health(connection, project, now)
        passes = read.latest_passes(connection)
        no_customers = read.is_empty(connection)
    return page(
        request,
        "overview.html",
        section="overview",
        now=now,
        lines=lines,
        total=read.total(lines),
        days=read.DAYS,
        health=state,
        healthy=all(item.ok for item in state),
        no_customers=no_customers,
        next_sends={send.campaign: send for send in reversed(sends)},
        calendar=[(on, list(group)) for on, group in groupby(_by_date(sends)[:_NEXT], key=attrgetter("due_on"))],
        titles={name: campaign.title for name, campaign in project.campaigns.items()},
        passes=passes,
    )


def _by_date(sends: list[NextSend]) -> list[NextSend]:
    """Return sends by the local date they are scheduled for, then by time: people in several zones share one date."""
    return sorted(sends, key=attrgetter("due_on", "first_at"))
