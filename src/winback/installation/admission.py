"""Let a folder send from now on that was refused, because a person said so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, Engine, delete, select

from winback import ledger
from winback.errors import InputError
from winback.installation import card as cards
from winback.installation.fence import RESTORED_KEY, Kind, Look, Refusal, examine, new_card, unwritable, write_row
from winback.installation.surroundings import this_machine
from winback.ledger import Move
from winback.project import Project
from winback.store import MessageState, installation, messages, places, writing

#: Reason of messages that were being sent when the database was copied.
COPIED_WHILE_SENT = "copied"

_WORKER = "adopt"


@dataclass(frozen=True)
class Admitted:
    """What was done. `refusal` is why the folder could not send before, None where it could."""

    refusal: Refusal | None
    uncertain: int = 0  # messages that were in somebody's hands in the original
    left_out: int = 0  # folders that may no longer send from this database


def admit(engine: Engine, project: Project, now: datetime, by: str) -> Admitted:
    """Let this folder send from its database; nothing is done where it may already.

    Beside the others, when the database is the one they send from. Of a copy, or a backup, this folder is the only one from now
    on; what was being sent when it was made is uncertain there. Raise InputError where the folder cannot keep its card.
    """
    try:
        with cards.locked(project.var):
            return _admit(engine, project, now, by)
    except OSError as error:
        raise _as_error(unwritable(project, error)) from error


def _admit(engine: Engine, project: Project, now: datetime, by: str) -> Admitted:
    seen = examine(engine, project)
    if seen.refusal is None:
        return Admitted(None)
    if seen.refusal.kind is Kind.UNUSABLE:
        raise _as_error(seen.refusal)
    card = new_card(project, seen, uuid4().hex, now)
    mark = cards.prepare(project.var, card)
    with writing(engine) as connection:
        left_out = _leave_out(connection, seen, card.folder)
        uncertain = 0 if seen.refusal.kind is Kind.SECOND else _give_up(connection, now)
        connection.execute(delete(installation).where(installation.c.key == RESTORED_KEY))
        write_row(connection, card, mark, now, by[:200])
    cards.put_in_place(project.var)
    return Admitted(seen.refusal, uncertain, left_out)


def _leave_out(connection: Connection, seen: Look, folder: str) -> int:
    """Forget the folders that this one takes the place of; return how many others there are among them."""
    here = this_machine().id
    gone = [row for row in seen.rows if seen.parted or (row.folder == folder and row.machine == here)]
    connection.execute(delete(places).where(places.c.id.in_([row.id for row in gone])))
    return sum((row.folder, row.machine) != (folder, here) for row in gone)


def _give_up(connection: Connection, now: datetime) -> int:
    """Say of messages that the original was sending that nobody here knows what became of them; return how many."""
    held = connection.scalars(select(messages.c.id).where(messages.c.state == MessageState.SENDING).order_by(messages.c.id)).all()
    moves = [Move(message_id, MessageState.SENDING, MessageState.UNCERTAIN, COPIED_WHILE_SENT) for message_id in held]
    return len(ledger.apply(connection, moves, now=now, worker=_WORKER))


def _as_error(refusal: Refusal) -> InputError:
    return InputError(refusal.message, refusal.remedy)
