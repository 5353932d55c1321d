"""An open connection, over which one message goes after another.

With pipelining (RFC 2920) a message costs one round trip: its content goes out in one write with the envelope of the next one,
which is what section 3.1 allows expressly. Without, it goes step by step through the same code.

::

    C: MAIL RCPT DATA  ─►                       the first message's envelope
    S:                 ◄─ 250 250 354
    C: content . MAIL RCPT DATA ─►              `announce`, then its content and the second one's envelope
    S:                 ◄─ 250 250 250 354
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Literal, Protocol, cast

from winback.gateways.base import Accepted, Outcome, Retry, Unknown
from winback.gateways.smtp.content import Capabilities, Delivery
from winback.gateways.smtp.line import Line
from winback.gateways.smtp.options import SmtpTimeouts
from winback.gateways.smtp.replies import Reply
from winback.gateways.smtp.verdicts import Phase, outcome_of

#: What a reply is awaited for: `end` is the final dot, `void` a lone dot that ends a message without recipient.
Step = Literal["mail", "rcpt", "data", "end", "void", "rset", "quit"]

#: Messages up to this size go out in one write with their final dot; of a larger one the dot is held back until everything
#: before it has left, so that a connection that breaks in its middle leaves no doubt.
_ONE_WRITE = 256 * 1024

#: First digits of replies (RFC 5321 section 4.2.1): of yes, by step, and of the two kinds of no.
_TWO, _THREE = b"23"
_EXPECTED: dict[Step, int] = {"data": _THREE}
_REFUSALS = b"45"

#: Seconds for which an answer shows that the server is well, when connections break on one message again and again.
_RECENTLY = 10.0

_LOST_THREAD = "the mail server lost the thread of the conversation"

_RSET = b"RSET\r\n"
_DATA = b"DATA\r\n"
_DOT = b".\r\n"


class Crew(Protocol):
    """Who shares messages out among connections, and takes what became of them."""

    def take(self, capabilities: Capabilities) -> Delivery | None:
        """Return the next message, prepared for a server with these capabilities; None when there is none at present."""

    def give_back(self, delivery: Delivery) -> None:
        """Take back a message that nothing was wrong with."""

    def announce(self, delivery: Delivery) -> bool:
        """Say that a message is about to be handed over. False when it must not be; then it is settled."""

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Take a message's outcome."""

    def trouble(self, delivery: Delivery, trouble: Retry, *, since: float, again: bool) -> None:
        """Take a message on which the connection broke; with `again` it may go over another one.

        When the server has answered others since then (by the loop's clock), the trouble is the message's own.
        """

    def turned_away(self) -> bool:
        """Know that the server turned a new connection away; say whether there are others."""

    def idle(self, connection: Connection) -> None:
        """Know that a connection has nothing to do."""

    def gone(self, connection: Connection) -> None:
        """Know that a connection takes no more messages."""

    def crash(self, error: BaseException) -> None:
        """Take an error that is this program's own."""


class Connection:
    """A line that carries a crew's messages, at most so many."""

    def __init__(self, line: Line, capabilities: Capabilities, crew: Crew, messages: int, timeouts: SmtpTimeouts) -> None:
        self.line = line
        self.capabilities = capabilities
        self.idle_since = 0.0
        #: When (by the loop's clock) what is awaited now is overdue.
        self.deadline = math.inf
        self._loop = asyncio.get_running_loop()
        self._crew = crew
        self._pipelining = capabilities.pipelining
        self._messages_left = messages
        self._usable = True
        self._awaited: deque[tuple[Step, Delivery | None]] = deque()
        self._dirty = False  # a refused transaction is still open
        self._served = False  # a message came to an end here
        self._held: tuple[Delivery, int] | None = None  # a large one on its way out, and how much of it was still here
        command, final = timeouts.command.total_seconds(), timeouts.final.total_seconds()
        self._patience: dict[Step, float] = dict.fromkeys(("mail", "rcpt", "data", "rset", "quit"), command)
        self._patience["end"] = self._patience["void"] = final
        self._data_patience = timeouts.data.total_seconds()
        line.listener = self

    def start(self, delivery: Delivery) -> None:
        """Begin with a message, prepared for this connection, which must be idle."""
        self._messages_left -= 1
        self._begin(delivery)
        self.on_pause()

    def quit(self) -> None:
        """Say good-bye, if nothing is under way; the line goes down when the server has answered."""
        self._retire()
        if self._awaited or self._held:
            self.line.abort()
            return
        self._awaited.append(("quit", None))
        self.line.write(b"QUIT\r\n")
        self.on_pause()

    def overdue(self, now: float) -> None:
        """Take notice that what is awaited has not come in time, unless a large message still moves."""
        if now < self.deadline:
            return
        if self._held is not None:
            delivery, before = self._held
            left = self.line.unsent
            if left < before:
                self._held = delivery, left
                self.deadline = now + self._data_patience
                return
            patience = self._data_patience
        else:
            patience = self._patience[self._awaited[0][0]]
        # Others that were answered in the second half of the wait show that the server itself is well.
        self._break("the mail server did not answer in time", since=now - patience / 2, again=False)

    # What the line says

    def on_pause(self) -> None:
        """Set the clock for what is awaited first."""
        if self._awaited:
            self.deadline = self._loop.time() + self._patience[self._awaited[0][0]]
        elif self._held is None:
            self.deadline = math.inf

    def on_drained(self) -> None:
        """Send the final dot of a large message whose content is out of our hands."""
        if self._held is not None:
            delivery, _ = self._held
            self._held = None
            self._hand_over(delivery, b"")
            self.on_pause()

    def on_down(self, why: str, error: Exception | None) -> None:
        """Let go of every message; what the line says is read no more."""
        if error is not None and not isinstance(error, OSError):
            self._crew.crash(error)
        self._break(why)

    def on_reply(self, last: bytes, before: list[bytes]) -> None:
        """Take a reply, and do what comes next."""
        if not self._awaited:
            # 421 before an idle connection is closed, or a server that counts differently.
            self._break("the mail server spoke unasked")
            return
        step, delivery = self._awaited.popleft()
        good = last[0] == _EXPECTED.get(step, _TWO)
        if not good and last[0] not in _REFUSALS:
            self._awaited.appendleft((step, delivery))
            self._break(_LOST_THREAD)
        elif delivery is None:
            self._on_aside(step, good)
        elif good:
            self._on_yes(step, delivery, last, before)
        elif last.startswith(b"421"):
            self._on_goodbye(delivery, step, Reply.of([*before, last]))
        else:
            self._on_no(step, delivery, Reply.of([*before, last]))

    def _on_aside(self, step: Step, good: bool) -> None:
        """Take a reply that no message waits for."""
        if step == "quit":
            self.line.close()
        elif step == "rset" and not good:
            self._break(_LOST_THREAD)
        elif not self._awaited:
            self._rest()

    def _on_yes(self, step: Step, delivery: Delivery, last: bytes, before: list[bytes]) -> None:
        if step == "end":
            self._served = True
            reply = Reply.of([*before, last])
            self._crew.settle(delivery, Accepted(reply.queue_id, reply.raw))
            if not self._awaited:
                self._next()
        elif step == "data":
            self._on_go_ahead(delivery)
        elif not self._pipelining:
            if step == "rset":
                self._say("mail", delivery, delivery.mail)
            elif step == "mail":
                self._say("rcpt", delivery, delivery.recipient)
            else:
                self._say("data", delivery, _DATA)

    def _on_no(self, step: Step, delivery: Delivery, reply: Reply) -> None:
        if step == "rset":
            self._awaited.appendleft((step, delivery))
            self._break(_LOST_THREAD)
            return
        if step == "end":
            self._served = True
            self._crew.settle(delivery, outcome_of(reply, "end"))
            if not self._awaited:
                self._next()
            return
        # The first refusal is the reason; in a group, the others only follow from it.
        if delivery.refusal is None:
            delivery.refusal = outcome_of(reply, cast(Phase, step))
        delivery.recipient_refused = delivery.recipient_refused or step == "rcpt"
        if step == "data" or not self._pipelining:
            self._fail(delivery, delivery.refusal)

    def _on_go_ahead(self, delivery: Delivery) -> None:
        if delivery.refusal is None:
            self._send_content(delivery)
        elif delivery.recipient_refused:
            # RFC 2920 section 3.1: a server may say 354 though no recipient is left. A lone dot ends that message.
            self._awaited.append(("void", None))
            self._fail(delivery, delivery.refusal, _DOT)
        else:
            # MAIL was refused, the rest taken all the same: a dot might send an empty message to a person.
            self._crew.settle(delivery, delivery.refusal)
            self._break(_LOST_THREAD)

    # What goes out

    def _say(self, step: Step, delivery: Delivery, words: bytes) -> None:
        self._awaited.append((step, delivery))
        self.line.write(words)

    def _begin(self, delivery: Delivery, *before: bytes) -> None:
        """Send a message's envelope, together with what is left to say of the last one."""
        reset, self._dirty = self._dirty, False
        if not self._pipelining:
            self._say("rset" if reset else "mail", delivery, b"".join((*before, _RSET if reset else delivery.mail)))
            return
        if reset:
            self._awaited.append(("rset", None))
            before = (*before, _RSET)
        self._awaited.extend((("mail", delivery), ("rcpt", delivery), ("data", delivery)))
        self.line.write(b"".join((*before, delivery.mail, delivery.recipient, _DATA)))

    def _send_content(self, delivery: Delivery) -> None:
        if len(delivery.body) <= _ONE_WRITE:
            self._hand_over(delivery, delivery.body)
            return
        self.line.write(delivery.body)
        left = self.line.unsent
        if left:
            self._held = delivery, left
            self.deadline = self._loop.time() + self._data_patience
        else:
            self._hand_over(delivery, b"")

    def _hand_over(self, delivery: Delivery, body: bytes) -> None:
        """Send what is left of a message with its final dot, and the envelope of the next one."""
        following = self._take() if self._pipelining else None
        if not self._crew.announce(delivery):
            if following is not None:
                self._crew.give_back(following)
            self._break("a message must not be handed over")
            return
        delivery.handed_over = True
        self._awaited.append(("end", delivery))
        if following is None:
            self.line.write(body + _DOT)
        else:
            self._begin(following, body, _DOT)

    def _fail(self, delivery: Delivery, refusal: Outcome, before: bytes = b"") -> None:
        """End a message that was refused before its content, and go on."""
        self._dirty = not before
        self._served = True
        self._crew.settle(delivery, refusal)
        self._next(before)

    def _take(self) -> Delivery | None:
        if self._messages_left <= 0 or not self._usable:
            return None
        delivery = self._crew.take(self.capabilities)
        if delivery is not None:
            self._messages_left -= 1
        return delivery

    def _next(self, before: bytes = b"") -> None:
        """Go on with the next message, or rest."""
        delivery = self._take()
        if delivery is not None:
            self._begin(delivery, before)
            return
        if before:
            self.line.write(before)
        if not self._awaited:
            self._rest()

    def _rest(self) -> None:
        if self._messages_left <= 0:
            self.quit()
        elif self._usable:
            self.idle_since = self._loop.time()
            self._crew.idle(self)

    # The end

    def _retire(self) -> None:
        if self._usable:
            self._usable = False
            self._crew.gone(self)

    def _on_goodbye(self, delivery: Delivery, step: Step, reply: Reply) -> None:
        """Take 421: the server closes. Nothing is in doubt, and a connection that has served may just have served enough."""
        self._retire()
        behind = dict.fromkeys(each for _, each in self._awaited if each is not None and each is not delivery)
        self._awaited.clear()
        for each in behind:
            self._crew.give_back(each)
        trouble = outcome_of(reply, "mail" if step == "rset" else cast(Phase, step))
        others = not self._served and self._crew.turned_away()
        if others and step == "mail":
            # One connection too many says nothing of the message: several may turn it away one after another.
            self._crew.give_back(delivery)
        else:
            self._crew.trouble(delivery, cast(Retry, trouble), since=self._loop.time(), again=self._served or others)
        self._break("the mail server closes")

    def _break(self, why: str, *, since: float | None = None, again: bool = True) -> None:
        """Cut the line. What was handed over is in doubt, the message whose turn it was goes again, others are not touched."""
        self._retire()
        held = [self._held[0]] if self._held is not None else []
        waiting = dict.fromkeys([*held, *(delivery for _, delivery in self._awaited if delivery is not None)])
        self._held = None
        self._awaited.clear()
        self.deadline = math.inf
        for place, delivery in enumerate(waiting):
            if delivery.handed_over:
                self._crew.settle(delivery, Unknown(f"{why} after the whole message had been sent"))
            elif place == 0:
                trouble = Retry(why, whole_gateway=True)
                since = self._loop.time() - _RECENTLY if since is None else since
                self._crew.trouble(delivery, trouble, since=since, again=again)
            else:
                self._crew.give_back(delivery)
        self.line.abort()
