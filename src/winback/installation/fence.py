"""May this folder send from this database? Told by what a copy cannot bring along.

The folder's card and the database's row of `places` name the same token, which changes with every pass that sends:

* other tokens: one of the two is older, so it was put back from a backup;
* the same token in another file than the one that the database remembers, or in another database than the one that the card
  names: copied together.

A folder that was moved on its machine is still the same files. A database that has never sent adopts the first folder by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, Engine, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from winback.installation import card as cards
from winback.installation.card import Card, Found
from winback.installation.surroundings import (
    FileMark,
    Machine,
    born_apart,
    database_mark,
    mark_of,
    same_database,
    this_machine,
)
from winback.project import Project
from winback.store import AnyRow, installation, places, reading, writing

#: What a person does about a refusal.
ADOPT = "If this is the one that should send from now on: winback adopt"

#: Where a database that was put back remembers who noticed, so that nobody sends from it.
RESTORED_KEY = "fence.restored"

#: Key of the PostgreSQL advisory lock for who comes first ("fence" in digits on a phone's keypad).
_ADVISORY_KEY = 33623

#: A look while another process replaces the card is taken again.
_LOOKS = 5


class Kind(StrEnum):
    """Why a folder may not send."""

    COPY = "copy"  # the database, or it and the folder, were copied; the original may be sending
    SECOND = "second"  # the database is in use, and this folder was not admitted to it
    RESTORED = "restored"  # the database is older than what was sent: messages may have gone of which it knows nothing
    UNUSABLE = "unusable"  # it cannot be told: the folder's file cannot be read or written


@dataclass(frozen=True)
class Refusal:
    """Why nothing is sent, in words, and what to do about it."""

    kind: Kind
    message: str
    remedy: str = ADOPT
    older: bool = False  # the database lacks what this folder has sent: nobody is to send from it

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}"


@dataclass(frozen=True)
class Look:
    """What was found: the folder's cards, the database's rows, and what follows from them."""

    found: tuple[Found, ...]
    rows: tuple[AnyRow, ...]
    database: str
    own: AnyRow | None = None  # the row of this folder, where it may send
    pending: bool = False  # the card that says so is still to be put in place: a crash came between
    refusal: Refusal | None = None

    @property
    def is_new(self) -> bool:
        """Say whether nobody has ever sent from this database, nor from this folder."""
        return self.own is None and self.refusal is None

    @property
    def behind(self) -> bool:
        """Say whether other folders have sent since this one's card was written."""
        return self.own is not None and max(row.generation for row in self.rows) > self.own.generation

    @property
    def parted(self) -> bool:
        """Say whether the folders of the database's rows send from another one, or from what came after a backup."""
        older = self.refusal is not None and self.refusal.older
        return older or not all(same_database(row.database, self.database) for row in self.rows)

    @property
    def newest(self) -> int:
        """Return the highest generation that is known here or there; 0 where nobody has sent, however often somebody tried."""
        if self.is_new:
            return 0
        known = [row.generation for row in self.rows] + [each.card.generation for each in self.found if each.card]
        return max(known, default=0)


def look(engine: Engine, project: Project) -> Refusal | None:
    """Say why this folder may not send, None when it may; change nothing."""
    return examine(engine, project).refusal


def check(engine: Engine, project: Project, now: datetime) -> Refusal | None:
    """Say why this folder may not send; let a new one in, and keep up with what other folders have sent.

    To be asked before anything is done for a shop by itself: planning on a copy would enroll people by its files, and reading
    a mailbox would take from the original what is in it.
    """
    seen = examine(engine, project)
    if seen.refusal is None and (seen.is_new or seen.behind):
        return advance(engine, project, now)
    if seen.refusal is not None and seen.refusal.older:
        _remember(engine, now)
    return seen.refusal


def advance(engine: Engine, project: Project, now: datetime) -> Refusal | None:
    """Say why this folder may not send; where it may, give it a new token.

    To be called before the first message leaves, and after the last one was recorded: a copy of the database that was made
    before or in between is then an older one.
    """
    try:
        with cards.locked(project.var):
            return _advance(engine, project, now)
    except OSError as error:
        return unwritable(project, error)


def places_of(engine: Engine) -> Sequence[AnyRow]:
    """Return the folders that may send from a database, the oldest first."""
    with reading(engine) as connection:
        return connection.execute(select(places).order_by(places.c.adopted_at, places.c.id)).all()


def examine(engine: Engine, project: Project) -> Look:
    """Look at folder and database, in connections of its own, until nothing changed meanwhile."""
    for attempt in range(_LOOKS):
        found = _find(project)
        if isinstance(found, Refusal):
            return Look((), (), "", refusal=found)
        with reading(engine) as connection:
            seen = _judged(connection, project, found)
        if seen.refusal is None or attempt == _LOOKS - 1 or _find(project) == found:
            return seen
    raise AssertionError("the last look is always returned")


def _find(project: Project) -> tuple[Found, ...] | Refusal:
    try:
        return cards.find(project.var)
    except OSError as error:
        path = project.var / cards.NAME
        return Refusal(Kind.UNUSABLE, f"{path} cannot be read: {error.strerror}; nothing is sent", "let this user read it")


def unwritable(project: Project, error: OSError) -> Refusal:
    """Return the refusal of a folder that cannot keep what it has to."""
    what = f"{project.var / cards.NAME} cannot be written: {error.strerror or type(error).__name__}; nothing is sent"
    return Refusal(Kind.UNUSABLE, what, f"let this user write to {project.var}, and make room on its disk")


def _judged(connection: Connection, project: Project, found: tuple[Found, ...]) -> Look:
    rows = tuple(connection.execute(select(places).order_by(places.c.adopted_at, places.c.id)))
    seen = Look(found, rows, database_mark(connection))
    if not rows:
        has_sent = any(not _cut_off_at_first(each) for each in found)
        return replace(seen, refusal=Refusal(Kind.RESTORED, _NEVER_SENT.format(folder=project.root)) if has_sent else None)
    if _remembered(connection):
        return replace(seen, refusal=Refusal(Kind.RESTORED, _PUT_BACK, older=True))
    by_id = {row.id: row for row in rows}
    for each in found:
        row = by_id.get(each.card.place) if each.card else None
        if each.card and row is not None and row.token == each.card.token:
            refusal = _Same(row, each.card, each.mark, seen, project).refusal()
            return replace(seen, own=None if refusal else row, pending=each.pending, refusal=refusal)
    return replace(seen, refusal=_strange(seen, by_id, project))


def _cut_off_at_first(found: Found) -> bool:
    """Say whether a card is of a folder's very first pass, which ended before the card was put in place: nothing went by it."""
    return found.pending and (found.card is None or found.card.generation == 1)


_PUT_BACK = "The database was put back from a backup: another folder has sent what it does not know of; nothing is sent"
_NEVER_SENT = "The folder {folder} has sent from another database, this one has never sent; nothing is sent"


@dataclass(frozen=True)
class _Same:
    """A card and a row with the same token: of one moment, but are they the originals?"""

    row: AnyRow
    card: Card
    mark: FileMark
    seen: Look
    project: Project

    def refusal(self) -> Refusal | None:
        here, machine = _folder(self.project), this_machine()
        copied = not all(same_database(mark, self.seen.database) for mark in (self.row.database, self.card.database))
        if self._is_the_file(machine, here):
            if not copied:
                return None
            return Refusal(Kind.COPY, f"The database is a copy of the one that {here} sends from; nothing is sent")
        if self.row.folder == here and not _apart(self.row.machine, machine.id):
            what = f"The folder {here} and its database were put back from a backup, or copied over; nothing is sent"
            return Refusal(Kind.RESTORED, what)
        if copied:
            return Refusal(Kind.COPY, f"This is a copy of the installation in {name_of(self.row)}; nothing is sent")
        return _second(self.seen)

    def _is_the_file(self, machine: Machine, here: str) -> bool:
        row, mark = self.row, self.mark
        if (mark.inode, mark.folder_inode) != (row.inode, row.folder_inode) or born_apart(mark.born, row.born):
            return False
        if machine.boot and machine.boot == row.boot:
            return bool(mark.device == row.device)
        if _apart(row.machine, machine.id):
            return False
        # After a restart of the machine: moved, or a snapshot of the file system beside the original?
        return here == row.folder or not _still_there(Path(row.folder), self)


def _still_there(original: Path, copy: _Same) -> bool:
    """Say whether another folder has the card too."""
    path = original / "var" / cards.NAME
    try:
        same = mark_of(path) == copy.mark
        names = {each.card.place for each in cards.find(original / "var") if each.card is not None}
        return not same and copy.card.place in names
    except OSError:
        return False


def _strange(seen: Look, by_id: Mapping[str, AnyRow], project: Project) -> Refusal:
    """Return the refusal where no card is the one that the database expects."""
    readable = [each.card for each in seen.found if each.card is not None and not each.pending]
    for card in readable:
        row = by_id.get(card.place)
        if row is not None and card.generation >= row.generation:
            what = f"The database is older than what was last sent from {_folder(project)}, on {_day(card)}"
            what = f"{what}: it was put back from a backup, or is a copy of one; nothing is sent"
            return Refusal(Kind.RESTORED, what, older=True)
    if any(same_database(row.database, seen.database) for row in seen.rows):
        if seen.found and not readable:
            path = project.var / cards.NAME
            return Refusal(Kind.SECOND, f"{path} cannot be read as what winback wrote; nothing is sent")
        return _second(seen)
    names = _listed(seen.rows)
    what = f"The database was copied or put back from a backup; it belongs to the installation in {names}; nothing is sent"
    return Refusal(Kind.RESTORED, what)


def _second(seen: Look) -> Refusal:
    what = f"The database sends from {_listed(seen.rows)}, and this folder was not admitted to it; nothing is sent"
    return Refusal(Kind.SECOND, what, "If this one should send too: winback adopt")


def name_of(row: AnyRow) -> str:
    """Return where a folder is, for people."""
    return f"{row.folder} on {row.host}"


def _listed(rows: Sequence[AnyRow]) -> str:
    shown = ", ".join(name_of(row) for row in rows[:3])
    return shown if len(rows) <= 3 else f"{shown} and {len(rows) - 3} more"


def _folder(project: Project) -> str:
    return str(project.root.resolve())[:1000]


def _apart(one: str, other: str) -> bool:
    """Say whether two hashes are of two machines; an unknown one may be any."""
    return bool(one) and bool(other) and one != other


def _day(card: Card) -> str:
    return card.written_at[:16].replace("T", " ")


def _remembered(connection: Connection) -> bool:
    return connection.scalar(select(installation.c.value).where(installation.c.key == RESTORED_KEY)) is not None


def _remember(engine: Engine, now: datetime) -> None:
    """Keep in a database that was put back that it was, for the folders that cannot notice."""
    with reading(engine) as connection:
        if _remembered(connection):
            return
    with writing(engine) as connection:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        row = {"key": RESTORED_KEY, "value": f"{now.isoformat()} {this_machine().host}"}
        connection.execute(dialect.insert(installation).values(row).on_conflict_do_nothing())


def _advance(engine: Engine, project: Project, now: datetime) -> Refusal | None:
    seen = examine(engine, project)
    if seen.refusal is not None:
        return seen.refusal
    if seen.pending:
        cards.put_in_place(project.var)
    place = seen.own.id if seen.own is not None else uuid4().hex
    card = new_card(project, seen, place, now)
    mark = cards.prepare(project.var, card)
    with writing(engine) as connection:
        if seen.own is None and not _first(connection):
            return _second(replace(seen, rows=tuple(connection.execute(select(places)))))
        if seen.own is None:
            write_row(connection, card, mark, now)
        elif not _move_on(connection, card, mark, now, seen.own.token):
            return _second(replace(seen, rows=tuple(connection.execute(select(places)))))
    cards.put_in_place(project.var)
    return None


def _first(connection: Connection) -> bool:
    """Say whether still nobody sends from the database; of several folders that come at once, one is the first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
    return not connection.scalar(select(func.count()).select_from(places))


def new_card(project: Project, seen: Look, place: str, now: datetime) -> Card:
    """Return the next card of a folder."""
    return Card(
        place=place,
        token=uuid4().hex,
        generation=seen.newest + 1,
        database=seen.database,
        folder=_folder(project),
        host=this_machine().host,
        written_at=now.astimezone(UTC).isoformat(timespec="seconds"),
    )


def write_row(connection: Connection, card: Card, mark: FileMark, now: datetime, by: str | None = None) -> None:
    """Write a folder into the database as one that may send."""
    values = {"id": card.place, "adopted_at": now, "adopted_by": by, **_values(card, mark, now)}
    connection.execute(insert(places).values(values))


def _move_on(connection: Connection, card: Card, mark: FileMark, now: datetime, token: str) -> bool:
    known = (places.c.id == card.place, places.c.token == token)
    return connection.execute(update(places).where(*known).values(_values(card, mark, now))).rowcount == 1


def _values(card: Card, mark: FileMark, now: datetime) -> dict[str, object]:
    machine = this_machine()
    return {
        "token": card.token,
        "generation": card.generation,
        "database": card.database,
        "folder": card.folder,
        "host": machine.host,
        "machine": machine.id,
        "boot": machine.boot,
        "device": mark.device,
        "inode": mark.inode,
        "folder_inode": mark.folder_inode,
        "born": mark.born,
        "seen_at": now,
    }
