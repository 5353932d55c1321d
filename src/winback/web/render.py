"""Make pages from templates, with what every page has: the shop, its formats, the session and the navigation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from winback.durations import format_duration
from winback.project import Project
from winback.web import words
from winback.web.formatting import NOTHING, Formats, plural
from winback.web.security import set_session
from winback.web.shop import Shop

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

#: Titles and advice of error pages by status.
_ERRORS = {
    400: "That did not work",
    403: "Not allowed",
    404: "Nothing here",
    421: "Wrong address",
    429: "Too many attempts",
    500: "Something broke",
}


@cache
def environment() -> Environment:
    """Return the templates' environment; everything they print is escaped."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        asset=_asset,
        plural=plural,
        link=link,
        NOTHING=NOTHING,
        state_word=words.state_word,
        reason_text=words.reason_text,
        channel_name=words.channel_name,
        rule_name=words.rule_name,
        duration=format_duration,
    )
    return made


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page; `section` among the values names its entry in the navigation."""
    project: Project = request.state.project
    shop: Shop = request.app.state.shop
    now: datetime = values.pop("now", None) or shop.now()
    session = request.state.session
    formats = Formats.of(project.settings.shop.zone, project.settings.shop.locale, now)
    text = (
        environment()
        .get_template(template)
        .render(
            {"section": "", "zone": project.settings.shop.zone},
            shop=project.settings.shop,
            project=project,
            fmt=formats,
            now=now,
            csrf=request.state.sessions.form_token(session),
            signed_in=session.signed_in,
            password_required=request.state.sessions.required,
            file_problems=shop.files.problems,
            **values,
        )
    )
    response = HTMLResponse(text, status)
    if session.fresh:
        set_session(request, response, session)
    return response


def error_page(request: Request, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return a page that says what went wrong; it shows nothing of the shop, so that it suits visitors of any kind."""
    text = (
        environment()
        .get_template("error.html")
        .render(status=status, title=_ERRORS.get(status, "That did not work"), message=message)
    )
    return HTMLResponse(text, status, headers=headers)


def link(path: str, *parts: str, **query: Any) -> str:
    """Return a local address: `{}` in the path are filled with quoted parts, empty query values are left out."""
    address = path.format(*(quote(part, safe="") for part in parts))
    given = {key: value for key, value in query.items() if value not in (None, "")}
    return f"{address}?{urlencode(given)}" if given else address


def sign_in_address(request: Request) -> str:
    """Return the sign-in page's address, which leads back to where the visitor wanted to go."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return link("/login", next=wanted if request.method == "GET" and wanted != "/" else "")


@cache
def _asset(name: str) -> Markup:
    """Return the address of a static file with a mark of its content, so that browsers may keep it."""
    mark = hashlib.blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()
    return Markup(f"/static/{name}?v={mark}")  # noqa: S704 a file name of ours and hexadecimal digits
