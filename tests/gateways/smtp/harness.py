"""Send letters through the SMTP gateway to a server on loopback, and check what must hold whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.servers.smtp import SmtpServer
from winback.gateways.base import Accepted, Outcome, Outgoing, Sender, Unknown
from winback.gateways.smtp import SmtpGateway, SmtpOptions, SmtpTimeouts

SENDER = "shop@example.com"


def seconds(**limits: float) -> SmtpTimeouts:
    """Return time-outs in seconds; those not named are long enough for any test."""
    names = ("connect", "greeting", "command", "data", "final")
    return SmtpTimeouts(**{name: timedelta(seconds=limits.get(name, 20)) for name in names})


def letter(number: int, recipient: str = "", content: bytes = b"", **fields: Any) -> Outgoing:
    """Return a small e-mail, the content of which names its number."""
    return Outgoing(
        message_id=f"m{number}",
        channel="email",
        recipient=recipient or f"p{number}@example.com",
        sender=SENDER,
        content=content or f"From: {SENDER}\r\nSubject: {number}\r\n\r\nHello {number}\r\n".encode(),
        **fields,
    )


def letters(count: int) -> list[Outgoing]:
    """Return so many different e-mails."""
    return [letter(number) for number in range(count)]


def smtp_gateway(server: SmtpServer | int, root: Path = Path("/nowhere"), **options: Any) -> SmtpGateway:
    """Return a gateway to a server on loopback, in the clear unless told otherwise."""
    port = server if isinstance(server, int) else server.port
    chosen = {"host": "127.0.0.1", "port": port, "tls": "none", "timeouts": seconds(), **options}
    return SmtpGateway(SmtpOptions.model_validate(chosen), name="relay", root=root)


@dataclass(frozen=True)
class Sent:
    """What became of the messages of one call, by id and in the order in which it was told, and what was announced."""

    outcomes: Mapping[str, Outcome]
    announced: list[str]

    def __getitem__(self, number: int) -> Outcome:
        return self.outcomes[f"m{number}"]

    @property
    def accepted(self) -> set[str]:
        return {name for name, outcome in self.outcomes.items() if isinstance(outcome, Accepted)}


def send(way: SmtpGateway | Sender, messages: Iterable[Outgoing], server: SmtpServer | None = None) -> Sent:
    """Send messages and return what became of them; check the promises that hold in every case."""
    if isinstance(way, SmtpGateway):
        with way.connect() as sender:
            return send(sender, messages, server)
    taken: list[str] = []
    announced: list[str] = []

    def watched() -> Iterable[Outgoing]:
        for message in messages:
            taken.append(message.message_id)
            yield message

    told = list(way.send(watched(), announced.append))
    assert sorted(name for name, _ in told) == sorted(taken), "each message has exactly one outcome"
    for name, outcome in told:
        if isinstance(outcome, Accepted | Unknown):
            assert name in announced, "what may have been accepted was announced"
    if server is not None:
        assert server.violations == []
        arrived = [message.content.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for message in server.messages]
        assert len(set(arrived)) == len(arrived), "nothing arrived twice"
        mine = {f"m{number}" for number in arrived}.intersection(taken)
        assert mine <= set(announced), "what was never announced was never sent"
    return Sent(dict(told), announced)


def send_until_error(
    way: Sender, messages: Iterable[Outgoing], on_handover: Callable[[str], None]
) -> tuple[dict[str, Outcome], Exception]:
    """Send until an exception is raised, and return it with the outcomes told before."""
    outcomes: dict[str, Outcome] = {}
    try:
        for name, outcome in way.send(messages, on_handover):
            outcomes[name] = outcome  # noqa: PERF403 - what came before the exception is to be kept
    except Exception as error:
        return outcomes, error
    raise AssertionError("no exception was raised")


def wait_until(condition: Any, limit: float = 10) -> None:
    """Wait until a condition holds; fail when it does not come to hold."""
    pause = threading.Event()
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        pause.wait(0.002)
