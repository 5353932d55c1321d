"""Try the way to a mail server without sending, and say in plain words what was found."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from winback.gateways.smtp.content import Capabilities
from winback.gateways.smtp.line import Line, LineDown
from winback.gateways.smtp.opening import CannotOpen, Opener
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
    line, capabilities = await opener.open(lambda who, words: conversation.append(f"{who}: {words}".rstrip()))
    facts += _facts(options, line, capabilities)
    try:
        async with asyncio.timeout(_PATIENCE):
            await line.say(b"QUIT")
    except (LineDown, TimeoutError):
        pass  # it has answered everything that matters
    line.close()
    await asyncio.wait([line.ended], timeout=1)
    line.abort()


def _facts(options: SmtpOptions, line: Line, capabilities: Capabilities) -> list[str]:
    encrypted = line.transport.get_extra_info("ssl_object")
    size = capabilities.size
    return [
        f"{options.host}:{options.real_port} answers, at {line.transport.get_extra_info('peername')[0]}",
        f"encrypted with {encrypted.version()}" if encrypted else "not encrypted",
        f"logged in as {options.username}" if options.username else "no login",
        f"takes messages of up to {size / 1_000_000:.0f} MB" if size else "names no limit for the size of messages",
        "takes messages one right after another (PIPELINING)"
        if capabilities.pipelining
        else "takes messages step by step (no PIPELINING)",
    ]
