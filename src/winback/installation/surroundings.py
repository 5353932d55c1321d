"""What a copy cannot bring along: the machine, the file itself, the very database."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from sqlalchemy import Connection, text

_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: Begins the time at which a file was made where the file system keeps it; else the time of its content stands for it.
_BIRTH, _CONTENT = "b", "m"

#: statx(2): the call's constants and where its answer has what we want.
_AT_FDCWD, _STATX_BTIME, _STATX_SIZE = -100, 0x800, 256
_MASK, _SECONDS, _NANOSECONDS = slice(0, 4), slice(80, 88), slice(88, 92)
_ORDER = sys.byteorder


@dataclass(frozen=True)
class Machine:
    """The machine and its present run; empty ids where the system does not tell, as in many containers."""

    host: str
    id: str
    boot: str


@dataclass(frozen=True)
class FileMark:
    """Which file it is, whatever its name: a copy has another inode or another time of birth, a renamed file has not.

    Device numbers are given anew with each start of the machine, so `device` tells something only until then.
    """

    device: str
    inode: str
    folder_inode: str  # of the folder it is in: hard links share the rest
    born: str


@cache
def this_machine() -> Machine:
    """Return where this process runs. machine-id(5) asks to hash its id before it is kept anywhere."""
    return Machine(socket.gethostname()[:200], _hashed(_MACHINE_IDS), _hashed((_BOOT_ID,)))


def _hashed(paths: tuple[Path, ...]) -> str:
    for path in paths:
        try:
            content = path.read_bytes().strip()
        except OSError:
            continue
        if content and content != b"uninitialized":
            return blake2b(content, digest_size=16, person=b"winback").hexdigest()
    return ""


def mark_of(path: Path) -> FileMark:
    """Return which file it is. Raise OSError when it is not there."""
    found = path.stat()
    return FileMark(str(found.st_dev), str(found.st_ino), str(path.parent.stat().st_ino), _born(path, found))


def _born(path: Path, found: os.stat_result) -> str:
    nanoseconds = _birth_time(path, found)
    return f"{_CONTENT}{found.st_mtime_ns}" if nanoseconds is None else f"{_BIRTH}{nanoseconds}"


def _birth_time(path: Path, found: os.stat_result) -> int | None:
    """Return when the file system made the file, in nanoseconds; None where it does not keep that.

    Neither writing, renaming, chmod nor chown changes it, and no call sets it. Python tells it on macOS only.
    """
    seconds = getattr(found, "st_birthtime", None)
    if seconds is not None:
        return int(seconds * 1_000_000_000)
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    try:
        failed = ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, answer)
    except (AttributeError, OSError):  # a C library without it
        return None
    if failed or not int.from_bytes(answer.raw[_MASK], _ORDER) & _STATX_BTIME:
        return None
    seconds, rest = (int.from_bytes(answer.raw[part], _ORDER) for part in (_SECONDS, _NANOSECONDS))
    return seconds * 1_000_000_000 + rest if seconds else None


def born_apart(one: str, other: str) -> bool:
    """Say whether two times of birth are of two files; nothing can be said when only one of them is known."""
    return one[:1] == other[:1] and one != other


def database_mark(connection: Connection) -> str:
    """Return which database it is: a dump that was read in, and a copied file, are others with the same rows.

    SQLite: the file's inode and birth. PostgreSQL: the cluster's identifier, which its replicas share, and the database's number.
    """
    if connection.dialect.name == "postgresql":
        number = connection.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
        return f"postgresql:{number}:{_cluster(connection)}"
    name = connection.engine.url.database
    if not name or name == ":memory:":
        return "memory"
    try:
        mark = mark_of(Path(name))
    except OSError:  # a name that is no path
        return "sqlite::"
    return f"sqlite:{mark.inode}:{mark.born if mark.born.startswith(_BIRTH) else ''}"


def _cluster(connection: Connection) -> str:
    allowed = connection.scalar(text("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"))
    return str(connection.scalar(text("SELECT system_identifier FROM pg_control_system()"))) if allowed else ""


def same_database(one: str, other: str) -> bool:
    """Say whether two marks are of one database; a part that is not known tells nothing."""
    if not one or not other:
        return True
    return all(mine == theirs or not mine or not theirs for mine, theirs in zip(one.split(":"), other.split(":"), strict=True))
