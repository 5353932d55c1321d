"""One campaign: whom it is for, what became of its messages, what it caused; pause and resume."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from winback import policy
from winback.project import Campaign
from winback.report import CampaignReport, build_report
from winback.report.charts import over_time, point_is
from winback.report.printing import Printer
from winback.report.words import did, first_upper
from winback.store import reading, writing
from winback.web import words
from winback.web.queries import campaigns as read
from winback.web.queries.overview import campaign_state
from winback.web.render import link, page
from winback.web.security import own_form
from winback.web.shop import Shop

router = APIRouter()


@router.get("/campaigns/{name}")
def campaign(request: Request, name: str) -> Response:
    """Show a campaign's results and its funnel."""
    shop: Shop = request.app.state.shop
    found = _find(request, name)
    now = shop.now()
    with reading(shop.engine) as connection:
        report = build_report(connection, request.state.project, now, campaign=name)
        state = read.state(connection, name)
        intake = read.intake(connection, name)
    result = next((result for result in report.campaigns if result.name == name), None)
    paused_at = state.paused_at if state is not None else None
    return page(
        request,
        "campaign.html",
        section="overview",
        now=now,
        campaign=found,
        state=campaign_state(found, paused_at, state is not None),
        paused_at=paused_at,
        pause_reason=state.pause_reason if state is not None else None,
        intake=intake,
        audience=words.audience_text(found),
        result=result,
        **_chart(request, result, now),
    )


@router.post("/campaigns/{name}/pause", dependencies=[Depends(own_form)])
def pause(request: Request, name: str) -> Response:
    """Stop a campaign at once."""
    shop: Shop = request.app.state.shop
    found = _find(request, name)
    with writing(shop.engine) as connection:
        policy.pause(connection, found, shop.now(), f"{policy.BY_A_PERSON}, on the pages")
    return RedirectResponse(link("/campaigns/{}", name), 303)


@router.post("/campaigns/{name}/resume", dependencies=[Depends(own_form)])
def resume(request: Request, name: str) -> Response:
    """Let a campaign go on."""
    shop: Shop = request.app.state.shop
    found = _find(request, name)
    with writing(shop.engine) as connection:
        policy.resume(connection, found, shop.now())
    return RedirectResponse(link("/campaigns/{}", name), 303)


def _chart(request: Request, result: CampaignReport | None, now: datetime) -> dict[str, Any]:
    """Return the chart over time, and what a point of it is."""
    if result is None or not result.days:
        return {"chart": "", "chart_note": ""}
    shop = request.state.project.settings.shop
    today = now.astimezone(ZoneInfo(shop.zone)).date()
    printer = Printer.of(shop.zone, shop.locale, shop.currency)
    chart = over_time("campaign-time", result.days, today, first_upper(did(result.conversion)), printer)
    return {"chart": chart, "chart_note": f"Each point is {point_is(result.days, today)}"}


def _find(request: Request, name: str) -> Campaign:
    found: Campaign | None = request.state.project.campaigns.get(name)
    if found is None:
        raise HTTPException(404, f"There is no campaign {name!r}. It may have been renamed in the shop's files.")
    return found
