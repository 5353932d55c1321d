"""A gateway that hands messages to carrier pigeons: each note lands in a loft, a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from winback.gateways.base import Accepted, Channel, Gateway, Options, Outcome, Outgoing, Refused, Retry, Sender


class PigeonOptions(Options):
    """What config.toml says of the pigeons."""

    loft: Path = Field(description="The folder where notes land, relative to the shop's folder.", examples=["var/loft"])
    afraid_of: str = Field("", description="Recipients with this in their number get no pigeon.", examples=["+33"])


class _PigeonSender(Sender):
    def __init__(self, gateway: PigeonGateway) -> None:
        self._gateway = gateway

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        for message in messages:
            yield message.message_id, self._send(message, on_handover)

    def _send(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        options = self._gateway.options
        if message.channel not in self._gateway.channels:
            return Refused("a pigeon carries no letters")
        if options.afraid_of and options.afraid_of in message.recipient:
            return Refused(f"pigeons are afraid of {options.afraid_of}")
        loft = self._gateway.root / options.loft
        if not loft.is_dir():
            return Retry("the pigeons do not find their loft", whole_gateway=True)
        on_handover(message.message_id)
        note = {"to": message.recipient, "text": message.text}
        (loft / f"{message.message_id}.note").write_text(json.dumps(note), encoding="utf-8")
        return Accepted(message.message_id, reply="coo")


class PigeonGateway(Gateway):
    """Send text messages by carrier pigeon."""

    type: ClassVar[str] = "pigeon"
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms"})
    Options = PigeonOptions
    options: PigeonOptions

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        yield _PigeonSender(self)

    def check(self) -> list[str]:
        loft = self.root / self.options.loft
        return [] if loft.is_dir() else [f"the pigeons do not find their loft {loft}; make this folder"]
