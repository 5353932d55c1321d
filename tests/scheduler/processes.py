"""The real command in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WINBACK = Path(sys.executable).parent / "winback"

#: How long something may take on a machine that is busy with other things, in seconds.
PATIENCE = 60


def environment(database_url: str) -> dict[str, str]:
    """Return the environment of a shop's commands."""
    return {**os.environ, "WINBACK_DATABASE_URL": database_url, "COLUMNS": "200"}


def winback(root: Path, database_url: str, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command in the shop's folder until it ends; `prefix` is a program that runs it."""
    return subprocess.run(
        [*prefix, str(WINBACK), *arguments],
        cwd=root,
        env=environment(database_url),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Started:
    """A command that is running; what it says goes to a file."""

    def __init__(self, root: Path, variables: Mapping[str, str], log: Path, arguments: Sequence[str]) -> None:
        self._log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                arguments,
                cwd=root,
                env=variables,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Return everything it said until now."""
        return self._log.read_text()

    def ended(self) -> bool:
        """Say whether it is over."""
        return self.process.poll() is not None

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return its exit code."""
        return self.process.wait(seconds)

    def fields(self, event: str) -> dict[str, str]:
        """Return the fields of its first line about an event."""
        line = next(line for line in self.said.splitlines() if f" {event} " in line)
        return dict(part.split("=", 1) for part in line.split(f" {event} ")[1].split(" ") if "=" in part)


@contextmanager
def started(
    root: Path,
    database_url: str,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    command: Sequence[str] = (str(WINBACK),),
    log: Path | None = None,
) -> Iterator[Started]:
    """Start a command; it is killed at the end if it still runs."""
    log = log or root / f"log-{time.monotonic_ns()}"
    running = Started(root, {**environment(database_url), **(variables or {})}, log, [*prefix, *command, *arguments])
    try:
        yield running
    finally:
        if not running.ended():
            running.process.kill()
            running.process.wait()


def wait_until(condition: Callable[[], Any], *running: Started) -> None:
    """Wait for something to become true, as long as the processes it depends on run."""
    until = time.monotonic() + PATIENCE
    while not condition():
        ended = [command.said for command in running if command.ended()]
        assert not ended, ended
        assert time.monotonic() < until, [command.said[-2000:] for command in running]
        time.sleep(0.02)


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a command printed with `-o json`."""
    return json.loads(done.stdout)
