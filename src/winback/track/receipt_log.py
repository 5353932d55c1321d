"""The log of what gateways' other sides reported: raw, each once, and whose address a report is about."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.addresses import hash_address, normalise_email, normalise_phone
from winback.errors import AddressError
from winback.gateways.base import ReceiptEvent
from winback.project import Project
from winback.store import Channel, customers, receipts

#: Whose reports those are that came as mail, whichever gateway had sent the message.
MAILBOX = "mailbox"

_ID = 200  # letters of a provider's id
_RAW = 20_000  # letters of what was reported
_DEPTH = 8
_KEPT = ("hard_bounce", "cause")  # whatever is cut
_LARGEST_WHOLE = 2**63


@dataclass(frozen=True)
class Desk:
    """Where the reports of one call are worked off: one transaction, one gateway, one moment."""

    connection: Connection
    project: Project
    gateway: str
    now: datetime
    any_gateway: bool = False  # the reports are about what any gateway sent: a mailbox hears of all

    @property
    def name(self) -> str:
        """Return who the history says it was."""
        return f"receipts {self.gateway}"[:100]

    @cached_property
    def address_key(self) -> bytes:
        """Return the key that hides addresses in hashes."""
        return self.project.key("address")

    def moment(self, at: datetime | None) -> datetime:
        """Return when something happened; a provider's clock may be ahead, and nothing happens after it was reported."""
        if at is None:
            return self.now
        return min(at.replace(tzinfo=UTC) if at.tzinfo is None else at, self.now)

    def address(self, recipient: str | None) -> tuple[Channel, str] | None:
        """Return the channel and the keyed hash of an address that a provider names, None when it is none.

        A phone number may come without its +, or as it is dialled at home: of its readings the one that a customer has counts.
        """
        readings = [] if recipient is None else list(self._readings(recipient.strip()))
        return next((address for address in readings if self.people(address)), readings[0] if readings else None)

    def _readings(self, recipient: str) -> Iterator[tuple[Channel, str]]:
        if "@" in recipient:
            with suppress(AddressError):
                yield Channel.EMAIL, hash_address(normalise_email(recipient), self.address_key)
            return
        for number in (recipient,) if recipient.startswith("+") else (f"+{recipient}", recipient):
            with suppress(AddressError):
                yield Channel.SMS, hash_address(normalise_phone(number, self.project.settings.shop.region), self.address_key)

    def people(self, address: tuple[Channel, str]) -> list[int]:
        """Return the ids of the customers who have an address; families share phones."""
        channel, address_hash = address
        column = customers.c.email_hash if channel is Channel.EMAIL else customers.c.phone_hash
        query = select(customers.c.id).where(column == address_hash, customers.c.erased_at.is_(None)).order_by(customers.c.id)
        return list(self.connection.scalars(query))


def storable_event(event: ReceiptEvent) -> ReceiptEvent:
    """Return an event whose texts both databases can keep; nothing in a call is to be trusted."""
    return replace(
        event,
        provider_id=_storable_text(event.provider_id)[:_ID],
        report_id=_storable_text(event.report_id)[:_ID],
        text=_storable_text(event.text),
    )


def digest(*parts: str) -> str:
    """Return an id for what has none of its own, made of all that it says."""
    return "digest:" + blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A report as it goes into the log, under an id that is the same when the provider repeats itself."""

    event: ReceiptEvent
    key: str
    message_id: str | None


def keep(desk: Desk, entries: Sequence[Entry]) -> list[Entry]:
    """Write reports into the log; return those that were not there yet, each once."""
    if not entries:
        return []
    dialect_insert = postgresql_insert if desk.connection.dialect.name == "postgresql" else sqlite_insert
    statement = dialect_insert(receipts).on_conflict_do_nothing().returning(receipts.c.provider_id, receipts.c.kind)
    written = {tuple(row) for row in desk.connection.execute(statement, [_row(desk, entry) for entry in entries])}
    fresh = []
    for entry in entries:
        if (entry.key, entry.event.kind) in written:
            written.remove((entry.key, entry.event.kind))
            fresh.append(entry)
    return fresh


def _row(desk: Desk, entry: Entry) -> dict[str, Any]:
    # What a late look needs to know stands beside what was reported.
    event = entry.event
    own: dict[str, Any] = {"hard_bounce": True} if event.hard_bounce else {}
    if event.kind == "bounced":
        own |= {"cause": event.cause}
    return {
        "gateway": desk.gateway,
        "provider_id": entry.key,
        "kind": event.kind,
        "message_id": entry.message_id,
        "at": desk.moment(event.at),
        "raw": storable({**event.raw, **own}),
    }


def storable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was reported as JSON that both databases keep; what is too large is cut to its beginning."""
    found = {_storable_text(str(key)): _storable(value, _DEPTH) for key, value in raw.items()}
    text = json.dumps(found, ensure_ascii=False)
    if len(text) <= _RAW:
        return found
    return {"cut": text[:_RAW], **{name: found[name] for name in _KEPT if isinstance(found.get(name), bool | str)}}


def _storable(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_WHOLE:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping) and depth:
        return {_storable_text(str(key)): _storable(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list | tuple) and depth:
        return [_storable(each, depth - 1) for each in value]
    return _storable_text(str(value))


def _storable_text(text: str) -> str:
    """Return a text without NUL, which PostgreSQL refuses, and without halves of characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
