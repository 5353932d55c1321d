"""A running shop's files: read again when one changes, and kept as they were while they have problems."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from winback.errors import Problem, ProjectError
from winback.project.load import CONFIG, inspect_project, load_project
from winback.project.project import Project
from winback.project.snapshot import COPIES, Snapshot, touch

#: How often the files are looked at, in seconds; a page asks for the project several times.
_LOOK_EVERY = 1.0

#: What a change of makes the shop another one.
_WATCHED = ("config.toml", "campaigns", "templates")

#: Says what else is wrong with files that could be read: templates that cannot be rendered, for example.
Check = Callable[[Project], Sequence[Problem]]


class Source(Protocol):
    """Where a running shop's files come from."""

    def mark(self) -> Hashable:
        """Return what changes with the files; it is asked often."""

    def take(self) -> Snapshot:
        """Return the files as they are now. Raise ProjectError where they cannot be read."""


class Folder:
    """The shop's own folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def mark(self) -> Hashable:
        """Return name, time and size of every file."""
        return tuple(sorted(_stats(self._root)))

    def take(self) -> Snapshot:
        """Return the files as they are now."""
        return Snapshot.of(self._root)


class ShopFiles:
    """Give the shop's checked files, read again when one changed; while they have problems, the last good ones.

    Call it for the project. `problems` lists what is wrong with the newest files, empty when they are in use. Files that have
    problems from the beginning raise ProjectError where they cannot be read, and are used where only a check finds something.

    They come from the shop's folder unless there is another `source`, and are read from a copy below var/: a letter that somebody
    is still working on never goes out half-finished. `checks` are asked besides what reading the files finds. `adjust` changes
    what the files say, as options of a command do.
    """

    def __init__(
        self,
        root: Path,
        *,
        source: Source | None = None,
        checks: Sequence[Check] = (),
        adjust: Callable[[Project], Project] | None = None,
    ) -> None:
        self._root = root.resolve()
        self._source = source or Folder(self._root)
        self._checks = checks
        self._adjust = adjust
        self._lock = threading.Lock()
        self._seen = self._source.mark()
        self._copy: Path | None = None
        self._project = self._read()
        self.problems: tuple[Problem, ...] = tuple(self._checked(self._project))
        self._looked = time.monotonic()

    def __call__(self) -> Project:
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_EVERY:
                self._look()
            return self._project

    def _look(self) -> None:
        found = self._source.mark()
        if found != self._seen:
            try:
                project = self._read()
                self.problems = tuple(self._checked(project))
            except ProjectError as error:
                self.problems = error.problems
                project, _ = inspect_project(self._root)
            if self.problems:
                self._copy = self._project.copy
                project = replace(self._project, unclear=_unclear(self._project, project, self.problems))
            self._project = project
            self._seen = found
        self._looked = time.monotonic()

    def _read(self) -> Project:
        if self._copy is not None:
            touch(self._copy)  # in use, however many others that have problems come after it
        snapshot = self._source.take()
        copy = snapshot.lay_out(self._root / COPIES) if CONFIG in snapshot.files else None
        project = replace(load_project(self._root, copy=copy), snapshot=snapshot, version=snapshot.version)
        self._copy = copy
        return project if self._adjust is None else self._adjust(project)

    def _checked(self, project: Project) -> list[Problem]:
        return sorted({_shown(problem, project) for check in self._checks for problem in check(project)})


def _unclear(used: Project, newest: Project, problems: Sequence[Problem]) -> str:
    """Say why the last good files must not be sent by: they may write to people whom the newest ones keep out."""
    of_config = [problem for problem in problems if problem.file == Path(CONFIG)]
    for problem in of_config:
        if problem.key.partition(".")[0] == "deliver":
            return f"to whom messages may go is not clear: {problem}"
    readable = all(problem.key for problem in of_config)
    if readable and newest.staging != used.staging:
        return "config.toml says anew to whom messages may go, and is not in use because the files have problems"
    return ""


def _shown(problem: Problem, project: Project) -> Problem:
    """Return a problem with its file as people know it: in the shop's own folder, not in the copy."""
    file = problem.file
    if file.is_relative_to(project.folder):
        file = file.relative_to(project.folder)
    return replace(problem, file=file.relative_to(project.root) if file.is_relative_to(project.root) else file)


def _stats(root: Path) -> Iterator[tuple[str, int, int]]:
    for name in _WATCHED:
        top = root / name
        for path in (top, *top.rglob("*")) if top.is_dir() else (top,):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            yield str(path), stat.st_mtime_ns, stat.st_size
