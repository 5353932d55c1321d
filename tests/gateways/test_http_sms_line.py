"""http_sms on lines that break, names that are unknown, certificates that are not to be trusted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.gateways.providers import ID, gateway, send, send_noting, sms
from tests.servers.certificates import make_certificate
from tests.servers.http import Answer, HttpServer, http_server
from winback.gateways.base import Accepted, Retry, Unknown


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as running:
        yield running


def test_refused_connections_are_everybodys_trouble(server: HttpServer) -> None:
    server.stop()
    outcomes, announced = send_noting(gateway(server), [sms(), sms(message_id=str(UUID(int=2)))])
    assert outcomes == [Retry("127.0.0.1 refuses connections", whole_gateway=True)] * 2
    assert announced == [], "nothing left"


@pytest.mark.parametrize("trouble", [OSError("the disk is full"), ValueError("no such message"), KeyboardInterrupt()])
def test_trouble_of_the_caller_is_not_taken_for_the_lines(server: HttpServer, trouble: BaseException) -> None:
    def refuse(message_id: str) -> None:
        raise trouble

    with gateway(server).connect() as sender, pytest.raises(type(trouble)) as caught:
        list(sender.send([sms()], refuse))
    assert caught.value is trouble
    assert server.requests == []


def test_an_unknown_name_is_everybodys_trouble() -> None:
    made = gateway(url="http://sms.invalid/messages")  # RFC 2606: never a name
    outcomes, announced = send_noting(made, [sms()])
    assert outcomes == [Retry("the name sms.invalid is not known to the DNS", whole_gateway=True)]
    assert announced == []


def test_no_answer_in_time_is_unknown_and_the_others_go_on(server: HttpServer) -> None:
    server.answer(Answer(hang=30), Answer())
    outcomes, announced = send_noting(gateway(server, read_timeout="1s"), [sms(), sms(message_id=str(UUID(int=2)))])
    assert outcomes[0] == Unknown("127.0.0.1 did not answer in 1 s")
    assert isinstance(outcomes[1], Accepted)
    assert len(announced) == 2


def test_a_hang_up_after_the_request_is_unknown(server: HttpServer) -> None:
    server.answer(Answer(close=True))
    outcomes, announced = send_noting(gateway(server), [sms()])
    assert outcomes == [Unknown("127.0.0.1 closed the connection without an answer")]
    assert announced == [ID]


def test_a_secret_that_is_not_there_is_everybodys_trouble(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMS_KEY", raising=False)
    outcomes, announced = send_noting(gateway(server, bearer={"env": "SMS_KEY"}), [sms()])
    assert outcomes == [Retry("the environment variable SMS_KEY is empty or not set (set it to the secret)", whole_gateway=True)]
    assert announced == []
    assert server.requests == []


def test_a_header_that_cannot_be_sent_is_everybodys_trouble(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_KEY", "two\nlines-of-secret")
    [outcome] = send(gateway(server, headers={"X-Key": {"env": "SMS_KEY"}}), sms())
    assert isinstance(outcome, Retry)
    assert outcome.whole_gateway
    assert "lines-of-secret" not in repr(outcome)


def test_the_password_of_a_query_stays_out_of_outcomes_and_logs(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SMS_KEY", "sesame open+up")
    made = gateway(server, method="GET", query={"key": {"env": "SMS_KEY"}, "to": "{recipient}", "text": "{text}"})
    server.rule = lambda request: Answer(400, f"bad call {request.query} of /messages?key=sesame+open%2Bup&to=1")
    with caplog.at_level(logging.DEBUG):
        [refused] = send(made, sms())
        server.answer(Answer(close=True))
        [lost] = send(made, sms())
        server.stop()
        [down] = send(made, sms())
    assert "***" in refused.reply
    seen = f"{made!r} {made.options!r} {refused!r} {lost!r} {down!r} {caplog.text}"
    assert "sesame" not in seen


# TLS


def test_a_certificate_must_be_trusted(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1")
    with http_server(certificate=certificate) as server:
        [stranger] = send(gateway(server), sms())
        [trusted] = send(gateway(server, root=tmp_path, ca_file=certificate.file.name), sms())
    assert isinstance(stranger, Retry)
    assert stranger.whole_gateway
    assert stranger.reason.startswith("the certificate of 127.0.0.1 is not to be trusted: self")
    assert isinstance(trusted, Accepted)
    assert len(server.requests) == 1


def test_a_certificate_must_be_for_the_host(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "sms.example.com")
    with http_server(certificate=certificate) as server:
        outcomes, announced = send_noting(gateway(server, root=tmp_path, ca_file=certificate.file.name), [sms()])
    assert isinstance(outcomes[0], Retry)
    assert announced == []
    assert server.requests == []
