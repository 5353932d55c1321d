"""Several processes that send at once: started when there is enough to do, watched while they send, told to stop.

Each is a dispatcher like any other, with claims and a journal of its own. One that dies is noticed at once, what it held is
settled by its journal, and another takes its place.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from winback.dispatch.engine import Wait, dispatch
from winback.dispatch.helper import STOP, Order, help_out
from winback.dispatch.recover import recover
from winback.dispatch.result import DispatchResult
from winback.store import MessageState, messages, reading

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from winback.project import Project

#: How often, in seconds, it is asked whether to stop while others send.
_ASK_EVERY = 0.2

#: Of one place so many processes may die in one pass; then something kills them, and the next pass tries again.
_LIVES = 3

#: A process that has not come to its end so many seconds after it was told to stop hangs, and is killed.
_HANGS = 30 * 60.0

#: How long, in seconds, a process may take to end that has nothing to do, or that lost its pipe.
_PATIENCE = 2.0

#: A new process begins afresh: a fork would take along connections, and locks that threads hold in the daemon.
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class _Helper:
    process: SpawnProcess
    pipe: Connection
    lives: int = _LIVES


class Helpers:
    """The processes that send for one daemon, or for one `winback run`. To be closed at the end."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._helpers: list[_Helper] = []
        self._closed = threading.Event()

    @property
    def pids(self) -> list[int | None]:
        """Return the ids of the processes that there are."""
        return [helper.process.pid for helper in self._helpers]

    def dispatch(
        self,
        engine: Engine,
        project: Project,
        *,
        clock: Callable[[], datetime],
        at: datetime | None = None,
        stop: Callable[[], bool] = lambda: False,
        wait: Wait | None = None,
    ) -> DispatchResult:
        """Send everything that is due with as many processes as `dispatch.processes` says; a batch or less is sent right here.

        The clock of other processes is the system's, or stands still at `at`. `stop` and `wait` are as for `dispatch`.
        """
        wanted = self._wanted(engine, project, clock())
        if wanted < 2:
            return dispatch(engine, project, worker=self._worker, clock=clock, stop=stop, wait=wait)
        order, result = Order(project, at), DispatchResult()
        busy = self._share_out(order, wanted, result)
        if not busy:
            result.add(dispatch(engine, project, worker=self._worker, clock=clock, stop=stop, wait=wait))
        told_at: float | None = None
        while busy:
            for pipe in connection.wait([helper.pipe for helper in busy.values()], _ASK_EVERY):
                [number] = [number for number, helper in busy.items() if helper.pipe is pipe]
                helper = busy.pop(number)
                try:
                    result.add(helper.pipe.recv())
                except (EOFError, OSError):
                    self._settle(engine, project, helper, clock(), result)
                    helper.lives -= 1
                    if helper.lives and told_at is None and not self._closed.is_set():
                        with suppress(OSError):  # else the others do its part
                            busy[number] = self._ordered(number, order)
            if told_at is None and stop():
                told_at = time.monotonic()
                for helper in busy.values():
                    _tell(helper, STOP)
            elif told_at is not None and time.monotonic() - told_at > _HANGS:
                for helper in busy.values():
                    helper.process.kill()
        return result

    def close(self) -> None:
        """Let every process finish and end; one that does not is killed."""
        self._closed.set()
        for helper in self._helpers:
            helper.pipe.close()
        until = time.monotonic() + _PATIENCE
        for helper in self._helpers:
            _end(helper.process, max(0.0, until - time.monotonic()))
        self._helpers = []

    def kill(self) -> bool:
        """End the processes that send at once, and say whether there were any; `dispatch` then settles what they held."""
        self._closed.set()
        alive = [helper for helper in self._helpers if helper.process.is_alive()]
        for helper in alive:
            helper.process.kill()
        return bool(alive)

    def _wanted(self, engine: Engine, project: Project, now: datetime) -> int:
        """Return how many processes are worth it: no more than there are batches."""
        limit, batch = project.settings.dispatch.processes, project.settings.dispatch.batch
        if limit < 2 or self._closed.is_set():
            return 1
        ready = select(messages.c.id).where(messages.c.state == MessageState.PLANNED, messages.c.next_attempt_at <= now)
        with reading(engine) as connection:
            due = len(connection.execute(ready.limit(limit * batch)).all())
        return min(limit, -(-due // batch))

    def _share_out(self, order: Order, wanted: int, result: DispatchResult) -> dict[int, _Helper]:
        """Give so many processes the order, and end those that the settings no longer want; return who got it, by place."""
        at_most = order.project.settings.dispatch.processes
        for helper in self._helpers[at_most:]:
            helper.pipe.close()
            _end(helper.process)
        del self._helpers[at_most:]
        busy: dict[int, _Helper] = {}
        try:
            for number in range(wanted):
                busy[number] = self._ordered(number, order)
                busy[number].lives = _LIVES
        except OSError as error:  # no memory, or no more processes allowed: the others do it
            result.complain(f"no more dispatchers can be started: {error.strerror or type(error).__name__}")
        return busy

    def _start(self, number: int) -> _Helper:
        ours, theirs = _SPAWN.Pipe()
        name = f"{self._worker}.{number}"
        process = _SPAWN.Process(target=help_out, args=(theirs, name), name=name, daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        return _Helper(process, ours)

    def _ordered(self, number: int, order: Order) -> _Helper:
        """Give the process at a place its order; where there is none that lives, start one first."""
        if number == len(self._helpers):
            self._helpers.append(self._start(number + 1))
        helper = self._helpers[number]
        if not helper.process.is_alive():
            helper.pipe.close()
            started = self._start(number + 1)
            started.lives = helper.lives
            self._helpers[number] = helper = started
        _tell(helper, order)
        return helper

    def _settle(self, engine: Engine, project: Project, helper: _Helper, now: datetime, result: DispatchResult) -> None:
        """Take care of what a process held that died."""
        _end(helper.process)  # when it is gone its journal is free
        if helper.process.exitcode != 0 and not self._closed.is_set():
            result.complain(f"a dispatcher died ({_how(helper.process.exitcode)}); what it held was settled by its journal")
        try:
            recovered = recover(engine, project, now=now)
        except (SQLAlchemyError, OSError):  # the next pass settles it
            return
        result.taken += recovered.count
        for name in ("sent", "retrying", "failed", "uncertain", "given_back"):
            setattr(result, name, getattr(result, name) + getattr(recovered, name))


def _tell(helper: _Helper, what: object) -> None:
    with suppress(OSError):  # it has just died, which shows at the other end of the pipe
        helper.pipe.send(what)


def _end(process: SpawnProcess, patience: float = _PATIENCE) -> None:
    process.join(patience)
    if process.is_alive():
        process.kill()
        process.join()


def _how(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
