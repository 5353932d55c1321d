"""Which commit a shop's files are from, where they are kept in a git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

#: Seconds; a repository on a network drive may take a while.
_PATIENCE = 10


def revision(root: Path) -> str | None:
    """Return the commit that is checked out, with `-dirty` when files differ from it; None without git or a repository."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout.strip()  # noqa: S603 - no shell, a fixed program
    except (OSError, subprocess.SubprocessError):
        return None
    return said[:60] or None
