"""Messages arrive byte for byte, one after another over connections that are kept."""

from __future__ import annotations

import asyncio
import email.message
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import SMTP

from tests.servers.smtp import Answer, Event, smtp_server
from winback.gateways.base import Accepted, Outgoing, Refused
from winback.gateways.registry import configure

from .harness import SENDER, letter, letters, seconds, send, send_until_error, smtp_gateway

both_ways = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "step by step"])


@both_ways
def test_every_message_arrives_once_with_its_queue_id(pipelining: bool) -> None:
    with smtp_server(pipelining=pipelining) as server:
        sent = send(smtp_gateway(server, connections=3), letters(40), server)
        assert sent.accepted == {f"m{number}" for number in range(40)}
        arrived = {message.recipient: message for message in server.messages}
        for number in range(40):
            message = arrived[f"p{number}@example.com"]
            assert message.sender == SENDER
            assert message.content == letter(number).content
        outcome = sent[7]
        assert isinstance(outcome, Accepted)
        assert outcome.reply == f"250 2.0.0 Ok: queued as {outcome.provider_id}"
        assert server.connections <= 3


@both_ways
def test_connections_are_kept_between_calls_and_end_politely(pipelining: bool) -> None:
    with smtp_server(pipelining=pipelining) as server:
        with smtp_gateway(server, connections=1).connect() as sender:
            for start in (0, 5, 10):
                send(sender, [letter(number) for number in range(start, start + 5)], server)
            assert server.connections == 1
            assert "QUIT" not in server.commands
        assert server.commands[-1] == "QUIT"
        assert len(server.messages) == 15


def test_few_messages_take_few_connections() -> None:
    with smtp_server() as server:
        send(smtp_gateway(server, connections=10), letters(2), server)
        assert server.connections == 1


def test_the_first_connection_is_waited_for_before_others_are_opened() -> None:
    with smtp_server(slow=0.06) as server:
        send(smtp_gateway(server, connections=10, timeouts=seconds(data=0.04)), letters(1), server)
        assert server.connections == 1


def test_many_messages_take_all_connections() -> None:
    with smtp_server(slow=0.01) as server:
        send(smtp_gateway(server, connections=4), letters(60), server)
        assert server.connections == 4
        assert {message.connection for message in server.messages} == {0, 1, 2, 3}


@both_ways
def test_a_connection_is_replaced_after_so_many_messages(pipelining: bool) -> None:
    with smtp_server(pipelining=pipelining) as server:
        sent = send(smtp_gateway(server, connections=1, messages_per_connection=4), letters(10), server)
        assert len(sent.accepted) == 10
        assert [message.connection for message in server.messages] == [0] * 4 + [1] * 4 + [2] * 2
        assert server.commands.count("QUIT") == 3


def test_the_next_envelope_travels_with_the_end_of_a_message() -> None:
    with smtp_server() as server:
        send(smtp_gateway(server, connections=1), letters(3), server)
        [conversation] = server.received
        assert bytes(conversation).partition(b"\r\n")[2] == (
            b"MAIL FROM:<shop@example.com> SIZE=47\r\nRCPT TO:<p0@example.com>\r\nDATA\r\n"
            + letter(0).content
            + b".\r\nMAIL FROM:<shop@example.com> SIZE=47\r\nRCPT TO:<p1@example.com>\r\nDATA\r\n"
            + letter(1).content
            + b".\r\nMAIL FROM:<shop@example.com> SIZE=47\r\nRCPT TO:<p2@example.com>\r\nDATA\r\n"
            + letter(2).content
            + b".\r\nQUIT\r\n"
        )


def test_pipelining_can_be_switched_off() -> None:
    """The server offers it all the same, so only the order of writes could tell; it counts what comes unasked."""
    unasked: list[str] = []

    def script(event: Any) -> None:
        if event.verb in ("MAIL", "RCPT") and server.received[event.connection].endswith(b"DATA\r\n"):
            unasked.append(event.line)

    with smtp_server(script=script) as server:
        send(smtp_gateway(server, pipelining=False), letters(5), server)
        assert unasked == []
        send(smtp_gateway(server), letters(5))
        assert unasked != []


@both_ways
def test_messages_are_taken_only_when_a_connection_is_ready_for_them(pipelining: bool) -> None:
    taken = settled = most = 0

    def many() -> Iterator[Outgoing]:
        nonlocal taken, most
        for number in range(300):
            taken += 1
            most = max(most, taken - settled)
            yield letter(number)

    with smtp_server(pipelining=pipelining) as server, smtp_gateway(server, connections=3).connect() as sender:
        for _ in sender.send(many(), lambda message_id: None):
            settled += 1
    assert settled == 300
    # Two on each connection, and the outcomes of one pass of the loop that are not yielded yet.
    assert most <= 12


def test_an_outcome_is_yielded_while_others_are_still_to_come() -> None:
    """The iterable ends only after the first outcome was seen; were outcomes kept back, it would never end."""
    seen: list[str] = []

    def until_seen() -> Iterator[Outgoing]:
        number = 0
        while not seen:
            yield letter(number)
            number += 1
            assert number < 100

    with smtp_server() as server, smtp_gateway(server, connections=2).connect() as sender:
        for name, _ in sender.send(until_seen(), lambda message_id: None):
            seen.append(name)


def test_ending_the_iterable_lets_what_is_under_way_finish() -> None:
    stop = False

    def until_stopped() -> Iterator[Outgoing]:
        for number in range(1000):
            if stop:
                return
            yield letter(number)

    with smtp_server() as server, smtp_gateway(server, connections=2).connect() as sender:
        announced: list[str] = []
        outcomes = []
        for name, _ in sender.send(until_stopped(), announced.append):
            outcomes.append(name)
            stop = True
        assert sorted(outcomes) == sorted(announced)
        assert len(server.messages) == len(outcomes) < 100


def test_closing_the_iterator_cuts_off_what_is_under_way_and_the_sender_goes_on() -> None:
    with smtp_server() as server, smtp_gateway(server, connections=2).connect() as sender:
        announced: list[str] = []
        outcomes = sender.send(letters(100), announced.append)
        first, _ = next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        assert first in announced
        send(sender, [letter(number) for number in range(200, 210)])
        numbers = {message.recipient for message in server.messages}
        assert {f"p{number}@example.com" for number in range(200, 210)} <= numbers


@both_ways
@pytest.mark.parametrize(
    ("content", "arrives"),
    [
        pytest.param(b"Subject: 0\r\n\r\n.\r\n", None, id="a lone dot"),
        pytest.param(b"Subject: 0\r\n\r\n..\r\n.a\r\nb.\r\n.\r\n\r\n", None, id="dots"),
        pytest.param(b".Subject: 0\r\n\r\nx\r\n", None, id="a dot first"),
        pytest.param(b"Subject: 0\r\n\r\nno end", b"Subject: 0\r\n\r\nno end\r\n", id="no line end"),
        pytest.param(b"Subject: 0\n\na\nb\n", b"Subject: 0\r\n\r\na\r\nb\r\n", id="Unix line ends"),
        pytest.param(b"Subject: 0\r\n\r\na\n.\nb\r.\rc\r\n", b"Subject: 0\r\n\r\na\r\n.\r\nb\r\n.\r\nc\r\n", id="smuggling"),
        pytest.param(b"Subject: 0\r\n\r\na\n.\r\nMAIL FROM:<evil@example.com>\r\n", None, id="smuggling a command"),
        pytest.param("Subject: 0\r\n\r\nПривет, 👋\r\n".encode(), None, id="8-bit"),
        pytest.param(b"Subject: 0\r\n\r\n" + b"y" * 998 + b"\r\n", None, id="the longest line"),
    ],
)
def test_content_arrives_as_it_is(pipelining: bool, content: bytes, arrives: bytes | None) -> None:
    with smtp_server(pipelining=pipelining) as server:
        sent = send(smtp_gateway(server), [letter(0, content=content)])
        assert sent.accepted == {"m0"}
        assert server.violations == []
        [message] = server.messages
        wanted = content.replace(b"a\n.\r\n", b"a\r\n.\r\n") if arrives is None else arrives
        assert message.content == wanted


@both_ways
def test_a_message_larger_than_any_buffer_arrives_whole(pipelining: bool) -> None:
    content = b"Subject: 0\r\n\r\n" + b"0123456789" * 7 + b"\r\n"
    content += b"".join(b".%070d\r\n" % number for number in range(100_000))
    with smtp_server(pipelining=pipelining) as server:
        sent = send(smtp_gateway(server, connections=1), [letter(0, content=content), letter(1)], server)
        assert sent.accepted == {"m0", "m1"}
        assert server.messages[0].content == content


def test_what_is_said_of_a_message_follows_what_the_server_offers() -> None:
    eight_bit = letter(1, content="Subject: 1\r\n\r\nÄ\r\n".encode())
    with smtp_server() as server:
        send(smtp_gateway(server, connections=1), [letter(0), eight_bit], server)
        assert [message.parameters for message in server.messages] == ["SIZE=47", "SIZE=18 BODY=8BITMIME"]
    with smtp_server(size=None, extensions=()) as server:
        sent = send(smtp_gateway(server, connections=1), [letter(0), eight_bit, letter(2)], server)
        assert [message.parameters for message in server.messages] == ["", ""]
        outcome = sent[1]
        assert isinstance(outcome, Refused)
        assert not outcome.hard_bounce
        assert "8BITMIME" in outcome.reason


def test_letters_outside_ascii_in_an_address_need_smtputf8() -> None:
    message = letter(0, "björn@example.com")
    with smtp_server(extensions=("SMTPUTF8", "8BITMIME")) as server:
        assert send(smtp_gateway(server), [message], server).accepted == {"m0"}
        assert server.messages[0].recipient == "björn@example.com"
        assert "SMTPUTF8" in server.messages[0].parameters
    with smtp_server() as server:
        outcome = send(smtp_gateway(server), [message], server)[0]
        assert isinstance(outcome, Refused)
        assert not outcome.hard_bounce
        assert "SMTPUTF8" in outcome.reason


@pytest.mark.parametrize(
    "recipient",
    ["", "nobody", "a@b\r\nRCPT TO:<c@d>", "a@b> SIZE=1", "a b@example.com", "a@" + "x" * 300, "<a@example.com>"],
)
def test_an_address_that_could_break_out_of_the_envelope_is_refused(recipient: str) -> None:
    message = Outgoing("m0", "email", recipient, SENDER, letter(0).content)
    with smtp_server() as server:
        sent = send(smtp_gateway(server, connections=1), [message, letter(1)], server)
        assert isinstance(sent[0], Refused)
        assert [message.recipient for message in server.messages] == ["p1@example.com"]


def test_a_text_message_is_refused() -> None:
    with smtp_server() as server:
        outcome = send(smtp_gateway(server), [Outgoing("m0", "sms", "+4930123456", "", text="Hi")], server)[0]
        assert isinstance(outcome, Refused)
        assert "e-mail only" in outcome.reason


def test_a_message_that_is_too_large_is_refused_before_it_is_sent() -> None:
    large = letter(1, content=b"Subject: 1\r\n\r\n" + b"x" * 70 * 20)
    with smtp_server(size=1000) as server:
        sent = send(smtp_gateway(server, connections=1), [letter(0), large, letter(2)], server)
        outcome = sent[1]
        assert isinstance(outcome, Refused)
        assert "too large: 1414 bytes, and the mail server takes 1000" in outcome.reason
        assert "m1" not in sent.announced
        assert sent.accepted == {"m0", "m2"}
        assert b"SIZE=1414" not in server.received[0]


@pytest.mark.parametrize(
    ("option", "message", "wanted"),
    [
        ({}, {}, "shop@example.com"),
        ({}, {"envelope_from": "bounce@example.com"}, "bounce@example.com"),
        ({"envelope_from": "returns@example.com"}, {"envelope_from": "shop@example.com"}, "returns@example.com"),
    ],
)
def test_where_bounces_go(option: dict[str, str], message: dict[str, str], wanted: str) -> None:
    with smtp_server() as server:
        send(smtp_gateway(server, **option), [letter(0, **message)], server)
        assert server.messages[0].sender == wanted


def test_a_sender_with_a_name_gives_its_address_alone() -> None:
    message = Outgoing("m0", "email", "p0@example.com", '"Half Note, Ltd" <shop@example.com>', letter(0).content)
    with smtp_server() as server:
        send(smtp_gateway(server), [message], server)
        assert server.messages[0].sender == "shop@example.com"


def test_an_exception_of_the_iterable_is_raised_after_the_outcomes_of_what_was_under_way() -> None:
    def broken() -> Iterator[Outgoing]:
        yield from letters(5)
        raise LookupError("the database is gone")

    with smtp_server() as server, smtp_gateway(server, connections=1).connect() as sender:
        outcomes, error = send_until_error(sender, broken(), lambda message_id: None)
        assert isinstance(error, LookupError)
        assert list(outcomes) == [f"m{number}" for number in range(5)]
        assert len(server.messages) == 5


@both_ways
def test_nothing_is_handed_over_when_that_cannot_be_recorded(pipelining: bool) -> None:
    announced: list[str] = []

    def record(message_id: str) -> None:
        if len(announced) == 3:
            raise OSError("disk full")
        announced.append(message_id)

    with smtp_server(pipelining=pipelining) as server, smtp_gateway(server, connections=2).connect() as sender:
        outcomes, error = send_until_error(sender, letters(30), record)
        assert str(error) == "disk full"
        accepted = [name for name, outcome in outcomes.items() if isinstance(outcome, Accepted)]
        assert sorted(accepted) == sorted(announced)
        assert len(server.messages) == 3
        assert all(outcome.whole_gateway for outcome in outcomes.values() if not isinstance(outcome, Accepted))


def test_it_is_found_by_its_type_in_config_toml() -> None:
    with smtp_server() as server:
        table = {"type": "smtp", "host": "localhost", "port": server.port, "tls": "none"}
        gateway = configure("relay", table, root=None)  # type: ignore[arg-type]
        assert gateway.channels == {"email"}
        assert send(gateway, letters(1), server).accepted == {"m0"}  # type: ignore[arg-type]


class _Keeper(Message):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[email.message.Message] = []

    def handle_message(self, message: email.message.Message) -> None:
        self.kept.append(message)


def test_another_implementation_reads_the_same() -> None:
    keeper = _Keeper()
    content = b"From: shop@example.com\r\nTo: p0@example.com\r\nSubject: =?utf-8?b?w4Q=?=\r\n\r\n.first\r\n..second\r\nthird\r\n"
    with _aiosmtpd(keeper) as port:
        sent = send(smtp_gateway(port, connections=2), [letter(0, content=content), *letters(20)[1:]])
    assert len(sent.accepted) == len(keeper.kept) == 20
    [first] = [message for message in keeper.kept if message["X-RcptTo"] == "p0@example.com"]
    assert first.get_payload() == ".first\r\n..second\r\nthird\r\n"
    assert first["X-MailFrom"] == SENDER


@contextmanager
def _aiosmtpd(handler: Message) -> Iterator[int]:
    """Run aiosmtpd in a thread and give its port."""
    loop = asyncio.new_event_loop()
    factory = partial(SMTP, handler, loop=loop, hostname="aiosmtpd.test")
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


@both_ways
def test_a_slow_domain_leaves_connections_to_the_others(pipelining: bool) -> None:
    """Its letters come first, and not one of them gets on before all others are there."""
    mail = [letter(number, f"p{number}@slow.example") for number in range(6)]
    mail += [letter(number, f"p{number}@{number % 4}.example") for number in range(6, 24)]
    others_done, lock = threading.Event(), threading.Lock()
    others = slow = most = 0

    def script(event: Event) -> Answer:
        nonlocal others, slow, most
        to_slow = "slow.example" in (event.line if event.verb == "RCPT" else event.recipient)
        with lock:
            if event.verb == "RCPT" and to_slow:
                slow += 1
                most = max(most, slow)
            elif event.verb == "END" and to_slow:
                slow -= 1
            elif event.verb == "END":
                others += 1
                if others == 18:
                    others_done.set()
        if event.verb == "RCPT" and to_slow and not others_done.wait(10):
            return "451 4.4.1 the others did not come"
        return None

    with smtp_server(script=script, pipelining=pipelining) as server:
        sent = send(smtp_gateway(server, connections=3, connections_per_domain=1), mail, server)
    assert len(sent.accepted) == 24
    assert most == 1
