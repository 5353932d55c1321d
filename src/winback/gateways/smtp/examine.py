"""Try the way to a mail server without sending, and say in plain words what was found."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from winback.gateways.smtp.content import Capabilities
from winback.gateways.smtp.line import Line, LineDown
from winback.gateways.smtp.opening import CannotOpen, Opener, Stage
from winback.gateways.smtp.options import SmtpOptions

#: Nobody wants to look at a screen for five minutes.
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """What a connection test found.

    `conversation` has a line for each one said, "C: " for us and "S: " for the server; what logs in is left out.
    """

    problems: tuple[str, ...]
    facts: tuple[str, ...]
    conversation: tuple[str, ...]


def test_connection(options: SmtpOptions, root: Path) -> ConnectionTest:
    """Reach the server, encrypt, log in and say good-bye; no message is sent. Takes at most 20 s, for each step."""
    conversation: list[str] = []
    facts: list[str] = []
    limits = {name: min(limit, type(limit)(seconds=_PATIENCE)) for name, limit in options.timeouts}
    quick = options.model_copy(update={"timeouts": options.timeouts.model_copy(update=limits)})
    try:
        asyncio.run(_converse(Opener(quick, root), quick, conversation, facts))
    except CannotOpen as trouble:
        return ConnectionTest((str(trouble),), tuple(facts), tuple(conversation))
    return ConnectionTest((), tuple(facts), tuple(conversation))


async def _converse(opener: Opener, options: SmtpOptions, conversation: list[str], facts: list[str]) -> None:
    line, capabilities = await opener.open(
        lambda who, words: conversation.append(f"{who}: {words}".rstrip()),
        lambda stage, line: facts.append(_reached(options, stage, line)),
    )
    facts += _limits(capabilities)
    try:
        async with asyncio.timeout(_PATIENCE):
            await line.say(b"QUIT")
    except (LineDown, TimeoutError):
        pass  # it has answered everything that matters
    line.close()
    await asyncio.wait([line.ended], timeout=1)
    line.abort()


def _reached(options: SmtpOptions, stage: Stage, line: Line) -> str:
    """Say what is behind us."""
    if stage == "connected":
        return f"{options.host}:{options.real_port} answers, at {line.transport.get_extra_info('peername')[0]}"
    if stage == "logged in":
        return f"logged in as {options.username}" if options.username else "no login"
    encrypted: ssl.SSLObject | None = line.transport.get_extra_info("ssl_object")
    if encrypted is None:
        return "not encrypted"
    certificate = encrypted.getpeercert()
    if not certificate:  # the library reads none that it need not check
        return f"encrypted with {encrypted.version()}; the certificate is not looked at (verify = false)"
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return f"encrypted with {encrypted.version()}, by a certificate that is valid until {until:%Y-%m-%d}"


def _limits(capabilities: Capabilities) -> list[str]:
    size = capabilities.size
    return [
        f"takes messages of up to {size / 1_000_000:.0f} MB (SIZE)" if size else "names no limit for the size of messages (SIZE)",
        "takes messages one right after another (PIPELINING)"
        if capabilities.pipelining
        else "takes messages step by step (no PIPELINING)",
        "takes letters of any bytes (8BITMIME)" if capabilities.eight_bit else "takes letters of ASCII only (no 8BITMIME)",
    ]
