"""The version that runs: the one applied last where changes wait for `winback apply`, else the files as they are."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from winback.errors import InputError
from winback.project import Project, load_project
from winback.project.snapshot import COPIES, Snapshot
from winback.project.watch import Folder
from winback.store import exclusive, reading, writing
from winback.versions.git import revision
from winback.versions.record import Version, latest, record, snapshot_of

_REMEDY = "see what would change: winback plan; then take it up: winback apply"


class Applied:
    """A source of a running shop's files: the folder, or the version applied last once that one says `auto_apply = false`."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self._engine = engine
        self._folder = Folder(root)

    def mark(self) -> Hashable:
        """Return what changes with the files that are to run."""
        version = hold(self._engine)
        return self._folder.mark() if version is None else version.id

    def take(self) -> Snapshot:
        """Return the files that are to run."""
        version = hold(self._engine)
        if version is None:
            return self._folder.take()
        with reading(self._engine) as connection:
            return snapshot_of(connection, version.id)


def hold(engine: Engine) -> Version | None:
    """Return the version that runs whatever the folder holds; None where changes are taken up by themselves."""
    with reading(engine) as connection:
        last = latest(connection)
    return None if last is None or last.auto_apply else last


def running(engine: Engine, project: Project) -> Project:
    """Return the shop as it runs, given its files as they lie in its folder."""
    version = hold(engine)
    if version is None:
        return project
    with reading(engine) as connection:
        snapshot = snapshot_of(connection, version.id)
    found = load_project(project.root, copy=snapshot.lay_out(project.root / COPIES))
    return replace(found, snapshot=snapshot, version=version.id)


def take_up(engine: Engine, project: Project, now: datetime, worker: str) -> int:
    """Return the version that a project's files are; one that is new is written down, where it may be taken up by itself.

    Raise InputError where somebody has to say `winback apply` first.
    """
    if project.version is not None:
        return project.version
    snapshot = project.snapshot or Snapshot.of(project.root)
    with reading(engine) as connection:
        last = latest(connection)
    if last is not None and last.digest == snapshot.digest:
        return last.id
    if last is None and not project.settings.auto_apply:
        raise InputError("auto_apply is false, and no files have been applied yet", _REMEDY)
    if last is not None and not last.auto_apply:
        raise InputError(f"{last} is applied, and these are other files", _REMEDY)
    commit = revision(project.root)  # may take a while: before the database is held
    with writing(engine) as connection:
        exclusive(connection)
        found = record(
            connection,
            snapshot,
            now=now,
            by=worker,
            automatic=True,
            auto_apply=project.settings.auto_apply,
            revision=commit,
        )
    return found.id
