"""Send again what failed or is uncertain, because a person asked for it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, exists, select

from winback import ledger
from winback.errors import InputError
from winback.ledger import Move
from winback.policy import FALLBACK_SUFFIX
from winback.project import Project
from winback.store import MessageState, messages

_WORKER = "retry"


def retry(connection: Connection, project: Project, campaign: str, only: Literal["failed", "uncertain"], now: datetime) -> int:
    """Plan a campaign's failed or uncertain messages again, due at once, with all attempts before them; return how many.

    They keep their ids, so that a provider that did get one can tell. The rules are asked again: who unsubscribed, or whose
    address bounced, gets nothing. A message that the other channel stands in for does not go again.
    Raise InputError for a campaign that is not in the files.
    """
    found = project.campaigns.get(campaign)
    if found is None:
        names = ", ".join(sorted(project.campaigns)) or "none yet"
        raise InputError(f"there is no campaign {campaign!r}", f"there are: {names}")
    if only not in ("failed", "uncertain"):
        raise InputError(f"{only!r} cannot be sent again", "write failed or uncertain")
    state = MessageState(only)
    fallback = messages.alias()
    # Who was written to on the other channel instead has had the message.
    instead = exists().where(
        fallback.c.enrollment_id == messages.c.enrollment_id, fallback.c.step == messages.c.step.concat(FALLBACK_SUFFIX)
    )
    ids = connection.scalars(
        select(messages.c.id).where(messages.c.campaign == campaign, messages.c.state == state, ~instead).order_by(messages.c.id)
    ).all()
    fresh = {"next_attempt_at": now, "valid_until": now + found.schedule.late, "attempts": 0}
    moves = [Move(message_id, state, MessageState.PLANNED, values=fresh) for message_id in ids]
    return len(ledger.apply(connection, moves, now=now, worker=_WORKER))
