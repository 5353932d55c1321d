"""Several processes that begin together: a rate is what all of them did, over the time from the first start to the last end."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

#: What a member does: get ready, and return what is to be timed, which returns how many messages it sent.
Member = Callable[..., Callable[[], int]]

#: Seconds after which a team that does not end is given up.
LIMIT = 120.0


class TeamError(Exception):
    """A member failed, or took too long."""


def rate(member: Member, arguments: list[tuple[Any, ...]]) -> tuple[float, int]:
    """Run one process for each set of arguments; return messages a second, and how many there were."""
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
            _receive(pipe)
        begin = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        sent = sum(_receive(pipe) for pipe in pipes)
        elapsed = time.perf_counter() - begin
    finally:
        for process in processes:
            process.join(5)
            process.terminate()
    return sent / elapsed, sent


def _receive(pipe: Connection) -> int:
    if not pipe.poll(LIMIT):
        raise TeamError(f"did not end within {LIMIT:.0f} s")
    try:
        answer = pipe.recv()
    except EOFError:
        raise TeamError("a process ended early") from None
    if isinstance(answer, str):
        raise TeamError(answer)
    return int(answer)


def _run(member: Member, arguments: tuple[Any, ...], pipe: Connection) -> None:
    try:
        timed = member(*arguments)
        pipe.send(0)
        pipe.recv()
        pipe.send(timed())
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}"[:200])
