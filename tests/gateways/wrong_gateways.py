"""Gateways that are wrong in one way each, and the test of the contract suite that must fail for it.

Not collected by itself: test_contract_finds.py runs it and looks that each of them fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field

from winback.errors import GatewayError
from winback.gateways.base import (
    Accepted,
    Gateway,
    Options,
    Outcome,
    Outgoing,
    ReceiptEvent,
    ReceiptRequest,
    Refused,
    Retry,
    Unknown,
)
from winback.gateways.contract import Arrived, GatewayContract
from winback.secrets import Secret

KEY = "sesame-open-up"


class LoftOptions(Options):
    key: Secret = Field(Secret(KEY), description="The key of the loft.")


class Loft(Gateway):
    """A gateway that is right: it keeps messages in memory. Each wrong one changes one of its parts."""

    type: ClassVar[str] = "loft"
    channels = frozenset({"sms"})
    Options = LoftOptions

    def __init__(self, options: Any) -> None:
        super().__init__(options, name="loft", root=Path())
        self.taken: list[Arrived] = []
        self.refused: set[str] = set()
        self.down = False
        self.lost = False

    @contextmanager
    def connect(self) -> Iterator[Any]:
        yield self

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        for message in messages:
            yield message.message_id, self.one(message, on_handover)

    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        if message.channel not in self.channels:
            return Refused("no letters")
        if self.down:
            return Retry("the loft is gone", whole_gateway=True)
        if message.recipient in self.refused:
            return Refused("nobody there", hard_bounce=True)
        on_handover(message.message_id)
        self.take(message)
        return Unknown("no answer") if self.lost else Accepted(message.message_id)

    def take(self, message: Outgoing) -> None:
        self.taken.append(Arrived(message.recipient, message.text, message.message_id))

    def check(self) -> list[str]:
        return ["the loft is gone; build it up again"] if self.down else []

    def settle(self, message_ids: Sequence[str]) -> dict[str, Outcome | None]:
        if self.down:
            return dict.fromkeys(message_ids)
        known = {each.identity for each in self.taken}
        return {name: Accepted(name) if name in known else Retry("not here") for name in message_ids}

    def receipts(self, request: ReceiptRequest) -> Sequence[ReceiptEvent]:
        if request.query.get("key") != KEY:
            raise GatewayError("who is there?")
        return [ReceiptEvent("delivered", request.body.decode())]


class LoftContract(GatewayContract):
    secrets = (KEY,)
    kind: type[Loft] = Loft

    @pytest.fixture
    def gateway(self) -> Gateway:
        return self.kind(self.kind.Options())

    def arrived(self, gateway: Any) -> list[Arrived]:
        return list(gateway.taken)

    def refuse(self, gateway: Any, recipient: str) -> None:
        gateway.refused.add(recipient)

    def break_line(self, gateway: Any) -> None:
        gateway.down = True

    def mend_line(self, gateway: Any) -> None:
        gateway.down = False

    def lose_answers(self, gateway: Any) -> None:
        gateway.lost = True

    def receipt(self, gateway: Any, provider_id: str) -> ReceiptRequest:
        return ReceiptRequest("POST", {}, {"key": KEY}, provider_id.encode())


class TestRight(LoftContract):
    """Passes everything: the wrong ones fail for their one fault only."""


def wrong(kind: type[Loft], *fails: str) -> type[LoftContract]:
    """Return the suite for a wrong gateway, which must fail in these tests at least."""
    return type(f"Test{kind.__name__}", (LoftContract,), {"kind": kind, "fails": fails})


class Silent(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        return super().one(message, lambda message_id: None)


class Late(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        outcome = super().one(message, lambda message_id: None)
        on_handover(message.message_id)
        return outcome


class Chatty(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        on_handover(message.message_id)
        return super().one(message, on_handover)


class Greedy(Loft):
    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        return super().send(list(messages), on_handover)


class Forgetful(Loft):
    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        yield from list(super().send(messages, on_handover))[1:]


class Repeating(Loft):
    def take(self, message: Outgoing) -> None:
        super().take(message)
        super().take(message)


class Latin(Loft):
    def take(self, message: Outgoing) -> None:
        self.taken.append(
            Arrived(message.recipient, message.text.encode("latin-1", "replace").decode("latin-1"), message.message_id)
        )


class Nameless(Loft):
    def take(self, message: Outgoing) -> None:
        self.taken.append(Arrived(message.recipient, message.text, f"{message.message_id}-{len(self.taken)}"))


class TakesLetters(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        if message.channel == "email":
            on_handover(message.message_id)
            return Accepted("a letter")
        return super().one(message, on_handover)


class StopsAtTheFirstRefusal(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        outcome = super().one(message, on_handover)
        self.down = self.down or (isinstance(outcome, Refused) and message.channel == "sms")
        return outcome


class Raises(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        if self.down:
            raise ConnectionRefusedError("the loft is gone")
        return super().one(message, on_handover)


class BlamesTheRecipient(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        return Retry("the loft is gone") if self.down else super().one(message, on_handover)


class Hopeful(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        outcome = super().one(message, on_handover)
        return Retry("no answer") if isinstance(outcome, Unknown) else outcome


class Once(Loft):
    opened = False

    @contextmanager
    def connect(self) -> Iterator[Any]:
        if self.opened:
            raise RuntimeError("was opened before")
        self.opened = True
        yield self


class Alone(Loft):
    opened = False

    @contextmanager
    def connect(self) -> Iterator[Any]:
        if self.opened:
            raise RuntimeError("is open already")
        self.opened = True
        yield self
        self.opened = False


class Swallows(Loft):
    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        try:
            yield from super().send(messages, on_handover)
        except Exception:
            return


class Careless(Loft):
    def check(self) -> list[str]:
        return []


class Worried(Loft):
    def check(self) -> list[str]:
        return ["all is lost"]


class SendsToTry(Loft):
    def check(self) -> list[str]:
        self.taken.append(Arrived("nobody", "test"))
        return super().check()


class TellsItsKey(Loft):
    def one(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        outcome = super().one(message, on_handover)
        return Refused(f"not for {KEY}") if isinstance(outcome, Refused) else outcome


class OpenOptions(Options):
    key: str = Field(KEY, description="The key of the loft.")


class PrintsItsKey(Loft):
    Options = OpenOptions


class LooseOptions(BaseModel):
    key: Secret = Field(Secret(KEY), description="The key of the loft.")


class Loose(Loft):
    Options = LooseOptions


class TerseOptions(Options):
    key: Secret = Secret(KEY)


class Terse(Loft):
    Options = TerseOptions


class Boasts(Loft):
    def settle(self, message_ids: Sequence[str]) -> dict[str, Outcome | None]:
        return {name: Accepted(name) for name in message_ids}


class Partial(Loft):
    def settle(self, message_ids: Sequence[str]) -> dict[str, Outcome | None]:
        return {name: outcome for name, outcome in super().settle(message_ids).items() if isinstance(outcome, Accepted)}


class Trusting(Loft):
    def receipts(self, request: ReceiptRequest) -> Sequence[ReceiptEvent]:
        return [ReceiptEvent("delivered", request.body.decode("latin-1"))]


class Stumbling(Loft):
    def receipts(self, request: ReceiptRequest) -> Sequence[ReceiptEvent]:
        if request.query["key"] != KEY:
            raise GatewayError("who is there?")
        return super().receipts(request)


class Counting(Loft):
    calls = 0

    def receipts(self, request: ReceiptRequest) -> Sequence[ReceiptEvent]:
        self.calls += 1
        raw: Mapping[str, Any] = {"call": self.calls}
        return [ReceiptEvent(event.kind, event.provider_id, raw=raw) for event in super().receipts(request)]


TestSilent = wrong(
    Silent, "test_every_handover_is_announced_once_before_its_outcome", "test_what_could_not_be_announced_does_not_leave"
)
TestLate = wrong(Late, "test_what_could_not_be_announced_does_not_leave")
TestChatty = wrong(Chatty, "test_every_handover_is_announced_once_before_its_outcome")
TestGreedy = wrong(Greedy, "test_messages_are_taken_as_they_go")
TestForgetful = wrong(Forgetful, "test_every_message_has_one_outcome_and_arrives_once")
TestRepeating = wrong(Repeating, "test_every_message_has_one_outcome_and_arrives_once")
TestLatin = wrong(Latin, "test_every_alphabet_arrives_whole")
TestNameless = wrong(Nameless, "test_a_message_keeps_its_name_when_it_is_sent_again")
TestTakesLetters = wrong(TakesLetters, "test_a_channel_that_it_does_not_carry_is_refused")
TestStopsAtTheFirstRefusal = wrong(StopsAtTheFirstRefusal, "test_a_refused_recipient_leaves_the_others_alone")
TestRaises = wrong(Raises, "test_a_broken_line_is_an_outcome_for_everybody", "test_a_line_that_breaks_in_between_recovers")
TestBlamesTheRecipient = wrong(BlamesTheRecipient, "test_a_broken_line_is_an_outcome_for_everybody")
TestHopeful = wrong(Hopeful, "test_an_answer_that_never_comes_is_unknown")
TestOnce = wrong(Once, "test_the_way_out_can_be_used_again", "test_stopping_early_leaves_it_usable")
TestAlone = wrong(Alone, "test_two_ways_out_can_be_open_at_once")
TestSwallows = wrong(Swallows, "test_trouble_with_the_messages_comes_out")
TestCareless = wrong(Careless, "test_check_says_what_is_wrong")
TestWorried = wrong(Worried, "test_check_finds_nothing_wrong")
TestSendsToTry = wrong(SendsToTry, "test_check_finds_nothing_wrong")
TestTellsItsKey = wrong(TellsItsKey, "test_secrets_stay_secret_for_a_refused_recipient")
TestPrintsItsKey = wrong(PrintsItsKey, "test_secrets_stay_secret")
TestLoose = wrong(Loose, "test_an_unknown_option_is_refused")
TestTerse = wrong(Terse, "test_every_option_is_described")
TestBoasts = wrong(Boasts, "test_settle_answers_for_what_it_is_asked", "test_settle_knows_nothing_over_a_broken_line")
TestPartial = wrong(Partial, "test_settle_answers_for_what_it_is_asked")
TestTrusting = wrong(Trusting, "test_a_receipt_without_its_proof_is_an_error")
TestStumbling = wrong(Stumbling, "test_a_receipt_without_its_proof_is_an_error")
TestCounting = wrong(Counting, "test_a_genuine_receipt_is_read")
