"""What a mailbox is, and the Maildir: a folder that a mail server on this machine writes to.

Mails are given in batches. A batch is worked off, committed, and only then marked as read in the mailbox; who is killed in
between reads it again, which changes nothing, because each mail is known by what it says (`Report.mail_id`).
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from winback.errors import MailboxError
from winback.track.bounces.mail import LARGEST

#: Mails worked off in one transaction.
BATCH = 50


class Settle(Protocol):
    """Mark the mails of a batch as read, those that are `done` as seen as well: no person has to look at them."""

    def __call__(self, done: Sequence[bool]) -> None: ...


@dataclass(frozen=True)
class Batch:
    """Some mails, each cut to what is looked at, and how far the mailbox is read with them."""

    contents: Sequence[bytes]
    mark: str
    settle: Settle


class Mailbox(ABC):
    """A place that mails come to."""

    name: str  # the key in [bounces]
    place: str  # in words
    identity: str  # tells it from every other, so that a mark is not taken for another one's

    @abstractmethod
    def read(self, mark: str, since: datetime) -> Generator[Batch, None, None]:
        """Give the mails that came after a mark, without one those after a moment. Raise MailboxError where that fails."""

    @abstractmethod
    def check(self) -> None:
        """Try to open it, and change nothing. Raise MailboxError where that fails."""


class Maildir(Mailbox):
    """A Maildir (https://cr.yp.to/proto/maildir.html): what is in new/ was not read yet; reading moves it to cur/."""

    name = "maildir"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = self.identity = f"the Maildir {folder}"

    def read(self, mark: str, since: datetime) -> Generator[Batch, None, None]:
        names = self._waiting()
        unreadable = ""
        for start in range(0, len(names), BATCH):
            found: dict[str, bytes] = {}
            for name in names[start : start + BATCH]:
                try:
                    content = _content(self.folder / "new" / name)
                except FileNotFoundError:
                    continue  # another reader was faster
                except OSError as error:
                    unreadable = unreadable or f"{name}: {error.strerror}"
                    continue
                if content is not None:
                    found[name] = content
            if found:
                yield Batch(list(found.values()), "", _Moving(self.folder, list(found)))
        if unreadable:
            raise MailboxError(f"some mails in {self.folder}/new cannot be read ({unreadable})", "let this user read them")

    def check(self) -> None:
        self._waiting()
        if not os.access(self.folder / "cur", os.W_OK | os.X_OK) or not os.access(self.folder / "new", os.W_OK | os.X_OK):
            raise MailboxError(f"{self.place} cannot be written", "let this user move mails from new/ to cur/")

    def _waiting(self) -> list[str]:
        """Return the names of unread mails, the oldest first: names begin with the time."""
        try:
            with os.scandir(self.folder / "new") as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
            (self.folder / "cur").mkdir(exist_ok=True)
        except FileNotFoundError:
            folders = " ".join(str(self.folder / name) for name in ("new", "cur", "tmp"))
            remedy = f"make it: mkdir -p {folders}; or correct bounces.maildir"
            raise MailboxError(f"{self.folder} is no Maildir", remedy) from None
        except OSError as error:
            raise MailboxError(
                f"{self.place} cannot be read: {error.strerror}", "let this user read it and write to it"
            ) from None
        return names


@dataclass(frozen=True)
class _Moving:
    """Moves mails from new/ to cur/, with the flag S (seen) for those that no person has to see."""

    folder: Path
    names: Sequence[str]

    def __call__(self, done: Sequence[bool]) -> None:
        for name, seen in zip(self.names, done, strict=True):
            target = self.folder / "cur" / (name.partition(":2,")[0] + (":2,S" if seen else ":2,"))
            try:
                with suppress(FileNotFoundError):  # another reader was faster
                    (self.folder / "new" / name).rename(target)
            except OSError as error:
                message = f"mails cannot be moved from {self.folder}/new to cur: {error.strerror}"
                raise MailboxError(message, "let this user write to both folders") from None


def _content(path: Path) -> bytes | None:
    """Return a file's first bytes, None for what is no file; a pipe or a link in the folder is nobody's mail."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(LARGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
