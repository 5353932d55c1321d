"""The tests that every gateway passes, for yours as for the built-in ones. Needs pytest, which winback itself does not.

Subclass, and say how your gateway is made and what arrived at its other side; the other hooks make that side misbehave, and
a hook that is not given skips its tests::

    class TestPigeons(GatewayContract):
        @pytest.fixture
        def gateway(self, tmp_path):
            self.loft = tmp_path / "loft"
            return PigeonGateway(PigeonOptions(loft=self.loft), name="pigeons", root=tmp_path)

        def arrived(self, gateway):
            return [Arrived(note["to"], note["text"]) for note in read_loft(self.loft)]

Put `pytest.register_assert_rewrite("winback.gateways.contract")` into your conftest.py, and pytest explains failures in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from itertools import count, islice
from typing import ClassVar
from uuid import NAMESPACE_URL, uuid5

import pytest
from pydantic import BaseModel, ValidationError

from winback.errors import GatewayError
from winback.gateways.base import (
    Accepted,
    Channel,
    Gateway,
    Outcome,
    Outgoing,
    ReceiptRequest,
    Refused,
    Retry,
    Sender,
    Unknown,
)

#: What texts are made of: several alphabets, and characters that mean something to JSON, XML, forms, shells and terminals.
HARD_TEXT = "Grüße, Привет, שלום, 你好, 😀 – 10 % & <b>\"x\"</b> 'y' {text} \\n €5 +1 a=b;c"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message at the other side: whom it is for, its text, and the name by which that side would know it again."""

    recipient: str
    text: str
    identity: str | None = None


@dataclass(slots=True)
class Sent:
    """What came of sending: outcomes in the order in which they came, and the ids that were announced."""

    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    def of(self, message: Outgoing) -> Outcome:
        """Return the outcome of a message."""
        return dict(self.outcomes)[message.message_id]


class GatewayContract:
    """What holds for every gateway. Subclass it as `TestSomething`; see the top of this module."""

    #: Texts that are secrets of the gateway under test, such as its password.
    secrets: ClassVar[Sequence[str]] = ()

    #: How many messages a gateway may take ahead of the outcomes that it has given.
    lookahead: ClassVar[int] = 1000

    # What a subclass says

    @pytest.fixture
    def gateway(self) -> Gateway:
        """Return the gateway, its other side ready to take everything."""
        raise NotImplementedError

    def arrived(self, gateway: Gateway) -> list[Arrived]:
        """Return the messages that the other side took, in any order."""
        raise NotImplementedError

    def refuse(self, gateway: Gateway, recipient: str) -> None:
        """Let the other side refuse a recipient from now on."""
        pytest.skip("the other side of this gateway refuses nobody")

    def break_line(self, gateway: Gateway) -> None:
        """Let the other side be gone from now on, for everybody."""
        pytest.skip("the other side of this gateway is always there")

    def mend_line(self, gateway: Gateway) -> None:
        """Undo `break_line`."""
        raise NotImplementedError

    def lose_answers(self, gateway: Gateway) -> None:
        """Let the other side take messages from now on and go away without an answer."""
        pytest.skip("the other side of this gateway always answers")

    def receipt(self, gateway: Gateway, provider_id: str) -> ReceiptRequest:
        """Return a genuine call of the provider's that reports the message delivered."""
        pytest.skip("this gateway takes no receipts")

    def recipient(self, channel: Channel, number: int) -> str:
        """Return an address that the other side takes."""
        return f"person{number}@example.com" if channel == "email" else f"+4915123456{number:03d}"

    # What it is told to send

    def message(self, gateway: Gateway, number: int = 1, *, channel: Channel | None = None, text: str = "") -> Outgoing:
        """Return a message; the same number makes the same message. Channels take turns unless one is said."""
        carried = sorted(gateway.channels)
        channel = channel or carried[number % len(carried)]
        recipient = self.recipient(channel, number)
        text = text or f"Message {number}: see you soon"
        message_id = str(uuid5(NAMESPACE_URL, f"contract:{channel}:{number}"))
        if channel == "sms":
            return Outgoing(message_id, "sms", recipient, sender="", text=text)
        letter = EmailMessage(policy=SMTP)
        letter["From"], letter["To"], letter["Subject"] = "shop@example.com", recipient, f"Letter {number} – ä"
        letter["Message-ID"] = f"<{message_id}@example.com>"
        letter.set_content(text, cte="base64")
        return Outgoing(
            message_id,
            "email",
            recipient,
            sender="shop@example.com",
            content=letter.as_bytes(),
            envelope_from="shop@example.com",
            subject=f"Letter {number} – ä",
        )

    def messages(self, gateway: Gateway, *numbers: int) -> list[Outgoing]:
        """Return messages by their numbers."""
        return [self.message(gateway, number) for number in numbers]

    def send(self, gateway: Gateway, messages: Iterable[Outgoing]) -> Sent:
        """Send over a connection of its own."""
        with gateway.connect() as sender:
            return _send(sender, messages)

    # What it is

    def test_it_says_what_it_is(self, gateway: Gateway) -> None:
        assert isinstance(gateway.type, str), "`type` is the word for this gateway in config.toml"
        assert gateway.type
        assert gateway.channels, "`channels` says what it carries"
        assert gateway.channels <= {"email", "sms"}
        assert issubclass(type(gateway).Options, BaseModel)
        assert isinstance(gateway.options, type(gateway).Options)

    def test_an_unknown_option_is_refused(self, gateway: Gateway) -> None:
        with pytest.raises(ValidationError) as caught:
            type(gateway).Options.model_validate({"no_such_option": 1})
        kinds = {error["loc"]: error["type"] for error in caught.value.errors()}
        assert kinds.get(("no_such_option",)) == "extra_forbidden", "Options must have extra='forbid'"

    def test_every_option_is_described(self, gateway: Gateway) -> None:
        for name, option in type(gateway).Options.model_fields.items():
            assert option.description, f"the option {name} has no description"

    # Every message once

    def test_every_message_has_one_outcome_and_arrives_once(self, gateway: Gateway) -> None:
        messages = self.messages(gateway, *range(1, 26))
        sent = self.send(gateway, messages)
        assert Counter(message_id for message_id, _ in sent.outcomes) == Counter(message.message_id for message in messages)
        assert [outcome for _, outcome in sent.outcomes if not isinstance(outcome, Accepted)] == []
        expected = Counter((message.recipient, text_of(message)) for message in messages)
        assert Counter((each.recipient, each.text) for each in self.arrived(gateway)) == expected

    def test_nothing_to_send_is_no_trouble(self, gateway: Gateway) -> None:
        assert self.send(gateway, []) == Sent()
        assert self.arrived(gateway) == []

    def test_provider_ids_are_texts(self, gateway: Gateway) -> None:
        for _, outcome in self.send(gateway, self.messages(gateway, 1, 2)).outcomes:
            assert isinstance(outcome, Accepted)
            assert outcome.provider_id is None or (isinstance(outcome.provider_id, str) and outcome.provider_id)
            assert isinstance(outcome.reply, str)

    def test_every_handover_is_announced_once_before_its_outcome(self, gateway: Gateway) -> None:
        messages = self.messages(gateway, 1, 2, 3, 4)
        announced: list[str] = []
        with gateway.connect() as sender:
            for message_id, outcome in sender.send(messages, announced.append):
                assert isinstance(outcome, Accepted)
                assert message_id in announced, "on_handover comes before the outcome"
        assert Counter(announced) == Counter(message.message_id for message in messages)

    def test_what_could_not_be_announced_does_not_leave(self, gateway: Gateway) -> None:
        def refuse(message_id: str) -> None:
            raise _CallersOwnError(message_id)

        with pytest.raises(_CallersOwnError), gateway.connect() as sender:
            list(sender.send(self.messages(gateway, 1), refuse))
        assert self.arrived(gateway) == [], "it was sent although on_handover failed"

    def test_messages_are_taken_as_they_go(self, gateway: Gateway) -> None:
        def endless() -> Iterator[Outgoing]:
            for number in count(1):
                assert number <= 3 + self.lookahead, "send() must not collect the messages first"
                yield self.message(gateway, number % 900)

        with gateway.connect() as sender:
            outcomes = sender.send(endless(), _ignore)
            first = list(islice(outcomes, 3))
            _close(outcomes)
        assert len(first) == 3

    def test_stopping_early_leaves_it_usable(self, gateway: Gateway) -> None:
        with gateway.connect() as sender:
            outcomes = sender.send(self.messages(gateway, 1, 2, 3), _ignore)
            next(outcomes)
            _close(outcomes)
        later = self.message(gateway, 9)
        assert isinstance(self.send(gateway, [later]).of(later), Accepted)

    def test_trouble_with_the_messages_comes_out(self, gateway: Gateway) -> None:
        def broken() -> Iterator[Outgoing]:
            yield self.message(gateway, 1)
            raise _CallersOwnError("no more")

        with pytest.raises(_CallersOwnError), gateway.connect() as sender:
            list(sender.send(broken(), _ignore))
        later = self.message(gateway, 9)
        assert isinstance(self.send(gateway, [later]).of(later), Accepted)

    def test_the_way_out_can_be_used_again(self, gateway: Gateway) -> None:
        first, second, third = self.messages(gateway, 1, 2, 3)
        with gateway.connect() as sender:
            assert isinstance(_send(sender, [first]).of(first), Accepted)
            assert isinstance(_send(sender, [second]).of(second), Accepted)
        assert isinstance(self.send(gateway, [third]).of(third), Accepted)
        assert len(self.arrived(gateway)) == 3

    def test_two_ways_out_can_be_open_at_once(self, gateway: Gateway) -> None:
        first, second, third = self.messages(gateway, 1, 2, 3)
        with gateway.connect() as one, gateway.connect() as other:
            assert isinstance(_send(one, [first]).of(first), Accepted)
            assert isinstance(_send(other, [second]).of(second), Accepted)
            assert isinstance(_send(one, [third]).of(third), Accepted)
        assert len(self.arrived(gateway)) == 3

    def test_a_message_keeps_its_name_when_it_is_sent_again(self, gateway: Gateway) -> None:
        first, other = self.messages(gateway, 1, 3)
        self.send(gateway, [first, other])
        self.send(gateway, [first])
        names: dict[str, set[str | None]] = {}
        for each in self.arrived(gateway):
            names.setdefault(each.text, set()).add(each.identity)
        if None in set().union(*names.values()):
            pytest.skip("the other side of this gateway knows messages by no name")
        assert len(names[text_of(first)]) == 1, "the same message went under two names"
        assert names[text_of(first)].isdisjoint(names[text_of(other)]), "two messages went under one name"

    def test_every_alphabet_arrives_whole(self, gateway: Gateway) -> None:
        for channel in sorted(gateway.channels):
            message = self.message(gateway, 1, channel=channel, text=HARD_TEXT)
            assert isinstance(self.send(gateway, [message]).of(message), Accepted)
            assert (message.recipient, HARD_TEXT) in [(each.recipient, each.text) for each in self.arrived(gateway)]

    # What it does not carry, and whom the other side refuses

    def test_a_channel_that_it_does_not_carry_is_refused(self, gateway: Gateway) -> None:
        foreign = [self.message(gateway, 1, channel=channel) for channel in _CHANNELS if channel not in gateway.channels]
        carried = self.message(gateway, 2)
        sent = self.send(gateway, [*foreign, carried])
        assert isinstance(sent.of(carried), Accepted)
        for message in foreign:
            outcome = sent.of(message)
            assert isinstance(outcome, Refused), "what it cannot carry it refuses"
            assert not outcome.hard_bounce, "nothing is known of the address"
            assert message.message_id not in sent.announced
        assert len(self.arrived(gateway)) == 1

    def test_a_refused_recipient_leaves_the_others_alone(self, gateway: Gateway) -> None:
        before, bad, after = self.messages(gateway, 1, 2, 3)
        self.refuse(gateway, bad.recipient)
        sent = self.send(gateway, [before, bad, after])
        assert isinstance(sent.of(bad), Refused)
        assert isinstance(sent.of(before), Accepted)
        assert isinstance(sent.of(after), Accepted)
        assert {each.recipient for each in self.arrived(gateway)} == {before.recipient, after.recipient}

    # Trouble with the line

    def test_a_broken_line_is_an_outcome_for_everybody(self, gateway: Gateway) -> None:
        messages = self.messages(gateway, 1, 2, 3)
        self.break_line(gateway)
        sent = self.send(gateway, messages)
        assert len(sent.outcomes) == 3
        for message in messages:
            outcome = sent.of(message)
            assert isinstance(outcome, Retry), f"nothing left, so it can be tried again: {outcome}"
            assert outcome.whole_gateway, "nobody's message can go: it must not cost this one an attempt"
            assert outcome.reason
        self.mend_line(gateway)
        assert self.arrived(gateway) == []
        assert [type(outcome) for _, outcome in self.send(gateway, messages).outcomes] == [Accepted] * 3
        assert len(self.arrived(gateway)) == 3

    def test_a_line_that_breaks_in_between_recovers(self, gateway: Gateway) -> None:
        first, during, later = self.messages(gateway, 1, 2, 3)
        with gateway.connect() as sender:
            assert isinstance(_send(sender, [first]).of(first), Accepted)
            self.break_line(gateway)
            sent = _send(sender, [during])
            outcome = sent.of(during)
            assert isinstance(outcome, Retry | Unknown), outcome
            if isinstance(outcome, Unknown):
                assert during.message_id in sent.announced, "what was never announced was never sent"
            else:
                assert outcome.whole_gateway
        self.mend_line(gateway)
        assert isinstance(self.send(gateway, [later]).of(later), Accepted)

    def test_an_answer_that_never_comes_is_unknown(self, gateway: Gateway) -> None:
        message = self.message(gateway, 1)
        self.lose_answers(gateway)
        sent = self.send(gateway, [message])
        assert isinstance(sent.of(message), Unknown), "it may have arrived, so it must not be tried again by itself"
        assert sent.announced == [message.message_id]

    # What it says of itself

    def test_check_finds_nothing_wrong(self, gateway: Gateway) -> None:
        assert gateway.check() == []
        assert self.arrived(gateway) == [], "check() must not send"

    def test_check_says_what_is_wrong(self, gateway: Gateway) -> None:
        self.break_line(gateway)
        problems = gateway.check()
        assert problems
        assert all(isinstance(problem, str) and problem for problem in problems)

    def test_secrets_stay_secret(self, gateway: Gateway) -> None:
        if not self.secrets:
            pytest.skip("this gateway has no secrets")
        self._assert_hidden(gateway, gateway.options, gateway.options.model_dump_json(), gateway.__dict__)
        self._assert_hidden(self.send(gateway, self.messages(gateway, 1)), gateway.check())

    def test_secrets_stay_secret_for_a_refused_recipient(self, gateway: Gateway) -> None:
        message = self.message(gateway, 1)
        self.refuse(gateway, message.recipient)
        self._assert_hidden(self.send(gateway, [message]))

    def test_secrets_stay_secret_on_a_broken_line(self, gateway: Gateway) -> None:
        self.break_line(gateway)
        self._assert_hidden(self.send(gateway, self.messages(gateway, 1)), gateway.check())

    # What became of messages

    def test_settle_answers_for_what_it_is_asked(self, gateway: Gateway) -> None:
        known, unknown = self.messages(gateway, 1, 2)
        self.send(gateway, [known])
        settled = gateway.settle([known.message_id, unknown.message_id])
        assert set(settled) == {known.message_id, unknown.message_id}
        assert settled[known.message_id] is None or isinstance(settled[known.message_id], Accepted)
        assert settled[unknown.message_id] is None or isinstance(settled[unknown.message_id], Retry)
        assert gateway.settle([]) == {}

    def test_settle_knows_nothing_over_a_broken_line(self, gateway: Gateway) -> None:
        message = self.message(gateway, 1)
        self.break_line(gateway)
        assert not isinstance(gateway.settle([message.message_id])[message.message_id], Accepted)

    def test_a_genuine_receipt_is_read(self, gateway: Gateway) -> None:
        request = self.receipt(gateway, "provider-id-1")
        events = list(gateway.receipts(request))
        assert [(event.kind, event.provider_id) for event in events] == [("delivered", "provider-id-1")]
        assert list(gateway.receipts(request)) == events, "the same call twice must give the same events"
        self._assert_hidden(events)

    def test_a_receipt_without_its_proof_is_an_error(self, gateway: Gateway) -> None:
        genuine = self.receipt(gateway, "provider-id-1")
        with pytest.raises(GatewayError) as caught:
            gateway.receipts(ReceiptRequest(genuine.method, {}, {}, genuine.body))
        self._assert_hidden(caught.value)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"id": 1}', b"\xff\xfe", b"a=b&c", b"<x/>", b"[" * 100_000])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_stranger_is_an_error(self, gateway: Gateway, method: str, body: bytes) -> None:
        with pytest.raises(GatewayError):
            gateway.receipts(ReceiptRequest(method, {"content-type": "application/json"}, {"id": "1"}, body))

    def _assert_hidden(self, *things: object) -> None:
        for thing in things:
            for secret in self.secrets:
                assert secret not in f"{thing!r} {thing}", f"a secret stands in {type(thing).__name__}"


_CHANNELS: tuple[Channel, ...] = ("email", "sms")


class _CallersOwnError(Exception):
    """Stands for trouble of whoever calls the gateway: its database is gone, a message cannot be made."""


def text_of(message: Outgoing) -> str:
    """Return the text of a message, of an e-mail that of its text part."""
    return message.text if message.channel == "sms" else text_of_letter(message.content)


def text_of_letter(content: bytes) -> str:
    """Return the text part of an e-mail as a mail program shows it."""
    letter = message_from_bytes(content, policy=default)
    part = letter.get_body(("plain",)) if isinstance(letter, EmailMessage) else None
    assert part is not None, "the letter has no text part"
    return str(part.get_content()).replace("\r\n", "\n").rstrip("\n")


def _send(sender: Sender, messages: Iterable[Outgoing]) -> Sent:
    sent = Sent()
    for outcome in sender.send(messages, sent.announced.append):
        sent.outcomes.append(outcome)
    return sent


def _ignore(message_id: str) -> None:
    """Stand for an on_handover that nobody asks about."""


def _close(outcomes: Iterator[tuple[str, Outcome]]) -> None:
    """Stop in the middle, as a caller does that is told to end."""
    close: Callable[[], None] | None = getattr(outcomes, "close", None)
    if close is not None:
        close()
