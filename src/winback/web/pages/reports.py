"""The report: the same file that `winback report --html` writes, on a page and to save."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from winback.report import build_report, to_html
from winback.store import messages, reading
from winback.web.render import page
from winback.web.security import REPORT_POLICY
from winback.web.shop import Shop

router = APIRouter()


@router.get("/report")
def report(request: Request, campaign: str = "") -> Response:
    """Show the report of all campaigns, or of one."""
    shop: Shop = request.app.state.shop
    _known(request, campaign)
    with reading(shop.engine) as connection:
        empty = connection.execute(messages.select().limit(1)).first() is None
    campaigns = request.state.project.campaigns
    titles = {name: each.title for name, each in campaigns.items()}
    return page(request, "report.html", section="report", campaign=campaign, titles=titles, empty=empty)


@router.get("/report/file")
def file(request: Request, campaign: str = "", save: bool = False) -> Response:
    """Return the report as one HTML file, to show in a frame or to save."""
    shop: Shop = request.app.state.shop
    _known(request, campaign)
    now = shop.now()
    with reading(shop.engine) as connection:
        text = to_html(build_report(connection, request.state.project, now, campaign=campaign or None))
    headers = {"content-security-policy": REPORT_POLICY, "referrer-policy": "no-referrer"}
    if save:
        name = "-".join(part for part in ("report", campaign, f"{now:%Y-%m-%d}") if part)
        headers["content-disposition"] = f'attachment; filename="{name}.html"'
    return HTMLResponse(text, headers=headers)


def _known(request: Request, campaign: str) -> None:
    if campaign and campaign not in request.state.project.campaigns:
        raise HTTPException(404, f"There is no campaign {campaign!r}. It may have been renamed in the shop's files.")
