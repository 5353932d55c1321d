"""One pass: take care of what others left behind, look who should hear from us, write it down, count orders, send what is due.

The daemon makes one every minute, `winback run` makes one, the demo makes many at moments of its own. Each begins with the files
and the database and remembers nothing, so it does not matter when the last one was, or who made it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, delete, insert, update
from sqlalchemy.exc import SQLAlchemyError

from winback.errors import WinbackError
from winback.project import Project
from winback.store import passes, writing
from winback.store.refusals import refused
from winback.versions import take_up

if TYPE_CHECKING:
    from winback.dispatch import DispatchResult, Helpers, Recovered
    from winback.installation import Refusal
    from winback.plan import PlanResult
    from winback.policy import Paused

#: Passes are remembered this long.
_REMEMBERED = timedelta(days=30)

#: Letters of all errors of a pass together, and of one.
_ERRORS, _ERROR = 2000, 300


@dataclass
class PassOutcome:
    """What one pass did. `errors` names what went wrong, part by part, without anything personal."""

    at: datetime
    worker: str
    recovered: Recovered | None = None
    paused: list[Paused] = field(default_factory=list)  # campaigns that bounced too often, or brought complaints
    plan: PlanResult | None = None
    dispatch: DispatchResult | None = None
    conversions: int = 0  # written, mended or taken back
    errors: list[str] = field(default_factory=list)
    interrupted: bool = False  # told to stop before everything was done
    version: int | None = None  # of the files it went by
    refused: Refusal | None = None  # this folder may not send from the database: nothing was done at all

    @property
    def enrolled(self) -> int:
        """Count the people who came into a campaign."""
        return self.plan.enrolled if self.plan else 0

    @property
    def planned(self) -> int:
        """Count the messages written into the ledger."""
        return self.plan.planned if self.plan else 0

    @property
    def sent(self) -> int:
        """Count the messages that a gateway accepted."""
        return self.dispatch.sent if self.dispatch else 0

    @property
    def failed(self) -> int:
        """Count the messages that were refused for good or used up their attempts."""
        return self.dispatch.failed if self.dispatch else 0

    @property
    def skipped(self) -> int:
        """Count the messages that a rule stopped, while planning or right before they would have gone."""
        return (self.plan.skipped if self.plan else 0) + (self.dispatch.skipped.total() if self.dispatch else 0)


def run_pass(
    engine: Engine,
    project: Project,
    now: datetime,
    worker: str,
    *,
    clock: Callable[[], datetime] | None = None,
    stop: Callable[[], bool] | None = None,
    wait: Callable[[float], object] | None = None,
    planning: bool = True,
    helpers: Helpers | None = None,
    thorough: bool = True,
) -> PassOutcome:
    """Do everything that is due at `now`. A part that fails is named in the outcome's errors, and the parts after it still run.

    A pass that cannot be written down does nothing.

    `clock` is asked while sending, which may take long; without one it stays `now`. Once `stop` answers yes, what is in hand is
    finished and nothing new begun. `wait` waits for some seconds, where a gateway's rate lets more through soon. Without
    `planning` it only sends: the work of a daemon that does not lead. `helpers` are the processes that send when there is much
    to send. A pass that is not `thorough` asks only those who have just done something: one a minute may, as long as a thorough
    one is made now and then.

    In a copy nothing is done at all, and `refused` says why: its files may be others than those that the database is planned by,
    its journals are of another moment than its ledger, and the letters in the mailbox are the original's to read.
    """
    ticking = clock or (lambda: now)
    stopping = stop or (lambda: False)
    outcome = PassOutcome(now, worker)
    if not _admitted(engine, project, outcome):
        return outcome
    number = _begin(engine, outcome)
    if number is None:
        return outcome
    with _caught(outcome, "files"):
        outcome.version = take_up(engine, project, now, worker)
    project = replace(project, version=outcome.version, snapshot=None)  # what was in the files is not asked for again
    work = _Work(engine, project, now, worker, ticking, stopping, wait, helpers, None if clock else now, thorough)
    for name, part in _parts(planning) if outcome.version is not None else ():
        if stopping():
            outcome.interrupted = True
            break
        with _caught(outcome, name):
            part(work, outcome)
    _end(engine, outcome, number, ticking())
    return outcome


def _admitted(engine: Engine, project: Project, outcome: PassOutcome) -> bool:
    from winback.installation import check

    with _caught(outcome):
        outcome.refused = check(engine, project, outcome.at)
        if outcome.refused is not None:
            outcome.errors.append(str(outcome.refused))
    return not outcome.errors


@dataclass(frozen=True)
class _Work:
    """What every part of a pass works with."""

    engine: Engine
    project: Project
    now: datetime
    worker: str
    clock: Callable[[], datetime]
    stop: Callable[[], bool]
    wait: Callable[[float], object] | None
    helpers: Helpers | None
    at: datetime | None  # where the clock stands still
    thorough: bool


def _recover(work: _Work, outcome: PassOutcome) -> None:
    """Take care of messages whose dispatcher is gone."""
    from winback.dispatch import recover

    outcome.recovered = recover(work.engine, work.project, now=work.now)


def _read_mail(work: _Work, outcome: PassOutcome) -> None:
    """Take note of letters that came back, so that nobody is planned for whose address is known to be dead."""
    from winback.track.bounces import read_mailboxes

    wrong = read_mailboxes(work.engine, work.project, work.now, stop=work.stop)
    outcome.errors += [f"mailbox: {describe(error)}"[:_ERROR] for error in wrong]


def _pause(work: _Work, outcome: PassOutcome) -> None:
    """Stop campaigns whose messages come back or bring complaints, before more of them go."""
    from winback.policy import pause_by_results

    with writing(work.engine) as connection:
        outcome.paused = pause_by_results(connection, work.project, work.now)


def _plan(work: _Work, outcome: PassOutcome) -> None:
    """Let people in and write their messages; a campaign that cannot be planned does not hold up the others."""
    from winback.plan import plan

    with writing(work.engine) as connection:
        outcome.plan = plan(connection, work.project, work.now, worker=work.worker, thorough=work.thorough)
    outcome.errors += [error[:_ERROR] for error in outcome.plan.errors]
    outcome.errors += [f"campaign {each.campaign}: {each.error}"[:_ERROR] for each in outcome.plan.campaigns if each.error]


def _attribute(work: _Work, outcome: PassOutcome) -> None:
    """Find the messages that orders followed; first settle receipts that came before their message was known as sent."""
    from winback.track.conversions import attribute
    from winback.track.deliveries import settle_late

    with writing(work.engine) as connection:
        settle_late(connection, work.project, work.now)
        outcome.conversions = attribute(connection, work.project, work.now)


def _dispatch(work: _Work, outcome: PassOutcome) -> None:
    """Send what is due."""
    from winback.dispatch import dispatch

    if work.helpers is None:
        outcome.dispatch = dispatch(
            work.engine, work.project, worker=work.worker, clock=work.clock, stop=work.stop, wait=work.wait
        )
    else:
        outcome.dispatch = work.helpers.dispatch(
            work.engine, work.project, clock=work.clock, at=work.at, stop=work.stop, wait=work.wait
        )
    outcome.errors += [error[:_ERROR] for error in outcome.dispatch.errors]
    outcome.interrupted = work.stop()


_Part = tuple[str, Callable[[_Work, PassOutcome], None]]

#: The parts of a pass in their order, each under the name that its errors carry. Sending comes last: it may take long.
_PARTS: tuple[_Part, ...] = (
    ("recovering", _recover),
    ("mailbox", _read_mail),
    ("pausing", _pause),
    ("planning", _plan),
    ("conversions", _attribute),
    ("sending", _dispatch),
)

#: What any number of processes may do at once.
_SENDING_PARTS = tuple(part for part in _PARTS if part[0] in ("recovering", "sending"))


def _parts(planning: bool) -> tuple[_Part, ...]:
    return _PARTS if planning else _SENDING_PARTS


@contextmanager
def _caught(outcome: PassOutcome, name: str = "") -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever it is, the other parts go on, and the daemon with them
        outcome.errors.append(f"{name}: {describe(error)}" if name else describe(error))


def describe(error: Exception) -> str:
    """Say what went wrong without quoting rows, parameters or people: for logs, `status` and the pages."""
    if isinstance(error, WinbackError):
        return str(error).partition("\n")[0][:_ERROR]
    refusal = refused(error)
    if refusal is not None:
        return str(refusal)[:_ERROR]
    if isinstance(error, SQLAlchemyError):
        # The first line names the constraint or the table; the lines after it quote the row.
        said = str(getattr(error, "orig", None) or error).partition("\n")[0]
        return f"{type(error).__name__}: {said}"[:_ERROR]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "winback" in Path(frame.filename).parts]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}{where}"
    return f"{type(error).__name__}{where}"


def _begin(engine: Engine, outcome: PassOutcome) -> int | None:
    """Write down that the pass has begun, so that one that hangs can be seen; forget passes of long ago."""
    number: int | None = None
    with _caught(outcome), writing(engine) as connection:
        connection.execute(delete(passes).where(passes.c.started_at < outcome.at - _REMEMBERED))
        row = insert(passes).values(worker=outcome.worker, started_at=outcome.at).returning(passes.c.id)
        number = connection.execute(row).scalar_one()
    return number  # noqa: RET504 - without a database there is none


def _end(engine: Engine, outcome: PassOutcome, number: int, at: datetime) -> None:
    with _caught(outcome), writing(engine) as connection:
        connection.execute(
            update(passes)
            .where(passes.c.id == number)
            .values(
                finished_at=at,
                enrolled=outcome.enrolled,
                planned=outcome.planned,
                sent=outcome.sent,
                failed=outcome.failed,
                skipped=outcome.skipped,
                error="\n".join(outcome.errors)[:_ERRORS] or None,
            )
        )
