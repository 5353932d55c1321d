"""The folder's side of the fence: `var/installation.json`, which names the folder to its database.

It is replaced as a whole, in three steps that a crash may part: the new one is written beside it, the database is told, the new
one takes its place. In between both are there, and the one that the database knows counts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from winback.installation.surroundings import FileMark, mark_of

NAME = "installation.json"
_NEXT = "installation.json.new"
_LOCK = "installation.lock"

_ABOUT = (
    "Names this folder to its database, so that copies of either are noticed and do not send. "
    "Part of no backup, and not to be edited: see `winback adopt`."
)

#: A card is short; what is longer is none.
_LONGEST = 10_000


@dataclass(frozen=True)
class Card:
    """What the folder knows of itself: its name and newest token in the database's table `places`."""

    place: str
    token: str
    generation: int
    database: str
    folder: str  # for people, as the two below
    host: str
    written_at: str


@dataclass(frozen=True)
class Found:
    """A card that is in the folder: what it says, None when it cannot be read, and which file it is.

    One that is `pending` was not put in place: the database may have been told of it or not.
    """

    card: Card | None
    mark: FileMark
    pending: bool


def find(var: Path) -> tuple[Found, ...]:
    """Return the folder's cards: none in a new folder, one as a rule, two while one takes the other's place."""
    return tuple(found for name in (_NEXT, NAME) for found in [_read(var / name)] if found is not None)


def _read(path: Path) -> Found | None:
    try:
        before = mark_of(path)
        with path.open("rb") as stream:
            content = stream.read(_LONGEST)
        if mark_of(path) != before:  # replaced meanwhile: read the other one
            return _read(path)
    except FileNotFoundError:
        return None
    return Found(_parsed(content), before, path.name == _NEXT)


def _parsed(content: bytes) -> Card | None:
    try:
        values: dict[str, Any] = json.loads(content)
        card = Card(**{name: values[name] for name in Card.__dataclass_fields__})
    except (ValueError, KeyError, TypeError):
        return None
    whole = isinstance(card.generation, int) and all(isinstance(each, str) for each in (card.place, card.token, card.database))
    return card if whole else None


@contextmanager
def locked(var: Path) -> Iterator[None]:
    """Let only this process replace the folder's card. Raise OSError where the folder cannot be written."""
    var.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(var / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def prepare(var: Path, card: Card) -> FileMark:
    """Write the next card beside the present one, to stay there through a power cut; return which file it is."""
    path = var / _NEXT
    path.unlink(missing_ok=True)  # a file of its own for every card
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(json.dumps({"about": _ABOUT, **asdict(card)}, indent=2, ensure_ascii=False).encode())
        stream.flush()
        os.fsync(stream.fileno())
    folder = os.open(var, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return mark_of(path)


def put_in_place(var: Path) -> None:
    """Let the next card take the place of the present one."""
    (var / _NEXT).replace(var / NAME)
