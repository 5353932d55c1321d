"""Signing in and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from winback.web.auth import Guesses, Sessions
from winback.web.render import page
from winback.web.security import own_form, set_session, visitor

router = APIRouter()


@router.get("/login")
def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 the field's name in the address
    """Show the sign-in form, or go on where no password is asked for."""
    if request.state.session.signed_in:
        return RedirectResponse(_local(next), 303)
    return page(request, "login.html", next=_local(next), problem="")


@router.post("/login", dependencies=[Depends(own_form)])
def sign_in(
    request: Request,
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",  # noqa: A002 the field's name in the form
) -> Response:
    """Start a session for the right password; after some wrong ones from an address it waits."""
    sessions: Sessions = request.state.sessions
    guesses: Guesses = request.app.state.guesses
    wait = guesses.wait(visitor(request))
    if wait:
        problem = f"Too many wrong passwords. Try again in {-(-wait // 60)} min."
        response = page(request, "login.html", status=429, next=_local(next), problem=problem)
        response.headers["retry-after"] = str(wait)
        return response
    if not sessions.is_password(password):
        guesses.wrong(visitor(request))
        return page(request, "login.html", status=403, next=_local(next), problem="That is not the password.")
    guesses.right(visitor(request))
    response = RedirectResponse(_local(next), 303)
    set_session(request, response, sessions.issue(signed_in=True))
    return response


@router.post("/logout", dependencies=[Depends(own_form)])
def sign_out(request: Request) -> Response:
    """End the session in this browser."""
    response = RedirectResponse("/login", 303)
    set_session(request, response, request.state.sessions.issue(signed_in=False))
    return response


def _local(address: str) -> str:
    """Return an address of this site, `/` for anything a browser might take for another one."""
    plain = unquote(address)
    safe = plain.startswith("/") and not plain.startswith(("//", "/\\")) and plain.isprintable() and "\\" not in plain
    return address if safe else "/"
