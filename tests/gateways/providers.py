"""Gateways of type http_sms for tests, and messages to send with them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.servers.http import HttpServer
from winback.gateways.base import Gateway, Outcome, Outgoing
from winback.gateways.http_sms import HttpSmsGateway
from winback.gateways.registry import configure

ID = "6d0e2d5c-8f53-5c1e-9c3a-0c5a1c7a9b11"


def gateway(server: HttpServer | None = None, *, root: Path = Path(), **options: Any) -> HttpSmsGateway:
    """Return a gateway as config.toml makes it; what is not said is the smallest that works."""
    if not {"query", "json", "form", "body"} & set(options):
        options["json"] = {"to": "{recipient}", "text": "{text}"}
    if server is not None:
        options.setdefault("url", f"{server.url}/messages")
    made = configure("sms", {"type": "http_sms", **options}, root=root)
    assert isinstance(made, HttpSmsGateway)
    return made


def sms(text: str = "See you soon", *, to: str = "+4915123456789", message_id: str = ID) -> Outgoing:
    """Return a text message."""
    return Outgoing(message_id, "sms", to, sender="", text=text)


def send(gateway: Gateway, *messages: Outgoing) -> list[Outcome]:
    """Send messages and return their outcomes in the messages' order."""
    outcomes, _ = send_noting(gateway, messages)
    return outcomes


def send_noting(gateway: Gateway, messages: Iterable[Outgoing]) -> tuple[list[Outcome], list[str]]:
    """Send messages; return their outcomes in the messages' order, and the ids that were announced."""
    announced: list[str] = []
    messages = list(messages)
    with ExitStack() as stack:
        sender = stack.enter_context(gateway.connect())
        outcomes = dict(sender.send(messages, announced.append))
    assert len(outcomes) == len(messages)
    return [outcomes[message.message_id] for message in messages], announced
