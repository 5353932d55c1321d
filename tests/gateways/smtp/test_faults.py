"""A server that misbehaves: each message's outcome is as documented, and the others are not touched."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.servers.smtp import Answer, Bye, Close, Event, Hang, smtp_server
from winback.gateways.base import Accepted, Refused, Retry, Unknown

from .harness import letter, letters, seconds, send, smtp_gateway, wait_until

both_ways = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "step by step"])

NO_SUCH_USER = "550 5.1.1 No such user"


def once(verb: str, message: int, answer: Answer) -> Callable[[Event], Answer]:
    """Return a script that gives one answer once: on the first connection, at this message."""
    given: list[Event] = []

    def script(event: Event) -> Answer:
        if event.verb == verb and event.message == message and event.connection == 0 and not given:
            given.append(event)
            return answer
        return None

    return script


def always(verb: str, answer: Answer) -> Callable[[Event], Answer]:
    return lambda event: answer if event.verb == verb else None


# One recipient's trouble is its own


@both_ways
@pytest.mark.parametrize("data_anyway", [False, True], ids=["503 follows", "354 follows"])
def test_a_refused_recipient_in_the_middle_touches_nobody_else(pipelining: bool, data_anyway: bool) -> None:
    refuse = {"p3@example.com": NO_SUCH_USER, "p4@example.com": "450 4.2.0 Greylisted, try again in 300 seconds"}
    with smtp_server(pipelining=pipelining, refuse=refuse, data_anyway=data_anyway) as server:
        sent = send(smtp_gateway(server, connections=1), letters(8), server)
        assert sent[3] == Refused("the address does not exist: No such user", hard_bounce=True, reply=NO_SUCH_USER)
        greylisted = sent[4]
        assert isinstance(greylisted, Retry)
        assert greylisted.after == timedelta(minutes=5)
        assert not greylisted.whole_gateway
        assert sent.accepted == {"m0", "m1", "m2", "m5", "m6", "m7"}
        assert sent.announced == ["m0", "m1", "m2", "m5", "m6", "m7"]
        assert server.connections == 1
        assert [message.recipient for message in server.messages] == [f"p{number}@example.com" for number in (0, 1, 2, 5, 6, 7)]


@both_ways
def test_refused_recipients_at_the_beginning_and_at_the_end(pipelining: bool) -> None:
    refuse = {f"p{number}@example.com": NO_SUCH_USER for number in (0, 1, 4, 5)}
    with smtp_server(pipelining=pipelining, refuse=refuse) as server:
        with smtp_gateway(server, connections=1).connect() as sender:
            sent = send(sender, letters(6), server)
            assert sent.accepted == {"m2", "m3"}
            # The refused transaction is still open, and must not spoil the next call.
            assert send(sender, [letter(7)], server).accepted == {"m7"}
        assert server.connections == 1


@both_ways
def test_a_refused_content_touches_nobody_else(pipelining: bool) -> None:
    spam = "554 5.7.1 Message looks like spam"
    with smtp_server(pipelining=pipelining, refuse_content={"p2@example.com": spam}) as server:
        sent = send(smtp_gateway(server, connections=1), letters(5), server)
        outcome = sent[2]
        assert isinstance(outcome, Refused)
        assert not outcome.hard_bounce
        assert outcome.reply == spam
        assert sent.accepted == {"m0", "m1", "m3", "m4"}
        assert server.connections == 1


@both_ways
@pytest.mark.parametrize("verb", ["MAIL", "DATA"])
def test_a_message_refused_at_another_step_touches_nobody_else(pipelining: bool, verb: str) -> None:
    script = once(verb, 2, "550 5.1.8 Sender address rejected")
    with smtp_server(pipelining=pipelining, script=script) as server:
        sent = send(smtp_gateway(server, connections=1), letters(5), server)
        outcome = sent[2]
        assert isinstance(outcome, Retry)
        assert outcome.reply == "550 5.1.8 Sender address rejected"
        assert sent.accepted == {"m0", "m1", "m3", "m4"}


def test_no_empty_message_is_sent_when_mail_was_refused_and_the_rest_was_not() -> None:
    """Such a server holds on to the recipient: the lone dot that RFC 2920 suggests might reach a person as an empty message."""

    def script(event: Event) -> Answer:
        if event.connection > 0 or event.message != 1:
            return None
        return {"MAIL": "451 4.3.0 no", "RCPT": "250 fine", "DATA": "354 go on"}.get(event.verb)

    with smtp_server(script=script) as server:
        sent = send(smtp_gateway(server, connections=1), letters(4), server)
        assert isinstance(sent[1], Retry)
        assert sent.accepted == {"m0", "m2", "m3"}
        assert b"DATA\r\n.\r\n" not in server.received[0]


# The line breaks


@both_ways
@pytest.mark.parametrize("action", [Close(), Bye("421 4.3.2 Service shutting down")], ids=["EOF", "421"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_a_connection_that_ends_before_the_content_costs_nobody_anything(pipelining: bool, verb: str, action: Answer) -> None:
    with smtp_server(pipelining=pipelining, script=once(verb, 3, action)) as server:
        sent = send(smtp_gateway(server, connections=1), letters(8), server)
        assert len(sent.accepted) == 8
        assert server.connections == 2
        assert Counter(sent.announced) == Counter(f"m{number}" for number in range(8))


@both_ways
def test_a_server_that_drops_after_every_third_message(pipelining: bool) -> None:
    with smtp_server(pipelining=pipelining, close_after=3) as server:
        sent = send(smtp_gateway(server, connections=2), letters(30), server)
        assert len(sent.accepted) == 30
    with smtp_server(pipelining=pipelining, goodbye_after=3) as server:
        sent = send(smtp_gateway(server, connections=2), letters(30), server)
        assert len(sent.accepted) == 30


@both_ways
def test_idle_connections_that_were_closed_cost_nobody_anything(pipelining: bool) -> None:
    with smtp_server(pipelining=pipelining, idle=0.05) as server, smtp_gateway(server, connections=3).connect() as sender:
        send(sender, letters(10), server)
        wait_until(lambda: server.open_connections == 0)
        sent = send(sender, [letter(number) for number in range(10, 20)], server)
        assert len(sent.accepted) == 10


def test_a_restart_of_the_server_between_two_calls_costs_nobody_anything() -> None:
    """However many connections it has cut: they are not tried one after another."""
    with smtp_server(slow=0.005) as server, smtp_gateway(server, connections=6).connect() as sender:
        send(sender, letters(60), server)
        assert server.connections == 6
        server.close_connections()
        wait_until(lambda: server.open_connections == 0)
        assert send(sender, [letter(60)], server).accepted == {"m60"}
        assert server.connections == 7


def test_connections_idle_for_long_are_left_politely() -> None:
    with smtp_server() as server:
        with smtp_gateway(server, keep_idle="0s").connect() as sender:
            send(sender, letters(1), server)
            send(sender, [letter(1)], server)
            assert server.connections == 2
        assert server.commands.count("QUIT") == 2


@both_ways
@pytest.mark.parametrize("keep", [True, False], ids=["it was taken", "it was lost"])
def test_a_connection_that_ends_after_the_final_dot_leaves_one_message_in_doubt(pipelining: bool, keep: bool) -> None:
    with smtp_server(pipelining=pipelining, script=once("END", 3, Close(keep))) as server:
        sent = send(smtp_gateway(server, connections=1), letters(8), server)
        assert isinstance(sent[3], Unknown)
        assert sent.accepted == {f"m{number}" for number in range(8) if number != 3}
        recipients = [message.recipient for message in server.messages]
        assert recipients.count("p3@example.com") == (1 if keep else 0)


@both_ways
@pytest.mark.parametrize("keep", [True, False], ids=["it was taken", "it was lost"])
def test_silence_after_the_final_dot_leaves_one_message_in_doubt(pipelining: bool, keep: bool) -> None:
    with smtp_server(pipelining=pipelining, script=once("END", 3, Hang(keep))) as server:
        sent = send(smtp_gateway(server, connections=1, timeouts=seconds(final=0.2)), letters(8), server)
        outcome = sent[3]
        assert isinstance(outcome, Unknown)
        assert "did not answer in time after the whole message had been sent" in outcome.reason
        assert sent.accepted == {f"m{number}" for number in range(8) if number != 3}


def test_421_instead_of_250_leaves_no_doubt() -> None:
    with smtp_server(script=once("END", 3, Bye("421 4.3.2 shutting down"))) as server:
        sent = send(smtp_gateway(server, connections=1), letters(8), server)
        assert len(sent.accepted) == 8
        # It was handed over twice, and the server said of the first time that it had not taken it.
        assert sent.announced.count("m3") == 2


def test_a_message_that_goes_again_is_in_no_doubt_because_of_the_first_time() -> None:
    def script(event: Event) -> Answer:
        if event.connection == 0 and event.message == 3 and event.verb == "END":
            return Bye("421 4.3.2 shutting down")
        return Close() if event.connection == 1 and event.verb == "MAIL" else None

    with smtp_server(script=script) as server:
        assert len(send(smtp_gateway(server, connections=1), letters(8), server).accepted) == 8


def large(number: int, lines: int = 100_000) -> bytes:
    return b"Subject: %d\r\n\r\n" % number + (b"x" * 76 + b"\r\n") * lines


@both_ways
def test_a_connection_that_ends_in_the_middle_of_a_large_content_leaves_no_doubt(pipelining: bool) -> None:
    """Its final dot never left this process, so it goes again."""
    with smtp_server(pipelining=pipelining, script=once("CONTENT", 1, Close())) as server:
        messages = [letter(0), letter(1, content=large(1)), letter(2)]
        sent = send(smtp_gateway(server, connections=1), messages, server)
        assert sent.accepted == {"m0", "m1", "m2"}
        assert sent.announced.count("m1") == 1
        assert server.connections == 2


def test_a_server_that_takes_no_more_of_a_large_content_is_not_waited_for() -> None:
    with smtp_server(script=once("CONTENT", 1, Hang())) as server:
        messages = [letter(0), letter(1, content=large(1)), letter(2)]
        sent = send(smtp_gateway(server, connections=1, timeouts=seconds(data=0.2)), messages, server)
        assert isinstance(sent[1], Retry)
        assert sent.accepted == {"m0", "m2"}
        assert "m1" not in sent.announced


def test_a_server_that_takes_a_large_content_slowly_is_waited_for() -> None:
    """All in all it takes longer than the time-out, but it moves on all the time."""
    with smtp_server(trickle=0.004) as server:
        messages = [letter(0, content=large(0, 160_000))]
        sent = send(smtp_gateway(server, connections=1, timeouts=seconds(data=0.5)), messages, server)
        assert sent.accepted == {"m0"}


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@both_ways
def test_silence_before_the_content_lets_the_message_go_later(pipelining: bool, verb: str) -> None:
    with smtp_server(pipelining=pipelining, script=once(verb, 2, Hang())) as server:
        sent = send(smtp_gateway(server, connections=1, timeouts=seconds(command=0.2)), letters(5), server)
        outcome = sent[2]
        assert isinstance(outcome, Retry)
        assert "did not answer in time" in outcome.reason
        assert outcome.whole_gateway
        assert sent.accepted == {"m0", "m1", "m3", "m4"}
        assert "m2" not in sent.announced


def test_silence_for_one_recipient_while_others_are_served_is_that_messages_own_trouble() -> None:
    def script(event: Event) -> Answer:
        return Hang() if event.verb == "RCPT" and "p0@" in event.line else None

    with smtp_server(script=script, slow=0.005) as server:
        sent = send(smtp_gateway(server, connections=2, timeouts=seconds(command=1.2)), letters(40), server)
        outcome = sent[0]
        assert isinstance(outcome, Retry)
        assert not outcome.whole_gateway
        assert len(sent.accepted) == 39


def test_a_message_that_breaks_every_connection_stops_nobody() -> None:
    def script(event: Event) -> Answer:
        return Close() if event.verb == "RCPT" and "p5@" in event.line else None

    with smtp_server(script=script) as server:
        sent = send(smtp_gateway(server, connections=2), letters(30), server)
        outcome = sent[5]
        assert isinstance(outcome, Retry)
        assert not outcome.whole_gateway
        assert len(sent.accepted) == 29
        attempts = [line for line in server.commands if "p5@" in line]
        assert len(attempts) == 3


# The whole server


def whole_gateway_waits(outcome: object) -> bool:
    return isinstance(outcome, Retry) and outcome.whole_gateway


def test_nobody_listens() -> None:
    with smtp_server() as server:
        port = server.port
    sent = send(smtp_gateway(port), letters(5))
    assert all(whole_gateway_waits(outcome) for outcome in sent.outcomes.values())
    assert sent.announced == []
    outcome = sent[0]
    assert isinstance(outcome, Retry)
    assert "connection refused; nothing listens there; look at host and port" in outcome.reason


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("GREETING", "554 5.3.2 not today"),
        ("GREETING", Bye("421 4.7.0 try later")),
        ("GREETING", Close()),
        ("EHLO", "550 5.7.1 go away"),
        ("EHLO", Close()),
        ("MAIL", Close()),
        ("MAIL", Bye("421 4.7.0 try again in 10 minutes")),
        ("MAIL", "452 4.3.1 Insufficient system storage"),
        ("END", Bye("421 4.7.28 unusual rate")),
    ],
)
def test_a_server_that_takes_nothing_makes_everybody_wait(verb: str, answer: Answer) -> None:
    with smtp_server(script=always(verb, answer)) as server:
        sent = send(smtp_gateway(server, connections=3), letters(6), server)
        assert len(sent.outcomes) == 6
        assert all(whole_gateway_waits(outcome) for outcome in sent.outcomes.values())


def test_how_long_to_wait_is_taken_from_the_servers_words() -> None:
    with smtp_server(script=always("MAIL", Bye("421 4.7.0 busy, try again in 10 minutes"))) as server:
        outcome = send(smtp_gateway(server), letters(1))[0]
        assert isinstance(outcome, Retry)
        assert outcome.after == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("verb", "answer", "most"),
    [("GREETING", Bye("421 4.3.2 closed"), 1), ("MAIL", Bye("421 4.3.2 closed"), 1), ("MAIL", Close(), 3)],
)
def test_a_server_that_takes_nothing_is_not_asked_for_every_message(verb: str, answer: Answer, most: int) -> None:
    with smtp_server(script=always(verb, answer)) as server:
        sent = send(smtp_gateway(server, connections=10), letters(60), server)
        assert len(sent.outcomes) == 60
        assert server.connections <= most


def test_the_end_of_the_last_connection_while_another_is_being_opened_ends_nothing() -> None:
    released = threading.Event()

    def script(event: Event) -> Answer:
        if event.verb == "GREETING" and event.connection == 1:
            released.wait(10)
        if event.verb == "END" and event.connection == 0 and event.message == 3:
            released.set()
            return Close()
        return None

    with smtp_server(pipelining=False, script=script) as server:
        sent = send(smtp_gateway(server, connections=2), letters(10), server)
        assert isinstance(sent[3], Unknown)
        assert len(sent.accepted) == 9


def test_fewer_connections_than_wanted_are_enough() -> None:
    with smtp_server(connections=2, slow=0.002) as server:
        sent = send(smtp_gateway(server, connections=5), letters(60), server)
        assert len(sent.accepted) == 60
        assert len({message.connection for message in server.messages}) == 2
        assert server.connections <= 5


def test_a_server_that_turns_away_connections_only_at_mail() -> None:
    def script(event: Event) -> Answer:
        return Bye("421 4.7.0 too many connections from you") if event.verb == "MAIL" and event.connection > 0 else None

    with smtp_server(script=script, slow=0.002) as server:
        sent = send(smtp_gateway(server, connections=4), letters(40), server)
        assert len(sent.accepted) == 40


def test_a_message_that_several_connections_turn_away_in_a_row_is_not_given_up() -> None:
    turned_away = [threading.Event() for _ in range(7)]

    def script(event: Event) -> Answer:
        if event.connection == 0:
            if event.verb == "MAIL" and event.message == 0:
                turned_away[-1].wait(10)
        elif event.verb == "GREETING":
            # One connection after another is ready: the same message is offered to each.
            assert event.connection == 1 or turned_away[event.connection - 1].wait(10)
        elif event.verb == "MAIL":
            turned_away[event.connection].set()
            return Bye("421 4.7.0 too many connections from you")
        return None

    with smtp_server(script=script) as server:
        sent = send(smtp_gateway(server, connections=7), letters(20), server)
        assert len(sent.accepted) == 20
        assert server.connections == 7


# What is not SMTP


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("reply", ["HTTP/1.1 400 Bad Request", "hello", "999 what", "150 preliminary", ""])
def test_an_answer_that_is_not_smtp_is_taken_for_a_broken_line(verb: str, reply: str) -> None:
    with smtp_server(script=once(verb, 2, reply)) as server:
        assert len(send(smtp_gateway(server, connections=1), letters(5)).accepted) == 5


@pytest.mark.parametrize("reply", ["garbage", "354 go on"])
def test_an_answer_that_is_not_smtp_after_the_final_dot_leaves_doubt(reply: str) -> None:
    with smtp_server(script=once("END", 2, reply)) as server:
        sent = send(smtp_gateway(server, connections=1), letters(5))
        assert isinstance(sent[2], Unknown)
        assert len(sent.accepted) == 4


def test_yes_where_go_on_is_expected_is_a_broken_line() -> None:
    with smtp_server(script=once("DATA", 2, "250 fine")) as server:
        assert len(send(smtp_gateway(server, connections=1), letters(5)).accepted) == 5


def test_a_reply_without_end_is_cut_off() -> None:
    endless = "\n".join("250-and more" for _ in range(20_000))
    with smtp_server(pipelining=False, script=once("MAIL", 2, endless)) as server:
        limits = seconds(command=5)
        assert len(send(smtp_gateway(server, connections=1, timeouts=limits), letters(5)).accepted) == 5


@both_ways
def test_replies_in_pieces_and_of_several_lines(pipelining: bool) -> None:
    refusal = "550-5.1.1 The account that you tried to reach\n550-5.1.1 does not\n550 5.1.1 exist."

    def script(event: Event) -> Answer:
        if event.verb == "MAIL":
            return "250-2.1.0 well\n250 2.1.0 well"
        return None

    with smtp_server(pipelining=pipelining, dribble=True, refuse={"p1@example.com": refusal}, script=script) as server:
        sent = send(smtp_gateway(server, connections=1), letters(3), server)
        assert sent[1] == Refused(
            "the address does not exist: The account that you tried to reach does not exist.", hard_bounce=True, reply=refusal
        )
        assert sent.accepted == {"m0", "m2"}


def test_control_characters_in_a_reply_do_not_reach_logs_and_pages() -> None:
    with smtp_server(refuse={"p0@example.com": "550 5.1.1 \x1b[31mred\x07 and \x00"}) as server:
        outcome = send(smtp_gateway(server), letters(1))[0]
        assert isinstance(outcome, Refused)
        assert outcome.reply == "550 5.1.1 ?[31mred? and ?"


@both_ways
def test_everything_at_once(pipelining: bool) -> None:
    """Hundreds of messages over several connections on a server that does a bit of everything; each has its right outcome."""

    def script(event: Event) -> Answer:
        number = int(event.recipient[1:].split("@")[0]) if event.recipient else -1
        if event.verb == "END" and number % 10 == 1:
            return Close(keep=number % 20 == 1)
        if event.verb == "END" and number % 10 == 2:
            return "451 4.7.1 come back later"
        if event.verb == "MAIL" and event.message % 17 == 16:
            return Bye("421 4.4.2 enough for now")
        return None

    refuse = {f"p{number}@example.com": NO_SUCH_USER for number in range(3, 300, 10)}
    with smtp_server(pipelining=pipelining, script=script, refuse=refuse) as server:
        sent = send(smtp_gateway(server, connections=4), letters(300), server)
        wanted = {1: Unknown, 2: Retry, 3: Refused}
        for number in range(300):
            assert isinstance(sent[number], wanted.get(number % 10, Accepted)), (number, sent[number])
        arrived = {message.recipient for message in server.messages}
        assert arrived == {f"p{number}@example.com" for number in range(300) if number % 10 not in (2, 3) and number % 20 != 11}
