"""The outbox: every message of the built-in gateway, as a mail program shows it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, Row

from winback.store import reading
from winback.versions import find
from winback.web.mail import Letter, to_look_at
from winback.web.queries import outbox as read
from winback.web.render import page
from winback.web.security import MAIL_POLICY
from winback.web.shop import Shop

router = APIRouter()

_VIEWS = {"mail": "Message", "text": "Text part", "source": "Source"}

PageNumber = Annotated[int, Query(alias="page", ge=1, le=100_000)]


@router.get("/outbox")
def outbox(request: Request, campaign: str = "", number: PageNumber = 1) -> Response:
    """List the messages, none of them open."""
    shop: Shop = request.app.state.shop
    with reading(shop.engine) as connection:
        listed = _listed(request, connection, campaign, number)
    return page(request, "outbox.html", section="outbox", open=None, **listed)


@router.get("/outbox/{message_id}")
def message(request: Request, message_id: str, campaign: str = "", view: str = "mail", number: PageNumber = 1) -> Response:
    """Show one message beside the list."""
    shop: Shop = request.app.state.shop
    with reading(shop.engine) as connection:
        row = _row(request, connection, message_id)
        version = find(connection, row.version_id)
        listed = _listed(request, connection, campaign, number)
    content = read.content(request.state.project, row)
    letter = content if isinstance(content, Letter) else None
    views = [name for name in _VIEWS if letter and (name != "mail" or letter.html is not None)]
    return page(
        request,
        "outbox.html",
        section="outbox",
        open=row,
        version=version,
        letter=letter,
        text=content if letter is None else None,
        views={name: _VIEWS[name] for name in views},
        view=view if view in views else next(iter(views), ""),
        **listed,
    )


@router.get("/outbox/{message_id}/mail")
def mail(request: Request, message_id: str) -> Response:
    """Return an e-mail's HTML for the reading pane."""
    shop: Shop = request.app.state.shop
    with reading(shop.engine) as connection:
        row = _row(request, connection, message_id)
    content = read.content(request.state.project, row)
    if not isinstance(content, Letter) or content.html is None:
        raise HTTPException(404, "This message has no HTML.")
    headers = {"content-security-policy": MAIL_POLICY, "referrer-policy": "no-referrer"}
    return HTMLResponse(to_look_at(content.html), headers=headers)


def _row(request: Request, connection: Connection, message_id: str) -> Row[Any]:
    try:
        UUID(message_id)
    except ValueError:
        row = None
    else:
        row = read.one(connection, request.state.project, message_id)
    if row is None:
        raise HTTPException(404, "There is no such message in the outbox. It may have gone through another gateway.")
    return row


def _listed(request: Request, connection: Connection, campaign: str, number: int) -> dict[str, Any]:
    project = request.state.project
    rows = read.listing(connection, project, campaign=campaign, page=number)
    return {
        "rows": rows[: read.LISTED],
        "more": len(rows) > read.LISTED,
        "number": number,
        "campaign": campaign,
        "campaigns": read.campaigns(connection, project),
        "titles": {name: each.title for name, each in project.campaigns.items()},
        "delivers": [project.settings.deliver.email, project.settings.deliver.sms],
        "outboxes": list(read.folders(project)),
    }
