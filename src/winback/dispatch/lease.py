"""A dispatcher's hold on its claims, as other machines see it: not by its journal, only by how old the claims are."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError

from winback.store import MessageState, messages, writing

if TYPE_CHECKING:
    from collections.abc import Callable

#: How long the claims of a dispatcher are left alone whose journal is not on this machine.
LEASE = timedelta(minutes=15)

#: How often a dispatcher that lives renews its claims.
RENEW_EVERY = timedelta(minutes=3)

#: A dispatcher that could not renew them for so long hands over nothing more of its batch: soon somebody else may have it.
_GIVE_UP_AFTER = timedelta(minutes=12)

#: Time that goes on while the machine sleeps, where the system has such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Lease:
    """Keeps the claims of one dispatcher young while its batch is under way, in a thread of its own.

    A gateway may take long over one message, so the dispatcher's own thread cannot do it. `clock` is the dispatcher's; where it
    stands still, time passes for the claims all the same.
    """

    def __init__(self, engine: Engine, holder: str, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._holder = holder
        self._clock = clock
        self._done = threading.Event()
        self._claimed: tuple[datetime, float] | None = None
        self._renewed = 0.0
        self._thread = threading.Thread(target=self._renewing, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def begin(self, now: datetime) -> None:
        """Know that a batch is about to be claimed at `now`."""
        self._renewed = time.clock_gettime(_CLOCK)
        self._claimed = now, self._renewed

    @property
    def lapsed(self) -> bool:
        """Say whether others may soon believe that this dispatcher is gone."""
        return time.clock_gettime(_CLOCK) - self._renewed > _GIVE_UP_AFTER.total_seconds()

    def renew(self) -> None:
        """Let the claims be of now."""
        if self._claimed is None:
            return
        claimed_at, begun = self._claimed
        present = time.clock_gettime(_CLOCK)
        at = max(self._clock(), claimed_at + timedelta(seconds=present - begun))
        held = select(messages.c.id).where(messages.c.state == MessageState.SENDING, messages.c.claimed_by == self._holder)
        # Never waits for the transaction that records them, which may wait for this one.
        young = update(messages).where(messages.c.id.in_(held.with_for_update(skip_locked=True))).values(claimed_at=at)
        with writing(self._engine) as connection:
            connection.execute(young)
        self._renewed = present

    def _renewing(self) -> None:
        while not self._done.wait(RENEW_EVERY.total_seconds()):
            with suppress(SQLAlchemyError):  # it is tried again, and after a while the dispatcher stops by itself
                self.renew()
