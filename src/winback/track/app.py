"""What the links in messages lead to: the opening pixel, clicks, unsubscribing, and gateways' reports.

Everything here is public and called by anybody: tokens are signed, answers for what is not ours look alike, and of a link nothing
but a POST changes anything for a person.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from winback.addresses import hash_address
from winback.compose import tokens
from winback.errors import TokenError
from winback.store import InteractionKind, reading, writing
from winback.track import pages, unsubscribe
from winback.track.body import read_body
from winback.track.hit_writer import Hit
from winback.track.hits import HEAD
from winback.track.receipts import receive

if TYPE_CHECKING:
    from winback.track.state import TrackState
    from winback.track.unsubscribe import Subscription

logger = logging.getLogger(__name__)

#: The smallest transparent GIF (GIF89a, 1 by 1 pixel), 43 bytes.
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")

#: Every opening must reach us: nothing on the way may keep the picture (RFC 9111, 5.2.2.5).
_PIXEL_HEADERS = {"Cache-Control": "no-store, no-cache, must-revalidate, private", "Pragma": "no-cache", "Expires": "0"}

#: A form of ours, or `List-Unsubscribe=One-Click` (RFC 8058, 3.1), is far smaller.
_FORM_LIMIT = 16_384

_AGENT_LENGTH = 500

#: What web servers in front of ours add; ours puts the caller's own address in place where it trusts them (docs/tracking.md).
_FORWARDED = ("forwarded", "x-forwarded-for")

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))

_ONE_CLICK = re.compile(rb"""(?:^|[&"])List-Unsubscribe"?\s*(?:=|\r?\n\r?\n)\s*One-Click""")


def tracking_router(state: TrackState) -> APIRouter:
    """Return the routes /o/, /c/, /u/ and /hooks/ of one shop."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/o/{token}.gif", methods=["GET", "HEAD"])
    async def opened(token: str, request: Request) -> Response:
        try:
            message_id = tokens.read(state.links_key, "open", token).message_id
            await state.hits.write(_hit(state, request, InteractionKind.OPEN, message_id))
        except (TokenError, SQLAlchemyError):
            pass  # whatever it was, a reader of mail shall see no broken picture
        return Response(PIXEL, media_type="image/gif", headers=_PIXEL_HEADERS)

    @router.api_route("/c/{token}", methods=["GET", "HEAD"])
    async def clicked(token: str, request: Request) -> Response:
        try:
            link = tokens.read(state.links_key, "click", token)
            hit = _hit(state, request, InteractionKind.CLICK, link.message_id, link.number)
            target = await state.hits.write(hit)
        except TokenError:
            return pages.unknown_page(state.project)
        except SQLAlchemyError:
            return pages.later_page(state.project)
        if target is None:
            return pages.unknown_page(state.project)
        headers = {"Location": _location(target), "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return Response(status_code=302, headers=headers)

    @router.api_route("/u/{token}", methods=["GET", "HEAD"])
    def asked(token: str) -> Response:
        try:
            about = _subscription(state, token)
        except SQLAlchemyError:
            return pages.later_page(state.project)
        if about is None:
            return pages.unknown_page(state.project)
        # Link scanners fetch every address in a mail: looking at this page must change nothing.
        page = pages.done_page if about.granted is False else pages.ask_page
        return page(state.project, about)

    @router.post("/u/{token}")
    async def told(token: str, request: Request) -> Response:
        # Whatever the body is, a POST here means "no": RFC 8058 senders differ in what they send, and none carries a cookie.
        body = await read_body(request, _FORM_LIMIT)
        try:
            return await run_in_threadpool(_take_answer, state, token, body)
        except SQLAlchemyError as error:
            # The sender's mail program tries again when it is told that this did not work.
            logger.error("unsubscribe_failed error=%s", type(error).__name__)
            return pages.later_page(state.project)

    # Some providers of text messages report with GET.
    @router.api_route("/hooks/{gateway}", methods=["GET", "POST"])
    async def reported(gateway: str, request: Request) -> Response:
        return await receive(state, gateway, request)

    return router


def _location(url: str) -> str:
    """Return a link as a header carries it: byte for byte what the template wrote, but for letters that no header may have."""
    if all(letter in _PRINTABLE for letter in url):
        return url
    parts = urlsplit(url)
    try:
        netloc = parts.netloc.encode("idna").decode("ascii")
    except UnicodeError:
        netloc = parts.netloc
    return quote(urlunsplit(parts._replace(netloc=netloc)), safe=_PRINTABLE)


def _hit(state: TrackState, request: Request, kind: InteractionKind, message_id: str, link_id: int | None = None) -> Hit:
    agent = request.headers.get("user-agent", "")
    if request.method == "HEAD":
        agent = HEAD + agent
    return Hit(
        kind=kind,
        message_id=message_id,
        at=state.now(),
        user_agent=agent.replace("\0", "")[:_AGENT_LENGTH],
        address=_caller(request, state.address_key),
        link_id=link_id,
    )


def _caller(request: Request, key: bytes) -> str | None:
    """Return the keyed hash of the caller's address, None where it is only the web server in front of us that we see.

    Everybody would be the same caller then, and a good campaign look like a scanner.
    """
    host = request.client.host if request.client else ""
    if not host or (any(name in request.headers for name in _FORWARDED) and _is_private(host)):
        return None
    return hash_address(host, key)


def _is_private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return True


def _subscription(state: TrackState, token: str) -> Subscription | None:
    try:
        message_id = tokens.read(state.links_key, "unsubscribe", token).message_id
    except TokenError:
        return None
    with reading(state.engine) as connection:
        return unsubscribe.subscription(connection, message_id)


def _take_answer(state: TrackState, token: str, body: bytes) -> Response:
    project = state.project
    about = _subscription(state, token)
    if about is None:
        return pages.unknown_page(project)
    # RFC 8058, 3.2 allows a form of either kind, so the words are looked for and not the encoding.
    one_click = _ONE_CLICK.search(body) is not None
    back = not one_click and parse_qs(body.decode("latin-1")).get("action") == ["resubscribe"]
    with writing(state.engine) as connection:
        if back:
            back = unsubscribe.resubscribe(connection, about.message_id, state.now()) or about.granted is True
        else:
            source = unsubscribe.ONE_CLICK if one_click else unsubscribe.PAGE
            unsubscribe.unsubscribe(connection, about.message_id, state.now(), source)
    return pages.back_page(project, about) if back else pages.done_page(project, about)
