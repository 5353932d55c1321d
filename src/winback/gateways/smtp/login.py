"""Logging in: the mechanisms of RFC 4954 that mail relays offer."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Sequence

from winback.gateways.smtp.options import SmtpOptions
from winback.gateways.smtp.replies import Reply

#: Says something that must not be recorded, and returns the reply.
Say = Callable[[bytes], Awaitable[Reply]]


def choose_mechanism(options: SmtpOptions, offered: frozenset[str]) -> str | None:
    """Return the mechanism to use, None when the server offers none that can be used."""
    wanted: Sequence[str]
    if options.auth != "auto":
        wanted = (options.auth.upper(),)
    elif options.token is not None:
        wanted = ("XOAUTH2",)
    else:
        wanted = ("PLAIN", "LOGIN")
    return next((mechanism for mechanism in wanted if mechanism in offered), None)


async def log_in(mechanism: str, username: str, secret: str, say: Say) -> Reply:
    """Have the conversation of a mechanism and return the server's last word: 235 when it went well."""
    if mechanism == "PLAIN":  # RFC 4616
        return await say(b"AUTH PLAIN " + b64encode(f"\0{username}\0{secret}".encode()))
    if mechanism == "LOGIN":
        reply = await say(b"AUTH LOGIN")
        for word in (username, secret):
            if reply.code != 334:
                return reply
            reply = await say(b64encode(word.encode()))
        return reply
    # https://developers.google.com/gmail/imap/xoauth2-protocol: a refusal comes as a challenge, and wants an empty line.
    reply = await say(b"AUTH XOAUTH2 " + b64encode(f"user={username}\1auth=Bearer {secret}\1\1".encode()))
    if reply.code != 334:
        return reply
    final = await say(b"")
    return Reply(final.code, f"{final.raw} {_explanation(reply)}".rstrip())


def _explanation(challenge: Reply) -> str:
    """Return what the server says of a token it does not take, as far as it is worth showing."""
    try:
        status = json.loads(b64decode(challenge.text, validate=True))["status"]
    except (Base64Error, ValueError, KeyError, TypeError):
        return ""
    return f"(status {str(status)[:20]})"
