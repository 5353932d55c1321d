"""Write down what was applied, and read it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from winback.project.snapshot import Snapshot
from winback.store import AnyRow, applied_files, applied_versions, file_contents


@dataclass(frozen=True)
class Version:
    """The shop's files as they were applied once. `auto_apply` is what they themselves say of changes after them."""

    id: int
    digest: str
    applied_at: datetime
    applied_by: str
    automatic: bool
    auto_apply: bool
    revision: str | None

    def __str__(self) -> str:
        return f"version {self.id}" + (f" (git {self.short_revision})" if self.revision else "")

    @property
    def short_revision(self) -> str:
        """Return the commit as people quote it, `+` after it when files differed from it; '' without git."""
        if self.revision is None:
            return ""
        commit, dash, _ = self.revision.partition("-")
        return commit[:7] + ("+" if dash else "")


_COLUMNS = [applied_versions.c[name] for name in Version.__dataclass_fields__]


def latest(connection: Connection) -> Version | None:
    """Return what was applied last, None before the first time."""
    row = connection.execute(select(*_COLUMNS).order_by(applied_versions.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Version(*row)


def find(connection: Connection, version_id: int | None) -> Version | None:
    """Return one version."""
    row = connection.execute(select(*_COLUMNS).where(applied_versions.c.id == version_id)).one_or_none()
    return None if row is None else Version(*row)


def snapshot_of(connection: Connection, version_id: int) -> Snapshot:
    """Return the files of a version."""
    rows = connection.execute(
        select(applied_files.c.path, file_contents.c.content)
        .join(file_contents, file_contents.c.digest == applied_files.c.digest)
        .where(applied_files.c.version_id == version_id)
    )
    return Snapshot({path: bytes(content) for path, content in rows}, version=version_id)


def record(
    connection: Connection,
    snapshot: Snapshot,
    *,
    now: datetime,
    by: str,
    automatic: bool,
    auto_apply: bool,
    revision: str | None,
) -> Version:
    """Write down that these files are applied, unless they are what was applied last; return the version."""
    last = latest(connection)
    if last is not None and last.digest == snapshot.digest:
        return last
    row: AnyRow = connection.execute(
        insert(applied_versions)
        .values(
            digest=snapshot.digest,
            applied_at=now,
            applied_by=by[:200],
            automatic=automatic,
            auto_apply=auto_apply,
            revision=revision,
        )
        .returning(*_COLUMNS)
    ).one()
    version = Version(*row)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in snapshot.files.items()}
    known = set(connection.scalars(select(file_contents.c.digest).where(file_contents.c.digest.in_(set(digests.values())))))
    new = {digest: snapshot.files[path] for path, digest in digests.items() if digest not in known}
    if new:
        connection.execute(insert(file_contents), [{"digest": digest, "content": content} for digest, content in new.items()])
    if digests:
        rows = [{"version_id": version.id, "path": path, "digest": digest} for path, digest in digests.items()]
        connection.execute(insert(applied_files), rows)
    return version
