"""The daemon: passes by the clock, until it is told to stop.

APScheduler is the clock and nothing more: one job in memory, which asks files and database what is to be done. Nothing is
computed from a time that was remembered, so a clock that is set, a machine that slept and a pass that took long change nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.executors.pool import ThreadPoolExecutor  # type: ignore[import-untyped]
from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]
from apscheduler.triggers.base import BaseTrigger  # type: ignore[import-untyped]
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from winback import clock as system_clock
from winback.installation import look
from winback.plan import THOROUGH_EVERY
from winback.scheduler import leases, log
from winback.scheduler.passes import PassOutcome, describe, run_pass
from winback.scheduler.systemd import notify
from winback.store import import_runs, reading

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from winback.dispatch import Helpers
    from winback.errors import Problem
    from winback.project import Project
    from winback.project.watch import ShopFiles

#: How often a daemon makes a pass, unless told otherwise.
EVERY = timedelta(minutes=1)

#: A pass lets planning have its turn after sending for so long, and goes on at once.
_SENDING_TURN = timedelta(minutes=10)

#: A pass that shows no sign of life for so long hangs: it gives up the lead, the watchdog is told no more, and `winback daemon`
#: starts itself anew.
HUNG_AFTER = timedelta(minutes=30)

#: Seconds that are spent on what processes held that did not end in time.
_SETTLING = 1.0

_TICK = "pass"


class Daemon:
    """Makes a pass every so often, the first at once. Any number may run on one database: one plans, all of them send."""

    def __init__(
        self,
        engine: Engine,
        files: ShopFiles,
        *,
        worker: str,
        every: timedelta = EVERY,
        now: Callable[[], datetime] = system_clock.now,
        helpers: Helpers | None = None,
    ) -> None:
        self._engine = engine
        self._files = files
        self._project: Project | None = None
        self._version: int | None = None  # that the files turned out to be
        self._problems: tuple[Problem, ...] = ()
        self._worker = worker
        self._every = every
        self._now = now
        self._helpers = helpers
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._alive_at = time.monotonic()
        self._said_it_hangs = False
        self._leading: bool | None = None
        #: The last thorough pass: when it was, by which files, and after which import.
        self._thorough: tuple[datetime, Project, int] | None = None
        self._scheduler: BackgroundScheduler | None = None
        self._heart: threading.Thread | None = None

    def start(self) -> None:
        """Begin; return at once."""
        scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(1)})
        # Without a grace time a tick that comes late, after a suspended night, is not left out; several of them become one.
        scheduler.add_job(self._ticked, _Steady(self._every), id=_TICK, coalesce=True, max_instances=1, misfire_grace_time=None)
        scheduler.start()
        self._scheduler = scheduler
        self._heart = threading.Thread(target=self._beating, name="heartbeat", daemon=True)
        self._heart.start()

    def stop(self, within: timedelta) -> bool:
        """Finish what is in hand and begin nothing new; return whether that was done within the time."""
        until = time.monotonic() + within.total_seconds()
        self._stop.set()
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.shutdown(wait=False)
        done = self._idle.wait(max(0.0, until - time.monotonic()))
        if not done and self._helpers is not None and self._helpers.kill():
            self._idle.wait(_SETTLING)  # what was on the wire is uncertain; the rest waits as before
        if done:
            self._give_up_lead()
        return done

    def tick(self) -> PassOutcome | None:
        """Make one pass as of now, by the files as they are now; None when the files cannot even be looked at."""
        now = self._now()
        try:
            project = self._look_at_files()
        except Exception as error:  # a folder that is gone for a moment, on a network drive for example
            log.say("pass.failed", worker=self._worker, error=f"files: {describe(error)}")
            return None
        leading = self._lead(now)
        turn_ends = time.monotonic() + _SENDING_TURN.total_seconds()
        newest = self._newest_import()
        thorough = self._must_be_thorough(now, project, newest)
        outcome = run_pass(
            self._engine,
            replace(project, version=project.version or self._version),
            now,
            self._worker,
            clock=self._now,
            stop=lambda: self._should_pause(turn_ends),
            wait=self._stop.wait,
            planning=leading,
            helpers=self._helpers,
            thorough=thorough,
        )
        self._version = outcome.version
        if not leading or outcome.plan is None:
            self._thorough = None  # what others have asked meanwhile is not known here
        elif thorough:
            self._thorough = now, project, newest
        log.say(
            "pass.finished",
            worker=self._worker,
            at=now,
            leading="yes" if leading else "no",
            enrolled=outcome.enrolled,
            planned=outcome.planned,
            sent=outcome.sent,
            failed=outcome.failed,
            skipped=outcome.skipped,
            errors=len(outcome.errors),
        )
        for each in outcome.paused:
            log.say("campaign.paused", worker=self._worker, at=now, campaign=each.campaign, reason=each.reason)
        for what in outcome.errors:
            log.say("pass.error", worker=self._worker, at=now, error=what)
        return outcome

    def _must_be_thorough(self, now: datetime, project: Project, newest_import: int) -> bool:
        """Say whether everybody is to be asked: when it is time, by new files, and after an import, which may change anything."""
        if self._thorough is None:
            return True
        last, files, imported = self._thorough
        return files is not project or imported != newest_import or not timedelta() <= now - last < THOROUGH_EVERY

    def _newest_import(self) -> int:
        try:
            with reading(self._engine) as connection:
                return connection.scalar(select(func.max(import_runs.c.id))) or 0
        except SQLAlchemyError:
            return 0  # the pass will say what is wrong with the database

    def _look_at_files(self) -> Project:
        """Return the shop's files, and say when they were taken over or cannot be."""
        project = self._files()
        if project is not self._project:
            log.say("files.loaded", worker=self._worker, campaigns=len(project.campaigns))
            self._project, self._version = project, None
        if self._files.problems != self._problems:
            self._problems = self._files.problems
            for problem in self._problems:
                log.say("files.problem", problem=problem)
        return project

    def _ticked(self) -> None:
        """Make passes until one is not cut short by its turn."""
        self._idle.clear()  # before looking whether to stop: who stops looks in the other order
        try:
            self._alive_at = time.monotonic()
            more = not self._stop.is_set()
            while more:
                outcome = self.tick()
                more = outcome is not None and outcome.interrupted and not self._stop.is_set()
        except Exception as error:  # the next tick tries again
            log.say("pass.failed", worker=self._worker, error=describe(error))
        finally:
            self._idle.set()

    def _should_pause(self, turn_ends: float) -> bool:
        """Say whether the pass is to stop here; being asked is a sign of life."""
        self._alive_at = time.monotonic()
        return self._stop.is_set() or self._alive_at >= turn_ends

    @property
    def busy(self) -> bool:
        """Say whether a pass is being made."""
        return not self._idle.is_set()

    @property
    def hangs(self) -> bool:
        """Say whether a pass has shown no sign of life for long."""
        return self.busy and time.monotonic() - self._alive_at > HUNG_AFTER.total_seconds()

    def _lead(self, now: datetime) -> bool:
        """Return whether this daemon plans, and say so when that changes. Without a database nobody does."""
        leading = False
        try:
            leading = self._may_plan() and leases.hold(self._engine, leases.PLANNING, self._worker, now)
        except Exception as error:
            log.say("lease.failed", worker=self._worker, error=describe(error))
        if leading is not self._leading:
            log.say("lead.taken" if leading else "lead.elsewhere", worker=self._worker)
            self._leading = leading
        return leading

    def _may_plan(self) -> bool:
        """Say whether this folder may act for its database; a copy must not keep the lead from those that do."""
        return self._project is not None and look(self._engine, self._project) is None

    def _give_up_lead(self) -> None:
        if self._leading:
            # Else the lease runs out by itself.
            with suppress(Exception):
                leases.release(self._engine, leases.PLANNING, self._worker)
            self._leading = False

    def beat(self) -> None:
        """Keep the lead while passes go on, tell systemd that all is well, and see to it that the next tick comes."""
        if self.hangs:
            if not self._said_it_hangs:
                log.say("pass.hangs", worker=self._worker, minutes=int(HUNG_AFTER.total_seconds() // 60))
            self._said_it_hangs = True
            return
        self._said_it_hangs = False
        notify("WATCHDOG=1")
        led = self._leading
        taken_over = self._lead(self._now()) and led is False
        self._mind_the_clock(at_once=taken_over)

    def _beating(self) -> None:
        while not self._stop.wait(leases.RENEW_EVERY.total_seconds()):
            self.beat()

    def _mind_the_clock(self, *, at_once: bool) -> None:
        """See to it that the next tick is near. The scheduler sleeps for as long as it thought right before the clock changed.

        A clock that was set back would keep it waiting until the old time comes again; a night's suspension does not count as
        time to a sleeping thread.
        """
        scheduler = self._scheduler
        job = scheduler.get_job(_TICK) if scheduler else None
        if scheduler is None or job is None:
            return
        now = system_clock.now()
        if at_once or job.next_run_time - now > self._every:
            job.modify(next_run_time=now)
        scheduler.wakeup()


class _Steady(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """So long after the tick before began; after a jump of the clock there is no row of ticks to catch up with."""

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return now if previous_fire_time is None else now + self._every
