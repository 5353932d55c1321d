"""Gateways for tests: real ones, whose other side is a list or a file that says what arrived."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from winback.gateways.base import Accepted, Channel, Gateway, Options, Outcome, Outgoing, Retry, Sender

Decide = Callable[[Outgoing], Outcome]


def accept(message: Outgoing) -> Outcome:
    """Accept everything."""
    return Accepted(provider_id=f"p-{message.message_id[:8]}", reply="250 2.0.0 ok")


class Scripted(Gateway):
    """Asks `decide` what to answer, and keeps what arrived."""

    type: ClassVar[str] = "scripted"
    channels: ClassVar[frozenset[Channel]] = frozenset({"email", "sms"})

    def __init__(self, name: str = "outbox", decide: Decide = accept) -> None:
        super().__init__(Options(), name=name, root=Path())
        self.decide = decide
        self.arrived: list[Outgoing] = []
        self.connections = 0
        self._lock = threading.Lock()

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        self.connections += 1
        yield _Line(self)

    @property
    def ids(self) -> list[str]:
        """Return the ids of what arrived, in order."""
        return [message.message_id for message in self.arrived]

    @property
    def addresses(self) -> list[str]:
        """Return whom it arrived at, in order."""
        return [message.recipient for message in self.arrived]

    def take(self, message: Outgoing) -> Outcome:
        """Decide on one message."""
        outcome = self.decide(message)
        if isinstance(outcome, Accepted):
            with self._lock:
                self.arrived.append(message)
        return outcome


class _Line(Sender):
    def __init__(self, gateway: Scripted) -> None:
        self._gateway = gateway

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        for message in messages:
            on_handover(message.message_id)
            yield message.message_id, self._gateway.take(message)


class Filed(Gateway):
    """Its other side is a file with one line for each message that arrived, so that it outlives the process.

    `hang_at` is called at four points of each message: "before", "handed", "arrived", "answered".
    """

    type: ClassVar[str] = "filed"
    channels: ClassVar[frozenset[Channel]] = frozenset({"email", "sms"})

    def __init__(
        self, world: Path, hang_at: Callable[[str, int], None] = lambda point, number: None, *, tells: bool = False
    ) -> None:
        super().__init__(Options(), name="outbox", root=world.parent)
        self.world = world
        self.hang_at = hang_at
        self.tells = tells  # whether it can say afterwards what arrived

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        yield _FiledLine(self)

    def settle(self, message_ids: Sequence[str]) -> dict[str, Outcome | None]:
        if not self.tells:
            return dict.fromkeys(message_ids)
        arrived = set(self.arrived)
        return {
            message_id: Accepted(reply="it is there") if message_id in arrived else Retry("it is not there")
            for message_id in message_ids
        }

    @property
    def arrived(self) -> list[str]:
        """Return the ids of what arrived, in order."""
        return self.world.read_text().split() if self.world.exists() else []


class _FiledLine(Sender):
    def __init__(self, gateway: Filed) -> None:
        self._gateway = gateway

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        gateway = self._gateway
        for number, message in enumerate(messages):
            gateway.hang_at("before", number)
            on_handover(message.message_id)
            gateway.hang_at("handed", number)
            with gateway.world.open("a") as world:
                world.write(f"{message.message_id}\n")
                world.flush()
                os.fsync(world.fileno())
            gateway.hang_at("arrived", number)
            yield message.message_id, Accepted(provider_id=f"p-{number}", reply="250 ok")
            gateway.hang_at("answered", number)
