"""A shop's files as they were at one moment: hashed, and laid out in a folder that nobody edits."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from winback.errors import Problem, ProjectError

#: Where copies lie in a shop's folder.
COPIES = Path("var", "files")

#: Copies that stay: processes that look at different times may use different ones.
_KEPT = 8


@dataclass(frozen=True)
class Snapshot:
    """Content by path below the shop's folder: config.toml, the files of campaigns/, everything below templates/.

    `version` is the applied version that it was taken from, None for files as they lie in the folder.
    """

    files: Mapping[str, bytes]
    version: int | None = None

    @classmethod
    def of(cls, root: Path) -> Snapshot:
        """Read a shop's files as they are now. Raise ProjectError for a file that cannot be read."""
        found = {}
        for path in sorted(_paths(root)):
            name = path.relative_to(root)
            try:
                found[name.as_posix()] = path.read_bytes()
            except FileNotFoundError:
                continue  # an editor put another one in its place; the next look finds it
            except OSError as error:
                remedy = "give this user the right to read it"
                raise ProjectError([Problem(name, 0, "", f"the file cannot be read: {error.strerror}", remedy)]) from error
        return cls(found)

    @cached_property
    def digest(self) -> str:
        """Return a hash of all names and contents."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()

    def lay_out(self, copies: Path) -> Path:
        """Return a folder below `copies` that holds these files; it is named after what is in it, so it never changes."""
        copy = copies / self.digest[:16]
        if not copy.is_dir():
            copies.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=copies, prefix=".part-", ignore_cleanup_errors=True) as part:
                whole = Path(part) / "whole"
                whole.mkdir()
                for name, content in self.files.items():
                    (whole / name).parent.mkdir(parents=True, exist_ok=True)
                    (whole / name).write_bytes(content)
                try:
                    whole.rename(copy)
                except OSError:
                    if not copy.is_dir():  # else another process was quicker, with the same content
                        raise
        touch(copy)
        _forget_old(copies)
        return copy


def touch(copy: Path) -> None:
    """Mark a copy as used now, so that it stays."""
    with suppress(FileNotFoundError):
        os.utime(copy)


def _paths(root: Path) -> Iterator[Path]:
    yield root / "config.toml"
    yield from (root / "campaigns").glob("*.toml")
    yield from (path for path in (root / "templates").rglob("*") if path.is_file())


def _forget_old(copies: Path) -> None:
    def used_at(folder: Path) -> int:
        try:
            return folder.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    newest_first = sorted((folder for folder in copies.iterdir() if not folder.name.startswith(".")), key=used_at, reverse=True)
    for folder in newest_first[_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
