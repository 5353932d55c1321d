"""Passes in processes of their own, cheap enough to be killed by the dozen: they are forked from one that has everything loaded.

::

    with nursery() as children:
        child = children.start(root, url, now, kill_at=("claimed", 3))
        ...
        ended = children.wait(child)             # .killed, or .sent and .errors of its pass

A child sends what is due, as a daemon does that does not lead; `planning` lets it plan before. `kill_at` names a point and at
which of its times the child is killed there:

* "claim", "claimed": before a batch is claimed, and after that was committed;
* "record", "recorded": before a batch's answers go into the ledger, and after that was committed;
* "time": after so many milliseconds of the processor's time, wherever it is then.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import cache
from pathlib import Path
from typing import IO, Any

_ROOT = Path(__file__).parents[1]

#: Seconds after which a child ends by itself, whatever happened to it.
_LIFE = 900


@dataclass(frozen=True)
class Ended:
    """How a child ended: by a signal, or with what its pass did."""

    signal: int
    sent: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def killed(self) -> bool:
        """Say whether it was killed as it was to be, rather than in an accident."""
        return self.signal in (signal.SIGKILL, signal.SIGPROF)


class Nursery:
    """The process that children are forked from."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(
        self,
        root: Path,
        url: str,
        now: datetime | None,
        *,
        kill_at: tuple[str, int] | None = None,
        planning: bool = False,
    ) -> int:
        """Start a child, whose clock stands still at `now` or is the system's; return its process id."""
        job = {"root": str(root), "url": url, "now": now.isoformat() if now else None, "kill_at": kill_at, "planning": planning}
        return int(self._ask({"start": job}))

    def rehearse(self, root: Path, url: str, now: datetime) -> None:
        """Make a pass before any child does, so that the children of this shop begin with everything loaded and compiled."""
        self._ask({"rehearse": {"root": str(root), "url": url, "now": now.isoformat()}})

    def wait(self, child: int) -> Ended:
        """Wait for a child's end."""
        return Ended(**self._ask({"wait": child}))

    def _ask(self, what: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(what), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Start the process, and end it with all its children."""
    command = [sys.executable, "-m", "tests.nursery"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT, start_new_session=True
    ) as process:
        try:
            yield Nursery(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


# In the nursery


def main() -> None:
    """Serve until the other side goes away."""
    _warm_up()
    pipes: dict[int, IO[str]] = {}
    for line in sys.stdin:
        [(what, about)] = json.loads(line).items()
        answer: Any
        if what == "rehearse":
            answer = _pass(**about)
            _engine(about["url"]).dispose()  # no connection may be open when a child is forked
            gc.freeze()
        elif what == "start":
            answer, pipe = _fork(about)
            pipes[answer] = pipe
        else:
            with pipes.pop(about) as pipe:
                said = pipe.read()
            _, status = os.waitpid(about, 0)
            answer = {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, **json.loads(said or "{}")}
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _warm_up() -> None:
    """Load what a pass loads, so that children need not."""
    import psycopg  # noqa: F401

    import winback.compose.composer
    import winback.dispatch
    import winback.plan
    import winback.scheduler
    import winback.track.conversions  # noqa: F401
    from winback.gateways.registry import available
    from winback.policy import quiet_zones
    from winback.project.values import QuietHours

    available()
    quiet_zones(datetime(2026, 1, 1, tzinfo=UTC), QuietHours(time(21), time(9)))  # reads every time zone
    gc.freeze()


def _fork(job: Mapping[str, Any]) -> tuple[int, IO[str]]:
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        return child, os.fdopen(ours)
    os.close(ours)
    status = 1
    try:
        signal.alarm(_LIFE)
        if job["kill_at"]:
            _arm(_engine(job["url"]), *job["kill_at"])
        with os.fdopen(theirs, "w") as pipe:
            json.dump(_pass(job["root"], job["url"], job["now"], job["planning"]), pipe)
        status = 0
    finally:
        os._exit(status)


def _pass(root: str, url: str, now: str | None, planning: bool = False) -> dict[str, Any]:
    from winback import clock
    from winback.project import load_project
    from winback.scheduler import run_pass

    project = load_project(Path(root), environ={"WINBACK_DATABASE_URL": url})
    at, ticking = (datetime.fromisoformat(now), None) if now else (clock.now(), clock.now)
    outcome = run_pass(_engine(url), project, at, f"child-{os.getpid()}", clock=ticking, planning=planning)
    return {"sent": outcome.sent, "errors": outcome.errors}


@cache
def _engine(url: str) -> Any:
    from winback.store import open_engine

    return open_engine(url)


def _arm(engine: Any, point: str, times: int) -> None:
    """See to it that this process is killed when it comes to a point for the n-th time."""
    from sqlalchemy import event

    if point == "time":
        # Nothing handles this signal, so it ends the process as SIGKILL does: at once, in the middle of anything.
        signal.setitimer(signal.ITIMER_PROF, times / 1000)
        return
    left, under_way = times, ""

    def reached(where: str) -> None:
        nonlocal left
        left -= where == point
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal under_way
        if "UPDATE messages" not in statement:
            return
        if "WITH due AS" in statement:
            under_way = "claim"
        elif "sent_at" in statement:
            under_way = "record"
        else:
            return
        reached(under_way)

    def after(*_: object) -> None:
        nonlocal under_way
        ended, under_way = under_way, ""
        reached({"claim": "claimed", "record": "recorded"}.get(ended, ""))

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "checkin", after)  # a connection comes back when its transaction is committed


if __name__ == "__main__":
    main()
