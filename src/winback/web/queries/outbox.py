"""Messages of the built-in outbox: the ledger says which, the gateway's files hold them as they were handed over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, select

from winback.project import Project
from winback.store import Channel, MessageState, customers, messages
from winback.web.mail import Letter, read_letter

#: How many messages a page lists.
LISTED = 40

_GONE = (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED, MessageState.UNCERTAIN)


@dataclass(frozen=True)
class Text:
    """A text message as it was handed over."""

    sender: str
    recipient: str
    text: str
    source: str


def folders(project: Project) -> dict[str, Path]:
    """Return the folder of each outbox gateway that the shop has, by the gateway's name."""
    from winback.gateways.outbox import OutboxOptions

    found = {}
    for name, gateway in project.settings.gateways.items():
        if gateway.type == "outbox":
            options = OutboxOptions.model_validate(gateway.options)
            found[name] = project.root / options.folder
    return found


def listing(connection: Connection, project: Project, *, campaign: str, page: int) -> list[Row[Any]]:
    """Return one page of messages, the newest first, and one more where there are older ones."""
    query = _sent(project).order_by(messages.c.sent_at.desc(), messages.c.id)
    if campaign:
        query = query.where(messages.c.campaign == campaign)
    return list(connection.execute(query.limit(LISTED + 1).offset((page - 1) * LISTED)))


def one(connection: Connection, project: Project, message_id: str) -> Row[Any] | None:
    """Return a message of an outbox gateway."""
    return connection.execute(_sent(project).where(messages.c.id == message_id)).one_or_none()


def campaigns(connection: Connection, project: Project) -> list[str]:
    """Return the campaigns that have messages in the outbox."""
    query = select(messages.c.campaign).where(messages.c.gateway.in_(list(folders(project)))).distinct()
    return list(connection.scalars(query.order_by(messages.c.campaign)))


def content(project: Project, row: Row[Any]) -> Letter | Text | None:
    """Return what was handed over, nothing where the file is gone."""
    folder = folders(project)[row.gateway]
    name = str(UUID(row.id))
    suffix = ".eml" if row.channel == Channel.EMAIL else ".json"
    file = next(iter(sorted(folder.glob(f"*/{name}{suffix}"))), None)
    if file is None:
        return None
    if row.channel == Channel.EMAIL:
        return read_letter(file.read_bytes())
    source = file.read_text(encoding="utf-8")
    kept = json.loads(source)
    return Text(kept.get("sender", ""), kept.get("recipient", ""), kept.get("text", ""), source)


def _sent(project: Project) -> Select[Any]:
    return (
        select(
            messages.c.id,
            messages.c.campaign,
            messages.c.step,
            messages.c.channel,
            messages.c.variant,
            messages.c.state,
            messages.c.gateway,
            messages.c.subject,
            messages.c.segments,
            messages.c.sent_at,
            messages.c.version_id,
            customers.c.external_id,
            customers.c.first_name,
            customers.c.last_name,
            customers.c.email,
            customers.c.phone,
        )
        .join(customers, customers.c.id == messages.c.customer_id)
        .where(messages.c.gateway.in_(list(folders(project))), messages.c.state.in_(_GONE))
    )
