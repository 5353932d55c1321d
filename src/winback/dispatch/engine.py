"""Send everything that is due: claim, ask the rules again, compose, hand over, record; batch by batch until nothing is due.

The claim is committed before the first byte leaves, the journal says what has left, and answers go into the ledger with each
batch. Whatever happens in between, `recover` finds out what is known of every message, so none is lost and none goes twice.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from winback.dispatch import pauses
from winback.dispatch.feed import Feed
from winback.dispatch.journal import Journal
from winback.dispatch.lease import Lease
from winback.dispatch.outcomes import Skip, ask_again, give_back, impersonal, record, skip
from winback.dispatch.pace import Pace
from winback.dispatch.preparing import Preparer
from winback.dispatch.result import DispatchResult
from winback.dispatch.routes import Route, routes
from winback.dispatch.taking import take
from winback.errors import WinbackError
from winback.gateways.base import Gateway, Sender
from winback.installation import advance
from winback.project import Project
from winback.store import MessageState, gateway_states, messages, reading, writing
from winback.store.refusals import refused

Clock = Callable[[], datetime]

#: Waits for so many seconds, or less when the dispatcher is to stop, as `threading.Event.wait` does.
Wait = Callable[[float], object]

#: A gateway that has nothing due is asked again after so long while others are busy.
_LOOK_AGAIN = timedelta(seconds=10)

#: New objects after which it is looked for garbage in cycles; Python's own 700 are not those of three letters.
_OBJECTS = 50_000

#: For a gateway's limits a dispatcher waits at most so long; what has to wait longer is left to a later one.
_PATIENCE = timedelta(seconds=65)


class Event(Protocol):
    """What is asked whether to stop, such as a `threading.Event`."""

    def is_set(self) -> bool:
        """Say whether it is time."""


Stop = Callable[[], bool] | Event | None


def dispatch(
    engine: Engine,
    project: Project,
    *,
    worker: str,
    clock: Clock,
    stop: Stop = None,
    wait: Wait | None = None,
    gateways: Mapping[str, Gateway] | None = None,
) -> DispatchResult:
    """Send everything that is due now, until nothing is, and return what was done.

    `clock` is asked for every batch and every answer; all times that are recorded come from it. `stop` is asked between messages:
    what is on the wire is finished, what was not handed over waits as before. `wait` is called where a gateway's limits let more
    through in a minute at most; without it that is left to a later call. `gateways` replace the configured ones by name.
    Any number of dispatchers may run at once. An error of the database ends it and is in `errors`; `recover` sorts out the rest.
    From a folder that may not send from this database nothing goes, and `errors` says why.
    """
    result = DispatchResult()
    halted = _asked(stop)
    if project.unclear:
        result.complain(f"{project.unclear}; nothing is sent")
        return result
    usable = _usable(engine, routes(project, gateways), result)
    if not usable or not _anything_due(engine, usable, clock()):
        return result
    try:
        if not _may_send(engine, project, clock(), result):
            return result
        _Dispatcher(engine, project, worker=worker, clock=clock, halted=halted, wait=wait, result=result).run(usable)
        if result.taken:
            # A copy of the database that was made meanwhile does not know of all that went: now it is an older one.
            _may_send(engine, project, clock(), result)
    except (SQLAlchemyError, OSError) as error:
        result.complain(_plainly(error))
    return result


def _may_send(engine: Engine, project: Project, now: datetime, result: DispatchResult) -> bool:
    refusal = advance(engine, project, now)
    if refusal is not None:
        result.complain(str(refusal))
    return refusal is None


def _asked(stop: Stop) -> Callable[[], bool]:
    """Return what says whether to stop; once it has said so it stays so, else what is given back would be claimed anew."""
    if stop is None:
        return lambda: False
    ask = stop if callable(stop) else stop.is_set
    stopped = False

    def asked() -> bool:
        nonlocal stopped
        stopped = stopped or ask()
        return stopped

    return asked


def _usable(engine: Engine, found: list[Route], result: DispatchResult) -> list[Route]:
    """Return the routes whose gateways could be set up, and keep for everybody to see why the others could not."""
    with reading(engine) as connection:
        known = {row.name: row for row in connection.execute(select(gateway_states))}
    broken = [route for route in found if route.gateway is None]
    gone = known.keys() - {route.name for route in found}
    repaired = [route.name for route in found if route.gateway and route.name in known and known[route.name].paused_until is None]
    unknown = [route for route in broken if route.name not in known or known[route.name].reason != pauses.kept(route.trouble)]
    if gone or repaired or unknown:
        with writing(engine) as connection:
            for name in (*gone, *repaired):
                pauses.clear(connection, name)
            for route in unknown:
                pauses.hold(connection, route.name, route.channels, route.trouble)
    for route in broken:
        result.pauses.append(pauses.GatewayPause(route.name, route.channels, route.trouble, None))
        result.complain(route.trouble)
    return [route for route in found if route.gateway is not None]


def _anything_due(engine: Engine, usable: list[Route], now: datetime) -> bool:
    """Look before taking the right to write: most calls find nothing."""
    channels = [channel.value for route in usable for channel in route.channels]
    with reading(engine) as connection:
        due = select(messages.c.id).where(
            messages.c.state == MessageState.PLANNED, messages.c.next_attempt_at <= now, messages.c.channel.in_(channels)
        )
        return connection.scalar(due.limit(1)) is not None


class _Way:
    """A gateway while it is in use: connected when the first message needs it, and then kept open."""

    def __init__(self, route: Route, gateway: Gateway, pace: Pace | None) -> None:
        self.name = route.name
        self.channels = route.channels
        self.gateway = gateway
        self.pace = pace
        self.ready_at: datetime | None = None  # when its limits let more through; empty while they do
        self.empty: tuple[int, datetime] | None = None  # when it had nothing due, and how many messages had fallen back by then
        self._line = ExitStack()
        self._sender: Sender | None = None

    def sender(self) -> Sender:
        if self._sender is None:
            self._sender = self._line.enter_context(self.gateway.connect())
        return self._sender

    def close(self, errors: list[str]) -> None:
        try:
            self._line.close()
        except Exception as error:  # a plugin's own code, after everything is recorded
            errors.append(f"gateway {self.name} cannot be closed: {type(error).__name__}")


class _Dispatcher:
    """One run of the dispatcher; its name in the ledger is its journal's."""

    def __init__(
        self,
        engine: Engine,
        project: Project,
        *,
        worker: str,
        clock: Clock,
        halted: Callable[[], bool],
        wait: Wait | None,
        result: DispatchResult,
    ) -> None:
        self._engine = engine
        self._project = project
        self._clock = clock
        self._halted = halted
        self._wait = wait
        self._result = result
        self._preparer = Preparer(engine, project)
        self._journal = Journal.open(project.var / "dispatch", worker)
        self._name = self._journal.name
        self._lease = Lease(engine, self._name, clock)
        self._owing = False  # whether the ledger may have claims of ours whose end is not recorded

    def run(self, usable: list[Route]) -> None:
        """Take batches from all gateways in turn until none has anything due."""
        ways = [
            _Way(route, route.gateway, Pace.of(self._project, route.name, route.channels))
            for route in usable
            if route.gateway is not None
        ]
        try:
            with self._lease, _rare_collections():
                self._rounds(list(ways))
        finally:
            for way in ways:
                way.close(self._result.errors)
            self._journal.close(keep=self._owing)

    def _rounds(self, ways: list[_Way]) -> None:
        progress = True
        while not self._halted() and (progress or self._waited(ways)):
            # Another round after every batch: what fell back waits for another gateway.
            waiting = [way for way in ways if self._had_nothing(way)]
            progress = self._round([way for way in ways if way not in waiting], ways) or self._round(waiting, ways)

    def _round(self, some: list[_Way], ways: list[_Way]) -> bool:
        """Take a batch from some of the gateways in turn; return whether there was one."""
        progress = False
        for way in some:
            now = self._clock()
            if self._halted() or (way.ready_at is not None and now < way.ready_at):
                continue
            took, usable = self._batch(way)
            way.empty = None if took else (self._result.fell_back, now)
            progress = progress or took
            if not usable:
                ways.remove(way)
        return progress

    def _had_nothing(self, way: _Way) -> bool:
        """Say whether a gateway had nothing due a moment ago, and nothing fell back since: it is asked when the others are done.

        To find that out, the database goes through all that waits for the others.
        """
        return way.empty is not None and way.empty[0] == self._result.fell_back and self._clock() < way.empty[1] + _LOOK_AGAIN

    def _waited(self, ways: list[_Way]) -> bool:
        """Wait until one of the gateways takes more by its limits; return whether it does."""
        until = min((way.ready_at for way in ways if way.ready_at is not None), default=None)
        now = self._clock()
        if until is None or self._wait is None or until - now > _PATIENCE:
            return False
        while now < until:
            self._wait((until - now).total_seconds())
            before, now = now, self._clock()
            if self._halted() or now <= before:
                return False  # a clock that stands still, a simulation's for example, never gets there
        return True

    def _batch(self, way: _Way) -> tuple[bool, bool]:
        """Send one batch; return whether there was one, and whether the gateway may be used further."""
        now = self._clock()
        if way.pace is not None:
            with reading(self._engine) as connection:
                way.pace.look_ahead(connection, now)
        self._lease.begin(now)
        self._journal.reserve(self._project.settings.dispatch.batch)
        self._owing = True  # from before the claim: its commit may succeed and the answer be lost
        with writing(self._engine) as connection:
            taken = take(
                connection,
                self._project,
                way.name,
                way.channels,
                now=now,
                worker=self._name,
                result=self._result,
                pace=way.pace,
            )
        way.ready_at = taken.until
        if taken.paused is not None:
            self._result.pauses.append(taken.paused)
        if not taken.claims:
            self._owing = False
            return taken.count > 0, taken.paused is None
        feed = Feed(self._preparer, self._journal, way.name, taken.claims, now, halted=self._ended)
        failure = self._send(way, feed)
        try:
            pause = self._record(way, feed, failure, on_trial=taken.on_trial)
        finally:
            if failure is not None and not isinstance(failure, Exception):
                raise failure  # Ctrl-C, and whatever else ends programs
        if pause is not None:
            self._result.pauses.append(pause)
        if feed.error is not None:
            raise feed.error
        return True, pause is None

    def _ended(self) -> bool:
        """Say whether the rest of the batch is to wait: for the next call, or because somebody else may soon have it."""
        return self._halted() or self._lease.lapsed

    def _send(self, way: _Way, feed: Feed) -> BaseException | None:
        """Hand over a batch and note the answers; return what went wrong that is no answer."""
        try:
            for message_id, outcome in way.sender().send(feed.messages(), feed.hand_over):
                feed.answer(message_id, outcome, self._clock())
        except BaseException as error:
            return error
        return None

    def _record(self, way: _Way, feed: Feed, failure: BaseException | None, *, on_trial: bool) -> pauses.GatewayPause | None:
        """Write the batch into the ledger, and leave the gateway alone for a while if it had trouble."""
        trouble = self._trouble(way, feed, failure)
        asked = feed.trouble.after if feed.trouble else None
        for message_id, outcome in ask_again(way.gateway, feed.lost).items():
            feed.answer(message_id, outcome, self._clock())
        answered, left, now, name = feed.answered, feed.left, self._clock(), self._name
        with writing(self._engine) as connection:
            counts = record(connection, self._project, answered, now=now, worker=name, holder=name)
            unrendered = [Skip(each.claim, each.reason, each.detail) for each in feed.unrendered]
            skip(connection, unrendered, now=now, worker=name, holder=name)
            give_back(connection, left, now=now, worker=name, holder=name, reason=trouble)
            if way.pace is not None:
                way.pace.settle(connection, feed.gone, now)
            pause = None
            if trouble is not None:
                pause = pauses.pause(connection, way.name, way.channels, trouble, now, asked=asked, worked=feed.heard)
            elif feed.heard:
                pauses.clear(connection, way.name)
            elif on_trial and not feed.gone:
                pauses.end_trial(connection, way.name, now)
        result = self._result
        result.sent += counts.sent
        result.retrying += counts.retrying
        result.failed += counts.failed
        result.uncertain += counts.uncertain
        result.given_back += counts.given_back + len(left)
        result.skipped.update(each.reason for each in feed.unrendered)
        self._journal.forget()
        self._owing = False
        return pause

    def _trouble(self, way: _Way, feed: Feed, failure: BaseException | None) -> str | None:
        """Return why the gateway cannot be used at present, None when it can."""
        if feed.trouble is not None:
            return impersonal(feed.trouble.reason)
        if feed.error is not None or isinstance(failure, KeyboardInterrupt | SystemExit):
            return None  # not the gateway's
        if failure is not None:
            # An error of a gateway's own may quote a message: only its kind is kept.
            reason = str(failure) if isinstance(failure, WinbackError) else f"gateway {way.name}: {type(failure).__name__}"
            self._result.complain(reason)
            return reason
        if (feed.left or feed.lost) and not feed.stopped:
            return f"gateway {way.name} took messages and did not answer"
        return None


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for garbage in cycles rarely meanwhile: letters are thousands of objects, and hardly one is in a cycle."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _plainly(error: Exception) -> str:
    """Return what went wrong here, without what a database's error quotes of its rows."""
    refusal = refused(error)
    if refusal is not None:
        return str(refusal)
    if isinstance(error, SQLAlchemyError):
        return f"the database failed: {type(error).__name__}: {str(getattr(error, 'orig', error)).splitlines()[0][:300]}"
    if isinstance(error, OSError):
        why = error.strerror or type(error).__name__
        return f"the dispatcher's journal cannot be written: {why} (let this user write to var/dispatch, and make room there)"
    return str(error)
