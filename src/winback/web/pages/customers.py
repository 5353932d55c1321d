"""Customers: find one, see everything that happened, and why they get a campaign's messages or not."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Request, Response
from sqlalchemy import Row

from winback.plan import Explanation, explain
from winback.store import reading
from winback.web.queries import customers as read
from winback.web.render import page
from winback.web.shop import Shop

router = APIRouter()


@router.get("/customers")
def search(request: Request, q: str = "") -> Response:
    """List people found by id, e-mail, phone or name; htmx asks for the list alone while somebody types."""
    shop: Shop = request.app.state.shop
    with reading(shop.engine) as connection:
        found = read.find(connection, q)
    template = "customer_list.html" if _part_only(request) else "customers.html"
    return page(request, template, section="customers", q=q.strip(), found=found, most=read.FOUND)


@router.get("/customers/{external_id:path}")
def customer(request: Request, external_id: str, part: str = "") -> Response:
    """Show one customer; `part=why` asks every campaign about them, which takes longer than the rest."""
    shop: Shop = request.app.state.shop
    project = request.state.project
    now = shop.now()
    with reading(shop.engine) as connection:
        person = read.one(connection, external_id)
        if person is None:
            raise HTTPException(404, f"There is no customer {external_id!r}. Search for a name or an e-mail address instead.")
        answers: list[Explanation] = []
        if part == "why":
            answers = [explain(connection, project, name, external_id, now) for name in project.campaigns]
            if _part_only(request):
                return page(request, "why.html", now=now, answers=answers, **_titles(request))
        moments = read.timeline(connection, person.id)
        known = read.scores(connection, person.id)
        blocked = read.suppressed(connection, person)
    zone = ZoneInfo(project.settings.shop.zone)
    days = [(on, list(group)) for on, group in groupby(moments, key=lambda moment: moment.at.astimezone(zone).date())]
    return page(
        request,
        "customer.html",
        section="customers",
        now=now,
        person=person,
        name=_name(person),
        days=days,
        shown=len(moments),
        most=read.NEWEST,
        scores=known,
        blocked=blocked,
        consents=read.consent(person),
        answers=answers,
        **_titles(request),
    )


def _part_only(request: Request) -> bool:
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def _titles(request: Request) -> dict[str, Any]:
    return {"titles": {name: campaign.title for name, campaign in request.state.project.campaigns.items()}}


def _name(person: Row[Any]) -> str:
    return " ".join(part for part in (person.first_name, person.last_name) if part) or person.email or person.external_id
