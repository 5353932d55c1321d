"""One batch on its way through a gateway: composed piece by piece, handed over, answered; and the journal kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from winback.dispatch.journal import Answer, Handover, Journal
from winback.dispatch.outcomes import Answered
from winback.dispatch.preparing import Prepared, Preparer, Unrendered
from winback.gateways.base import Accepted, Outcome, Outgoing, Refused, Retry
from winback.ledger import Claimed


class Feed:
    """Gives a gateway the messages of one batch, and takes note of what becomes of each.

    It ends early when the dispatcher is to stop, when nobody's message can go at present, and after an error of ours, which is
    kept in `error` because the gateway between us would not know what to do with it.
    """

    def __init__(
        self,
        preparer: Preparer,
        journal: Journal,
        gateway: str,
        claims: Sequence[Claimed],
        now: datetime,
        *,
        halted: Callable[[], bool],
    ) -> None:
        self._preparer = preparer
        self._journal = journal
        self._gateway = gateway
        self._claims = claims
        self._now = now
        self._halted = halted
        self._handovers: dict[str, Handover] = {}  # of messages that the gateway took
        self._handed: set[str] = set()
        self._answers: dict[str, Answer] = {}
        self.unrendered: list[Unrendered] = []
        self.trouble: Retry | None = None  # the first answer that was about the whole gateway
        self.stopped = False
        self.error: Exception | None = None

    def messages(self) -> Iterator[Outgoing]:
        """Yield the messages to send."""
        prepared = self._preparer.prepare(self._claims, self._now)
        while not self._ended():
            try:
                each = next(prepared, None)
            except Exception as error:
                self.error = error
                return
            if each is None:
                return
            if isinstance(each, Unrendered):
                self.unrendered.append(each)
                continue
            self._handovers[each.claim.id] = _handover(self._gateway, each)
            yield each.message.outgoing

    def hand_over(self, message_id: str) -> None:
        """Note, before the byte that matters, that a message leaves. Raise the error that keeps it from being noted."""
        try:
            self._journal.hand_over(message_id, self._handovers[message_id])
        except OSError as error:
            self.error = error
            raise
        self._handed.add(message_id)

    def answer(self, message_id: str, outcome: Outcome, at: datetime) -> None:
        """Note what became of a message; the first answer about one counts."""
        if message_id not in self._handovers or message_id in self._answers:
            return
        self._answers[message_id] = Answer(outcome, at)
        if self.trouble is None and isinstance(outcome, Retry) and outcome.whole_gateway:
            self.trouble = outcome
        try:
            self._journal.answer(message_id, self._answers[message_id])
        except OSError as error:
            self.error = error  # the answer itself is not lost: it goes into the ledger with the batch

    @property
    def answered(self) -> list[Answered]:
        """Return the messages with an answer."""
        return [
            Answered(claim, self._handovers[claim.id], self._answers[claim.id])
            for claim in self._claims
            if claim.id in self._answers
        ]

    @property
    def heard(self) -> bool:
        """Say whether the other side decided on a message, so that the gateway works."""
        outcomes = (answer.outcome for answer in self._answers.values())
        return any(
            isinstance(each, Accepted | Refused) or (isinstance(each, Retry) and not each.whole_gateway) for each in outcomes
        )

    @property
    def gone(self) -> list[str]:
        """Return the messages that the other side may have got to see."""
        ours = (
            id_ for id_, answer in self._answers.items() if isinstance(answer.outcome, Retry) and answer.outcome.whole_gateway
        )
        return sorted(self._handed | (self._answers.keys() - ours))

    @property
    def lost(self) -> list[str]:
        """Return the messages that were handed over and not answered."""
        return [claim.id for claim in self._claims if claim.id in self._handed and claim.id not in self._answers]

    @property
    def left(self) -> list[Claimed]:
        """Return the messages that were never handed over, and about which nothing was answered."""
        unrendered = {each.claim.id for each in self.unrendered}
        done = self._handed | self._answers.keys() | unrendered
        return [claim for claim in self._claims if claim.id not in done]

    def _ended(self) -> bool:
        self.stopped = self.stopped or self._halted()
        return self.stopped or self.trouble is not None or self.error is not None


def _handover(gateway: str, prepared: Prepared) -> Handover:
    message = prepared.message
    return Handover(gateway, message.subject or None, message.segments.count if message.segments else None, prepared.redirected)
