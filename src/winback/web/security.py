"""The door of the pages: which names they answer to, who is let in, which forms are ours, and the headers they carry."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Form, HTTPException, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from winback.errors import InputError
from winback.project import Project, Settings
from winback.web.auth import COOKIE, SESSION_SECONDS, Session, Sessions
from winback.web.shop import Shop

#: What our own pages may load: only from here, no inline script or style.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

#: A message as it was sent, inside a frame: its own styles, no scripts, and nothing is fetched, so that looking never counts
#: as an opening. Links open a new window.
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; form-action 'none'; frame-ancestors 'self'"
)

#: The report is one file with its styles inside.
REPORT_POLICY = (
    "sandbox allow-same-origin allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'none'; frame-ancestors 'self'"
)

#: What reverse proxies add; without a password, a request that came through one is not from this machine's user.
_PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")

#: Called by customers' mail programs, gateways and other systems, each with its own proof; never behind the pages' password.
PUBLIC_PATHS = ("/c/", "/o/", "/u/", "/hooks/", "/api/")

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104 compared with, not bound to


class SignInError(Exception):
    """Send the visitor to the sign-in page."""


def require_safe_binding(settings: Settings) -> None:
    """Raise InputError when the pages would be open to the network without a password, or the password is not there."""
    if settings.web.password is not None and not settings.web.password.reveal():
        raise InputError("web.password is empty", "set it where config.toml says it is, or take web.password out")
    if settings.web.password is None and not is_loopback(settings.web.host):
        raise InputError(
            f"web.host = {settings.web.host!r} opens the pages to the network without a password",
            'set web.password = { env = "WINBACK_PASSWORD" } in config.toml, or web.host = "127.0.0.1"',
        )


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine only."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def guard(request: Request) -> None:
    """Let only the right visitors see a page; every page route depends on this.

    A page answers only to names of this shop: another name that resolves here is DNS rebinding. Without a password it
    answers only to this machine's own names, and never through a proxy.
    """
    shop: Shop = request.app.state.shop
    project = shop.files()
    host = _host_name(request.headers.get("host", ""))
    if not _is_own_name(host, project.settings):
        raise HTTPException(421, "The pages of this shop do not answer to this name. Open them by the address in web.public_url.")
    sessions = Sessions(project)
    if not sessions.required and not _is_local(request, host, project.settings):
        raise HTTPException(403, "Set web.password in config.toml to open the pages from another machine.")
    request.state.project = project
    request.state.sessions = sessions
    request.state.session = sessions.read(request.cookies.get(COOKIE))


def signed_in(request: Request) -> None:
    """Send visitors without a session to the sign-in page."""
    if not request.state.session.signed_in:
        raise SignInError


def own_form(request: Request, csrf: Annotated[str, Form()] = "") -> None:
    """Refuse a form that was not made by one of our pages in this session."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or not request.state.sessions.is_form_token(request.state.session, csrf):
        raise HTTPException(403, "This form is too old or came from another site. Go back, reload the page and try again.")


def set_session(request: Request, response: Response, session: Session) -> None:
    """Give the browser its cookie, for https only where the shop is reached by https."""
    public = urlsplit(request.state.project.settings.web.public_url)
    by_https = request.url.scheme == "https" or (public.scheme == "https" and request.url.hostname == public.hostname)
    response.set_cookie(COOKIE, session.cookie, max_age=SESSION_SECONDS, path="/", secure=by_https, httponly=True, samesite="lax")


class PageHeaders:
    """Add the headers that every page carries, unless the answer brought its own.

    What customers and programs call (`track`) looks after itself; only the two that suit everything are added there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for_people = not scope["path"].startswith(PUBLIC_PATHS)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "same-origin")
                if scope["path"].startswith("/static/"):  # addressed with a mark of the content
                    headers.setdefault("cache-control", "public, max-age=31536000, immutable")
                elif for_people:
                    _add_page_headers(headers)
            await send(message)

        await self._app(scope, receive, with_headers)


def _add_page_headers(headers: MutableHeaders) -> None:
    headers.setdefault("content-security-policy", PAGE_POLICY)
    headers.setdefault("cross-origin-opener-policy", "same-origin")
    headers.setdefault("x-frame-options", "DENY" if headers["content-security-policy"] == PAGE_POLICY else "SAMEORIGIN")
    if headers.get("content-type", "").startswith("text/html"):
        headers.setdefault("cache-control", "no-store")


def visitor(request: Request) -> str:
    """Return the address of the visitor's machine, for counting wrong passwords."""
    return request.client.host if request.client else "unknown"


def may_read_metrics(headers: Headers, project: Project) -> bool:
    """Say whether a caller may read the numbers: anybody without a password, else who knows the API key or the password."""
    web = project.settings.web
    if web.password is None:
        return True
    given = headers.get("authorization", "").removeprefix("Bearer ").encode()
    accepted = [secret.reveal().encode() for secret in (web.api_key, web.password) if secret is not None]
    return any(hmac.compare_digest(given, secret) for secret in accepted)


def _is_own_name(host: str, settings: Settings) -> bool:
    bound = settings.web.host.lower()
    if host in _LOOPBACK_NAMES or host in (bound, (urlsplit(settings.web.public_url).hostname or "").lower()):
        return bool(host)
    return bound in _EVERY_INTERFACE and _is_address(host)


def _is_address(host: str) -> bool:
    """Say whether a host is an IP address; rebinding needs a name, so an address is no danger."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_local(request: Request, host: str, settings: Settings) -> bool:
    proxied = any(name in request.headers for name in _PROXY_HEADERS)
    return not proxied and is_loopback(host) and is_loopback(settings.web.host)


def _host_name(header: str) -> str:
    """Return the name in a Host header, without port and brackets, lower case."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
