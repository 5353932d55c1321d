"""Several processes that begin together: a rate is what all of them did, over the time from the first start to the last end."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: What a member does: get ready, and return what is to be timed, which returns how many messages it sent.
Member = Callable[..., Callable[[], int]]

#: Seconds after which a team that does not end is given up.
LIMIT = 120.0


class TeamError(Exception):
    """A member failed, or took too long."""


@dataclass(frozen=True)
class Done:
    """What a team did: messages, seconds, and the most memory that one of its processes took, in bytes (0: unknown)."""

    sent: int
    seconds: float
    memory: int

    @property
    def rate(self) -> float:
        """Return messages a second."""
        return self.sent / self.seconds


def run(member: Member, arguments: list[tuple[Any, ...]], limit: float = LIMIT) -> Done:
    """Run one process for each set of arguments, and wait for all."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for each in arguments:
        ours, theirs = context.Pipe()
        process = context.Process(target=_run, args=(member, each, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        for pipe in pipes:
            _receive(pipe, limit)
        begin = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        answers = [_receive(pipe, limit) for pipe in pipes]
        elapsed = time.perf_counter() - begin
    finally:
        for process in processes:
            process.join(5)
            process.terminate()
    return Done(sum(sent for sent, _ in answers), elapsed, max(memory for _, memory in answers))


def _receive(pipe: Connection, limit: float) -> tuple[int, int]:
    if not pipe.poll(limit):
        raise TeamError(f"did not end within {limit:.0f} s")
    try:
        answer = pipe.recv()
    except EOFError:
        raise TeamError("a process ended early") from None
    if isinstance(answer, str):
        raise TeamError(answer)
    sent, memory = answer
    return int(sent), int(memory)


def _run(member: Member, arguments: tuple[Any, ...], pipe: Connection) -> None:
    try:
        timed = member(*arguments)
        pipe.send((0, 0))
        pipe.recv()
        pipe.send((timed(), peak_memory()))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}"[:200])


def peak_memory() -> int:
    """Return the most memory that this process had at once, in bytes; 0 where the system does not say."""
    # Not `getrusage`: there a process starts with the peak of the one that started it.
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0")
    return int(peak.split()[1]) * 1024
