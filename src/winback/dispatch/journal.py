"""What a dispatcher has handed over and what it was answered, in a file that outlives it.

The ledger says which messages a dispatcher holds; only the journal can say which of them had left when it was killed. Each
dispatcher has one file, and holds a lock on it while it lives: the kernel lets go of the lock when the process ends, however it
ends. A line is written before the byte that could make the other side accept a message, and another after its answer, each by one
`write`: what was written is there after `kill -9`. A power cut may lose the end; then the file's boot id is not the machine's,
and nothing is concluded from what the file does not say. Room for a batch is reserved before it is claimed, so that a disk that
becomes full meanwhile keeps no answer out: what was reserved and not written is zeros at the end.

::

    {"winback": 1, "boot": "7d2c…"}                                       the first line
    {"handed": "bd4a…", "gateway": "smtp", "subject": "Hello", "segments": null, "redirected": false}
    {"answered": "bd4a…", "at": "2026-11-24T10:00:00+00:00", "kind": "Accepted", "provider_id": "4bZ1", "reply": "250 ok"}
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from winback.gateways.base import Accepted, Outcome, Refused, Retry, Unknown

_SUFFIX = ".journal"
_UNFINISHED = ".new-"
_VERSION = 1
_ENCODER = json.JSONEncoder(separators=(",", ":"))  # `json.dumps` would make one for each line

#: Bytes to reserve for a message: its line and its answer's, with a long subject and a long reply.
_ROOM = 2_000

#: How file systems say that they cannot reserve.
_CANNOT_RESERVE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_KINDS: dict[str, type[Outcome]] = {kind.__name__: kind for kind in (Accepted, Retry, Refused, Unknown)}


@dataclass(slots=True)
class Handover:
    """A message at the moment it was handed over: to which gateway, and what of it the ledger keeps."""

    gateway: str
    subject: str | None = None
    segments: int | None = None
    redirected: bool = False


@dataclass(slots=True)
class Answer:
    """What a gateway answered about a message, and when."""

    outcome: Outcome
    at: datetime


@dataclass
class Evidence:
    """What the journal of a dispatcher that is gone says. Unless it is `whole`, its end may be lost."""

    whole: bool
    handed: dict[str, Handover] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)


class Journal:
    """The journal of a living dispatcher; `name` is what its claims in the ledger are marked with."""

    def __init__(self, path: Path, descriptor: int, head: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._head = head  # where the first line ends
        self._end = head  # where the last one does
        self._turn = threading.Lock()  # a plugin may hand over in threads of its own
        self.name = path.name.removesuffix(_SUFFIX)

    @classmethod
    def open(cls, folder: Path, worker: str) -> Journal:
        """Begin a journal in a folder, for a dispatcher whose name begins with `worker` and is no other's."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', worker).lstrip('.')[:60]}.{uuid4().hex[:12]}"
        # Made under another name: a journal that can be seen is locked by the dispatcher that writes it, or that one is gone.
        descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)  # only its owner may read it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = _line({"winback": _VERSION, "boot": _boot_id()})
            _write(descriptor, head, 0)
            path = path_of(folder, name)
            Path(unfinished).rename(path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return cls(path, descriptor, len(head))

    def reserve(self, count: int) -> None:
        """Make room on the disk for what will be written about so many messages. Raise OSError where there is none."""
        try:
            os.posix_fallocate(self._descriptor, self._end, count * _ROOM)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise

    def hand_over(self, message_id: str, handover: Handover) -> None:
        """Write that a message is about to leave; return when that is kept."""
        line = {
            "handed": message_id,
            "gateway": handover.gateway,
            "subject": handover.subject,
            "segments": handover.segments,
            "redirected": handover.redirected,
        }
        self._append(_line(line))

    def answer(self, message_id: str, answer: Answer) -> None:
        """Write what became of a message."""
        self._append(_line({"answered": message_id, "at": answer.at.isoformat(), **_as_table(answer.outcome)}))

    def forget(self) -> None:
        """Begin afresh: everything written so far is in the ledger."""
        os.ftruncate(self._descriptor, self._head)
        self._end = self._head

    def close(self, *, keep: bool) -> None:
        """Let go; `keep` leaves the file for `recover`, because something in it is not in the ledger."""
        if keep:
            os.ftruncate(self._descriptor, self._end)
        else:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _append(self, line: bytes) -> None:
        with self._turn:
            _write(self._descriptor, line, self._end)
            self._end += len(line)


def names(folder: Path) -> list[str]:
    """Return the names of all dispatchers that have a journal here, living or gone; remove journals that were never begun."""
    for unfinished in folder.glob(f"{_UNFINISHED}*"):
        with taken(unfinished):
            pass
    return sorted(path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}"))


def path_of(folder: Path, name: str) -> Path:
    """Return where the journal of a dispatcher is, if it has one here."""
    return folder / f"{name}{_SUFFIX}"


@contextmanager
def taken(path: Path) -> Iterator[Evidence | None]:
    """Give what the journal of a dispatcher that is gone says; no other process gets it meanwhile.

    Give None while the dispatcher lives, and when another process has taken care of the file. It is removed at the end, unless
    there was an error.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        if _lock(descriptor, path):
            yield _read(path)
            path.unlink()
        else:
            yield None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    """Lock a journal, and say whether that could be done and it is still there."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _read(path: Path) -> Evidence:
    evidence = Evidence(whole=False)
    written = path.read_bytes().partition(b"\0")[0]
    for number, line in enumerate(written.split(b"\n")[:-1]):  # a line without its end was never relied on
        try:
            entry: dict[str, Any] = json.loads(line)
            if number == 0:
                evidence.whole = entry["winback"] == _VERSION and bool(entry["boot"]) and entry["boot"] == _boot_id()
            elif "handed" in entry:
                evidence.handed[entry["handed"]] = _handover(entry)
            else:
                evidence.answers[entry["answered"]] = Answer(_from_table(entry), datetime.fromisoformat(entry["at"]))
        except (ValueError, KeyError, TypeError):
            evidence.whole = False
    return evidence


def _handover(entry: Mapping[str, Any]) -> Handover:
    return Handover(entry["gateway"], entry["subject"], entry["segments"], entry.get("redirected", False))


def _as_table(outcome: Outcome) -> dict[str, Any]:
    values = {each.name: getattr(outcome, each.name) for each in fields(outcome)}
    if isinstance(outcome, Retry) and outcome.after is not None:
        values["after"] = outcome.after.total_seconds()
    return {"kind": type(outcome).__name__, **values}


def _from_table(entry: Mapping[str, Any]) -> Outcome:
    kind = _KINDS[entry["kind"]]
    values = {each.name: entry[each.name] for each in fields(kind)}
    if values.get("after") is not None:
        values["after"] = timedelta(seconds=values["after"])
    return kind(**values)


def _line(entry: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(entry).encode() + b"\n"


def _write(descriptor: int, line: bytes, at: int) -> None:
    written = 0
    while written < len(line):
        written += os.pwrite(descriptor, line[written:], at + written)


def _boot_id() -> str:
    """Return what names the machine's present run; nothing where the system does not say, and then no journal is whole."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
