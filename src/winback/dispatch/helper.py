"""A process that helps to send: it dispatches each time it is told to, and says what it did."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING

from winback import clock
from winback.dispatch.engine import dispatch
from winback.dispatch.result import DispatchResult
from winback.project import Project
from winback.store import open_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True)
class Order:
    """What is to be sent: what is due `at` that moment, or by the clock where it is empty."""

    project: Project
    at: datetime | None


#: Sent instead of an order: begin nothing new.
STOP = "stop"


def help_out(pipe: Connection, worker: str) -> None:
    """Take orders until the other side goes away; a process that is told to end (SIGTERM) finishes what is on the wire first."""
    inbox = _Inbox(pipe)
    engine: Engine | None = None
    while (order := inbox.next()) is not None:
        if engine is None:
            engine = open_engine(order.project.settings.database.url, root=order.project.root)
        result = _carried_out(engine, order, worker, inbox.halted)
        try:
            pipe.send(result)
        except OSError:
            break
    if engine is not None:
        engine.dispose()


class _Inbox:
    """Listens to whoever gives the orders, and to signals, in a thread of its own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self.halted = threading.Event()
        self._ended = False
        self._told_by, self._tell = os.pipe()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; who gives the orders decides
        # The handler sets no event: it would wait for ever where it has interrupted the one who waits for it.
        signal.signal(signal.SIGTERM, lambda *_: os.write(self._tell, b"!"))
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def next(self) -> Order | None:
        """Wait for the next order; None when there will be none."""
        return None if self._ended else self._orders.get()

    def _listen(self) -> None:
        while self._told_by not in wait([self._pipe, self._told_by]):
            try:
                word = self._pipe.recv()
            except (EOFError, OSError):  # whoever gave the orders is gone
                break
            if word == STOP:
                self.halted.set()
            else:
                self.halted.clear()
                self._orders.put(word)
        self._ended = True
        self.halted.set()
        self._orders.put(None)


def _carried_out(engine: Engine, order: Order, worker: str, halted: threading.Event) -> DispatchResult:
    at = order.at
    try:
        if at is not None:  # by a clock that stands still there is nothing to wait for
            return dispatch(engine, order.project, worker=worker, clock=lambda: at, stop=halted)
        return dispatch(engine, order.project, worker=worker, clock=clock.now, stop=halted, wait=halted.wait)
    except Exception as error:  # the next order finds it as it is; its claims are settled by their journal
        result = DispatchResult()
        result.complain(f"a dispatcher failed: {type(error).__name__}")
        return result
