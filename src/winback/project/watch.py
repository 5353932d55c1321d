"""A running shop's files: read again when one changes, and kept as they were while they have problems."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from winback.errors import Problem, ProjectError
from winback.project.load import CONFIG, inspect_project, load_project
from winback.project.project import Project

#: How often the files are looked at, in seconds; a page asks for the project several times.
_LOOK_EVERY = 1.0

#: What a change of makes the shop another one.
_WATCHED = ("config.toml", "campaigns", "templates")

#: Copies of the templates that stay: processes that look at different times may use different ones.
_COPIES = 8

_Fingerprint = tuple[tuple[str, int, int], ...]

#: Says what else is wrong with files that could be read: templates that cannot be rendered, for example.
Check = Callable[[Project], Sequence[Problem]]


class ShopFiles:
    """Give the shop's checked files, read again when one changed; while they have problems, the last good ones.

    Call it for the project. `problems` lists what is wrong with the newest files, empty when they are in use. Files that have
    problems from the beginning raise ProjectError where they cannot be read, and are used where only a check finds something.

    `checks` are asked besides what reading the files finds. With `keep_templates` the project renders from a copy of the last
    good templates, below var/: a letter that somebody is still working on never goes out half-finished. `adjust` changes what
    the files say, as options of a command do.
    """

    def __init__(
        self,
        root: Path,
        *,
        checks: Sequence[Check] = (),
        keep_templates: bool = False,
        adjust: Callable[[Project], Project] | None = None,
    ) -> None:
        self._root = root.resolve()
        self._checks = checks
        self._adjust = adjust
        self._keep_templates = keep_templates
        self._lock = threading.Lock()
        self._seen = _fingerprint(self._root)
        self._project = self._read()
        self.problems: tuple[Problem, ...] = tuple(self._checked(self._project))
        self._looked = time.monotonic()

    def __call__(self) -> Project:
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_EVERY:
                self._look()
            return self._project

    def _look(self) -> None:
        found = _fingerprint(self._root)
        if found != self._seen:
            try:
                project = self._read()
                self.problems = tuple(self._checked(project))
            except ProjectError as error:
                self.problems = error.problems
                project, _ = inspect_project(self._root)
            if self.problems:
                project = replace(self._project, unclear=_unclear(self._project, project, self.problems))
            self._project = project
            self._seen = found
        self._looked = time.monotonic()

    def _read(self) -> Project:
        project = load_project(self._root)
        if self._adjust is not None:
            project = self._adjust(project)
        return replace(project, kept_templates=_keep(project)) if self._keep_templates else project

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
    if file.is_relative_to(project.templates):
        file = Path("templates") / file.relative_to(project.templates)
    return replace(problem, file=file.relative_to(project.root) if file.is_relative_to(project.root) else file)


def _keep(project: Project) -> Path:
    """Return a folder that holds the templates as they are now; it is named after what is in it, so it never changes."""
    files = {path.relative_to(project.templates): path.read_bytes() for path in _files(project.templates)}
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    copies = project.var / "templates"
    copy = copies / digest.hexdigest()[:16]
    if not copy.is_dir():
        copies.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=copies, prefix=".part-", ignore_cleanup_errors=True) as part:
            whole = Path(part) / "whole"
            whole.mkdir()
            for name, content in files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).write_bytes(content)
            try:
                whole.rename(copy)
            except OSError:
                if not copy.is_dir():  # else another process was quicker, with the same content
                    raise
    os.utime(copy)
    _forget_old(copies)
    return copy


def _forget_old(copies: Path) -> None:
    def used_at(folder: Path) -> int:
        try:
            return folder.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    newest_first = sorted((folder for folder in copies.iterdir() if not folder.name.startswith(".")), key=used_at, reverse=True)
    for folder in newest_first[_COPIES:]:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


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
