"""The shop that the pages show: its database, and its files as they stand now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from winback.errors import Problem, ProjectError
from winback.project import Project, load_project

#: How often the files are looked at, in seconds; a page asks for the project several times.
_LOOK_EVERY = 1.0

#: What a change of makes the shop another one.
_WATCHED = ("config.toml", "campaigns", "templates")

_Fingerprint = tuple[tuple[str, int, int], ...]


class ShopFiles:
    """Give the shop's checked files, read again when one changed; while they have problems, the last good ones.

    Call it for the project. `problems` lists what is wrong with the newest files, empty when they are in use.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._seen = _fingerprint(root)
        self._project = load_project(root)
        self._looked = time.monotonic()
        self.problems: tuple[Problem, ...] = ()

    def __call__(self) -> Project:
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_EVERY:
                self._look()
            return self._project

    def _look(self) -> None:
        found = _fingerprint(self._root)
        if found != self._seen:
            try:
                self._project = load_project(self._root)
                self.problems = ()
            except ProjectError as error:
                self.problems = error.problems
            self._seen = found
        self._looked = time.monotonic()


@dataclass(frozen=True)
class Shop:
    """What every page is made from; `now` is asked once for each page."""

    engine: Engine
    files: ShopFiles
    now: Callable[[], datetime]


def _fingerprint(root: Path) -> _Fingerprint:
    return tuple(sorted(_stats(root)))


def _stats(root: Path) -> Iterator[tuple[str, int, int]]:
    for name in _WATCHED:
        top = root / name
        for path in (top, *top.rglob("*")) if top.is_dir() else (top,):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            yield str(path), stat.st_mtime_ns, stat.st_size
