"""The sender: it shares messages out among connections, in the calling thread and on an event loop of its own.

Messages are taken from the iterable when a connection is ready for one, and one ahead for each while all wait for answers: at
most three for each connection, so that memory stays flat; where a domain may have so many connections only, some more wait for
those. Outcomes are yielded as they come. Between two calls of `send` the connections stay open.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from winback.gateways.base import Outcome, Outgoing, Retry, Sender, Unknown
from winback.gateways.smtp.connection import Connection
from winback.gateways.smtp.content import Capabilities, Delivery, prepare
from winback.gateways.smtp.line import Line
from winback.gateways.smtp.opening import CannotOpen, Opener
from winback.gateways.smtp.options import SmtpOptions

#: On how many connections a message may meet trouble before it is given up for now.
_TRIES = 3

#: Seconds for which a mail server that could not be reached is taken to be still away, and one that turned an additional
#: connection down to be still full.
_AWAY = 5.0
_FULL = 10.0

#: Seconds for which the first connection may have all messages to itself, so that a handful takes no more than one.
_ALONE = 0.5

#: So many messages may wait here because their domain has its share of connections; then the others behind them wait too.
_HELD = 200

#: Seconds that good-byes may take.
_GOODBYE = 1.0

_Opened = tuple[Line, Capabilities]


class SmtpSender(Sender):
    """A way out over SMTP, with its own event loop. Use it, and close it, in one thread that runs no other loop."""

    def __init__(self, options: SmtpOptions, root: Path) -> None:
        self._options = options
        self._opener = Opener(options, root)
        self._loop = asyncio.new_event_loop()
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._leaving: set[Connection] = set()  # of which a good-bye is awaited
        self._opening: set[asyncio.Task[_Opened]] = set()
        self._away: tuple[Retry, float] | None = None  # why nothing can be reached, and until when that is believed
        self._full_until = 0.0
        self._answered_at = -math.inf
        self._unanswered = 0  # connections that broke since
        self._sending = False
        self._waiting = False  # the loop runs until `_wake`
        limits = [limit.total_seconds() for _, limit in options.timeouts]
        self._tick = min(_ALONE, *(limit / 4 for limit in limits))
        self._prepare((), lambda message_id: None)

    def _prepare(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> None:
        self._source = iter(messages)
        self._on_handover = on_handover
        self._exhausted = False
        self._pending: deque[Delivery] = deque()  # taken from the iterable, and with no connection
        self._held: deque[Delivery] = deque()  # likewise, until fewer are under way to their domain
        self._under_way: dict[str, str] = {}  # domains of messages on connections, where a domain may have so many only
        self._to_domain: Counter[str] = Counter()  # how many these are
        self._unsettled = 0  # taken from the iterable, and without an outcome
        self._alone_until = self._loop.time() + _ALONE
        self._answered = False  # whether the server has said anything of a message yet
        self._outcomes: deque[tuple[str, Outcome]] = deque()
        self._error: Exception | None = None  # to be raised when everything under way has its outcome
        self._halted: Retry | None = None  # why nothing more may be handed over
        self._crash: BaseException | None = None

    # What the caller sees

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        """Hand over messages and yield each one's id and outcome.

        To stop early, end the iterable: what is under way then still gets its outcome. Closing this iterator instead cuts it off.
        An exception of the iterable or of `on_handover` is raised after the outcomes of what was under way.
        """
        if self._sending:
            raise RuntimeError("this sender is sending already; use one sender for each thread")
        self._sending = True
        self._prepare(messages, on_handover)
        ticker = self._loop.create_task(self._watch())
        try:
            self._leave_old()
            while True:
                while self._outcomes:
                    yield self._outcomes.popleft()
                self._share_out()
                if not self._outcomes:
                    if self._exhausted and not self._unsettled:
                        break
                    if self._look_ahead():
                        self._loop.call_soon(self._loop.stop)
                    # Until the first outcome, or until there is something to be shared out anew.
                    self._waiting = True
                    self._loop.run_forever()
                    self._waiting = False
                if self._crash is not None:
                    raise self._crash
            if self._error is not None:
                raise self._error
        finally:
            self._waiting = False
            ticker.cancel()
            self._let_go()
            self._sending = False

    def close(self) -> None:
        """Say good-bye on every connection, and close the loop."""
        if self._loop.is_closed():
            return
        for connection in list(self._connections):
            connection.quit()
        self._loop.run_until_complete(_hung_up(self._leaving))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    # Between the calls

    def _leave_old(self) -> None:
        """Leave connections that were idle for long; those that the server has closed show when the loop runs."""
        oldest = self._loop.time() - self._options.keep_idle.total_seconds()
        for connection in [each for each in self._idle if each.idle_since < oldest]:
            connection.quit()

    def _let_go(self) -> None:
        """Cut off whatever is still under way."""
        for task in self._opening:
            task.cancel()
        for connection in self._connections.difference(self._idle):
            connection.line.abort()
        self._loop.run_until_complete(_ended(list(self._opening)))
        self._pending.clear()
        self._held.clear()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            now = self._loop.time()
            for connection in (*self._connections, *self._leaving):
                connection.overdue(now)
            self._wake()

    # Sharing out

    def _share_out(self) -> None:
        """Give every message that can be had a way out: an idle connection, else a new one."""
        if self._halted is not None:
            for waiting in (*self._pending, *self._held):
                self._finish(waiting, self._halted)
            self._pending.clear()
            self._held.clear()
            return
        while self._idle:
            delivery = self.take(self._idle[-1].capabilities)
            if delivery is None:
                return
            self._idle.pop().start(delivery)
        room = self._options.connections - len(self._connections) - len(self._opening)
        if room <= 0 or (self._opening and not self._connections):
            return  # the first connection goes ahead: when it cannot be opened, no other can
        if not self._connections:
            self._open_first()
        elif self._loop.time() >= (self._full_until if self._answered else max(self._full_until, self._alone_until)):
            # One more for each message that the others have no hand free for.
            while room > 0 and self._have_pending(len(self._opening) + 1):
                self._open()
                room -= 1

    def _open_first(self) -> None:
        if not self._have_pending(1):
            return
        if self._away is not None and self._loop.time() < self._away[1]:
            # One at a time, so that the caller can stop.
            self._finish(self._pending.popleft(), self._away[0])
        else:
            self._open()

    def _look_ahead(self) -> bool:
        """Take a message while all connections wait for answers, so that the next one has it at once; False when enough are."""
        busy = len(self._connections)
        if self._idle or self._halted is not None or busy < self._options.connections or len(self._pending) >= busy:
            return False
        return self._have_pending(len(self._pending) + 1)

    def _have_pending(self, count: int) -> bool:
        while len(self._pending) < count:
            delivery = self._pull()
            if delivery is None:
                return False
            self._pending.append(delivery)
        return True

    def _pull(self) -> Delivery | None:
        for held in self._held:
            if not self._is_full(held):
                self._held.remove(held)
                return held
        if self._exhausted or len(self._held) >= _HELD:
            return None
        try:
            message = next(self._source)
        except StopIteration:
            self._exhausted = True
            return None
        except Exception as error:
            self._exhausted, self._error = True, error
            return None
        self._unsettled += 1
        return Delivery(message)

    def _is_full(self, delivery: Delivery) -> bool:
        """Say whether as many messages as may be are under way to a message's domain."""
        most = self._options.connections_per_domain
        return most is not None and self._to_domain[_domain(delivery)] >= most

    def _leave(self, delivery: Delivery) -> None:
        """Know that a message is not on a connection any more."""
        domain = self._under_way.pop(delivery.message.message_id, None)
        if domain is not None:
            self._to_domain[domain] -= 1

    def _open(self) -> None:
        task = self._loop.create_task(self._opener.open())
        self._opening.add(task)
        task.add_done_callback(self._on_opened)

    def _on_opened(self, task: asyncio.Task[_Opened]) -> None:
        self._opening.discard(task)
        self._wake()
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            line, capabilities = task.result()
            if line.down is None:
                options = self._options
                connection = Connection(line, capabilities, self, options.messages_per_connection, options.timeouts)
                if not self._connections:
                    self._alone_until = self._loop.time() + _ALONE
                self._connections.add(connection)
                self._idle.append(connection)
                self._away = None
                return
            error = CannotOpen(line.down, "try again later")
        if not isinstance(error, CannotOpen):
            self.crash(error)
        elif not self.turned_away():
            self._away = error.outcome(), self._loop.time() + _AWAY

    def _finish(self, delivery: Delivery, outcome: Outcome) -> None:
        self._leave(delivery)
        self._unsettled -= 1
        self._outcomes.append((delivery.message.message_id, outcome))
        self._wake()

    def _wake(self) -> None:
        """Let `send` have a look."""
        if self._waiting:
            self._loop.stop()

    # What connections ask of their crew

    def take(self, capabilities: Capabilities) -> Delivery | None:
        """Return the next message that a server with these capabilities can take; settle those that it cannot."""
        while not self._halted:
            delivery = self._pending.popleft() if self._pending else self._pull()
            if delivery is None:
                return None
            if self._is_full(delivery):
                self._held.append(delivery)
                continue
            refusal = prepare(delivery, capabilities, self._options.envelope_from)
            if refusal is None:
                if self._options.connections_per_domain is not None:
                    domain = self._under_way[delivery.message.message_id] = _domain(delivery)
                    self._to_domain[domain] += 1
                return delivery
            self._finish(delivery, refusal)
        return None

    def give_back(self, delivery: Delivery) -> None:
        """Let another connection have a message."""
        delivery.again()
        self._leave(delivery)
        if self._halted is not None:
            self._finish(delivery, self._halted)
            return
        self._pending.appendleft(delivery)
        self._wake()

    def announce(self, delivery: Delivery) -> bool:
        """Call `on_handover`; when that fails nothing is handed over any more."""
        if self._halted is None:
            try:
                self._on_handover(delivery.message.message_id)
                return True
            except Exception as error:
                self._exhausted, self._error = True, error
                self._halted = Retry("sending stopped, because a handover could not be recorded", whole_gateway=True)
        self._finish(delivery, self._halted)
        return False

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Take what the server said, or that it said nothing."""
        if not isinstance(outcome, Unknown):
            self._answered, self._answered_at, self._unanswered = True, self._loop.time(), 0
        self._finish(delivery, outcome)

    def trouble(self, delivery: Delivery, trouble: Retry, *, since: float, again: bool) -> None:
        """Try a message over another connection, or give it up for now."""
        if delivery.tries == 0:
            delivery.trouble_since = since
        delivery.tries += 1
        self._unanswered += 1
        if again and delivery.tries < _TRIES:
            self.give_back(delivery)
            return
        own = self._answered_at > delivery.trouble_since and self._unanswered <= _TRIES
        trouble = replace(trouble, whole_gateway=not own)
        # One silence may be this message's own; a server that says it is closing, or a second silence, is not.
        if not own and not self._connections and (trouble.reply or self._unanswered > 1):
            self._away = trouble, self._loop.time() + _AWAY
        self._finish(delivery, trouble)

    def turned_away(self) -> bool:
        """Open no more connections for a while, if there are others."""
        if not self._connections:
            return False
        self._full_until = self._loop.time() + _FULL
        return True

    def idle(self, connection: Connection) -> None:
        """Keep a connection for the next message."""
        self._idle.append(connection)
        self._wake()

    def gone(self, connection: Connection) -> None:
        """Forget a connection, but for its good-bye."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._leaving = {each for each in (*self._leaving, connection) if not each.line.closed}
        self._wake()

    def crash(self, error: BaseException) -> None:
        """Raise an error of this program's own to the caller."""
        self._crash = error
        self._wake()


def _domain(delivery: Delivery) -> str:
    return delivery.message.recipient.rpartition("@")[2].lower()


async def _ended(tasks: list[asyncio.Task[_Opened]]) -> None:
    """Wait for cancelled tasks, and for what asyncio closes in its next rounds."""
    if tasks:
        await asyncio.wait(tasks)
    for _ in range(3):
        await asyncio.sleep(0)


async def _hung_up(connections: Iterable[Connection]) -> None:
    """Wait a moment for good-byes, then cut what is left."""
    ends = [connection.line.ended for connection in connections]
    if not ends:
        return
    await asyncio.wait(ends, timeout=_GOODBYE)
    for connection in connections:
        connection.line.abort()
    await asyncio.wait(ends, timeout=_GOODBYE)
