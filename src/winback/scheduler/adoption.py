"""`winback adopt`: a folder that was refused sends from now on, and what may have gone already does not go again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, select

from winback import ledger
from winback.errors import InputError
from winback.installation import Admitted, Kind, Refusal, admit, look
from winback.ledger import Move
from winback.project import Project
from winback.store import MessageState, messages, reading, writing

#: Reason of messages that were due before a database was adopted that lacks what was sent last.
RESTORED = "restored"

_WORKER = "adopt"


@dataclass(frozen=True)
class Standing:
    """What a folder that was refused would send: `due` messages are due by now, `held` were being sent when it was copied."""

    refusal: Refusal
    due: int
    held: int
    last_sent: datetime | None

    @property
    def sends_what_is_due(self) -> bool:
        """Say what happens to messages that are due unless a person decides: they go, except from a backup."""
        return self.refusal.kind is not Kind.RESTORED


@dataclass(frozen=True)
class Adoption:
    """What was done. `skipped` messages were due and do not go."""

    admitted: Admitted
    skipped: int = 0


def standing(engine: Engine, project: Project, now: datetime) -> Standing | None:
    """Return what a person should know before adopting; None where this folder may send already."""
    refusal = look(engine, project)
    if refusal is None:
        return None
    with reading(engine) as connection:
        return Standing(
            refusal,
            due=_count(connection, _due(now)),
            held=_count(connection, messages.c.state == MessageState.SENDING),
            last_sent=connection.scalar(select(func.max(messages.c.sent_at, type_=messages.c.sent_at.type))),
        )


def adopt(engine: Engine, project: Project, now: datetime, *, by: str, send_due: bool) -> Adoption:
    """Let this folder send from now on; do nothing where it may already.

    Unless `send_due`, whatever was due by now is skipped, also what the planner had yet to write: the original, or what happened
    after the backup, may have sent it. Otherwise it goes as far as it is not too late.

    Raise InputError when a campaign cannot be planned, because then nobody can say what of it was due.
    """
    if look(engine, project) is None:
        return Adoption(Admitted(None))
    # Before it is let in: were it to end in between, nothing would go that should not.
    skipped = 0 if send_due else _skip_due(engine, project, now)
    return Adoption(admit(engine, project, now, by), skipped)


def _skip_due(engine: Engine, project: Project, now: datetime) -> int:
    from winback.plan import plan

    with writing(engine) as connection:
        planned = plan(connection, project, now, worker=_WORKER)
        wrong = [f"campaign {each.campaign}: {each.error}" for each in planned.campaigns if each.error] + planned.errors
        if wrong:
            raise InputError(
                f"what was due cannot be told: {wrong[0]}",
                "mend it, or switch the campaign off (enabled = false); nothing was changed",
            )
        due = connection.scalars(select(messages.c.id).where(_due(now)).order_by(messages.c.id)).all()
        moves = [Move(message_id, MessageState.PLANNED, MessageState.SKIPPED, RESTORED) for message_id in due]
        return len(ledger.apply(connection, moves, now=now, worker=_WORKER))


def _due(now: datetime) -> ColumnElement[bool]:
    return and_(messages.c.state == MessageState.PLANNED, messages.c.due_at <= now)


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(messages).where(condition)) or 0
