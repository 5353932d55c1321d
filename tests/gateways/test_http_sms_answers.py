"""http_sms reads every kind of answer, and finds lost ones again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from freezegun import freeze_time

from tests.gateways.providers import ID, gateway, send, send_noting, sms
from tests.servers.http import Answer, HttpServer, http_server
from winback.gateways.base import Accepted, Refused, Retry, Unknown


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as running:
        yield running


TWILIO = {"error": "code", "reason": "message", "errors": {"21610": "refused", "21211": "hard", "20429": "gateway"}}


@pytest.mark.parametrize(
    ("rules", "answer", "expected"),
    [
        ({}, Answer(200, "anything"), Accepted(ID, "200 anything")),
        ({}, Answer(204, ""), Accepted(ID, "204")),
        ({"id": "sid"}, Answer(201, '{"sid": "SM1"}'), Accepted("SM1", '201 {"sid": "SM1"}')),
        ({"id": "messages.0.id"}, Answer(200, '{"messages": [{"id": 77}]}'), Accepted("77", '200 {"messages": [{"id": 77}]}')),
        ({"id": "/a.b/0/c~1d"}, Answer(200, '{"a.b": [{"c/d": "x"}]}'), Accepted("x", '200 {"a.b": [{"c/d": "x"}]}')),
        ({"id": {"regex": "^ID: (.+)$"}}, Answer(200, "OK\nID: 9f"), Accepted("9f", "200 OK ID: 9f")),
        (
            {"id": "id"},
            Answer(200, "<html>log in"),
            Unknown("HTTP 200, but the answer is not JSON; is url right?", "200 <html>log in"),
        ),
        ({"id": "id"}, Answer(200, "{}"), Unknown("HTTP 200, but the answer has no id where answer.id says", "200 {}")),
        ({"error": "code"}, Answer(200, '{"code": null}'), Accepted(ID, '200 {"code": null}')),
        (
            {"error": "status", "errors": {"0": "accepted"}},
            Answer(200, '{"status": "0"}'),
            Accepted(ID, '200 {"status": "0"}'),
        ),
        (
            {"error": "status", "errors": {"0": "accepted"}},
            Answer(200, '{"status": 6}'),
            Refused("the provider answered HTTP 200, code 6", reply='200 {"status": 6}'),
        ),
        (
            TWILIO,
            Answer(400, '{"code": 21211, "message": "Invalid To"}'),
            Refused(
                "the provider answered HTTP 400, code 21211: Invalid To", True, '400 {"code": 21211, "message": "Invalid To"}'
            ),
        ),
        (
            TWILIO,
            Answer(400, '{"code": 21610}'),
            Refused("the provider answered HTTP 400, code 21610", False, '400 {"code": 21610}'),
        ),
        (TWILIO, Answer(400, '{"code": 1}'), Refused("the provider answered HTTP 400, code 1", False, '400 {"code": 1}')),
        (
            {"error": {"regex": "^(Not routable)"}, "errors": {"Not routable": "refused"}},
            Answer(403, "Not routable. Do not try again."),
            Refused("the provider answered HTTP 403, code Not routable", False, "403 Not routable. Do not try again."),
        ),
        ({}, Answer(422, "no"), Refused("the provider answered HTTP 422", False, "422 no")),
        ({}, Answer(500, "oh"), Retry("the provider answered HTTP 500", reply="500 oh")),
        ({}, Answer(502, "oh"), Unknown("the provider answered HTTP 502", "502 oh")),
        ({}, Answer(504, "oh"), Unknown("the provider answered HTTP 504", "504 oh")),
        ({"statuses": {"504": "retry"}}, Answer(504, "oh"), Retry("the provider answered HTTP 504", reply="504 oh")),
        ({"statuses": {"4xx": "hard"}}, Answer(422, "no"), Refused("the provider answered HTTP 422", True, "422 no")),
        ({"statuses": {"2xx": "unknown", "202": "accepted"}}, Answer(202, "ok"), Accepted(ID, "202 ok")),
        (
            {"statuses": {"2xx": "unknown", "202": "accepted"}},
            Answer(200, "ok"),
            Unknown("the provider answered HTTP 200", "200 ok"),
        ),
        ({}, Answer(200, "{", cut=True), Unknown("the answer broke off", "200")),
    ],
)
def test_an_answer_means(server: HttpServer, rules: dict[str, Any], answer: Answer, expected: object) -> None:
    server.answer(answer)
    assert send(gateway(server, answer=rules), sms()) == [expected]


@pytest.mark.parametrize("status", [301, 302, 307, 401, 402, 403, 404, 405, 407, 429, 503])
def test_trouble_of_everybody_waits_for_everybody(server: HttpServer, status: int) -> None:
    server.answer(Answer(status, "no", {"Location": f"{server.url}/elsewhere"}))
    later = sms(message_id=str(UUID(int=2)))
    outcomes, announced = send_noting(gateway(server), [sms(), later])
    assert all(isinstance(outcome, Retry) and outcome.whole_gateway for outcome in outcomes), outcomes
    assert len(server.requests) == 1, "the others would only meet the same"
    assert announced == [ID]
    assert f"HTTP {status}: " in outcomes[0].reason  # what can be done about it


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("120", timedelta(minutes=2)),
        ("Tue, 24 Nov 2026 10:05:00 GMT", timedelta(minutes=5)),
        ("Tue, 24 Nov 2026 09:00:00 GMT", timedelta()),
        ("99999999999", timedelta(days=1)),
        ("soon", None),
        ("-5", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_provider_says_how_long_to_wait(server: HttpServer, status: int, header: str | None, after: timedelta | None) -> None:
    server.answer(Answer(status, headers={"Retry-After": header} if header else {}))
    made = gateway(server)
    with freeze_time("2026-11-24 10:00:00", real_asyncio=True):
        [outcome] = send(made, sms())
    assert isinstance(outcome, Retry)
    assert (outcome.after, outcome.whole_gateway) == (after, True)


def test_a_long_reply_is_cut_and_stays_in_one_line(server: HttpServer) -> None:
    server.answer(Answer(400, "line\n\x1b[31m" + "x" * 100_000))
    [outcome] = send(gateway(server), sms())
    assert outcome.reply.startswith("400 line [31mxxx")
    assert len(outcome.reply) == 500


# Trying it out, and asking for lost outcomes


def test_check_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMS_KEY", raising=False)
    made = gateway(url="http://sms.example.com/messages", root=tmp_path, ca_file="certs.pem", bearer={"env": "SMS_KEY"})
    assert made.check() == [
        "url begins with http://, so anybody on the way reads numbers, texts and passwords; write https://",
        f"the file {tmp_path / 'certs.pem'} is not there; put the certificates there, or take ca_file out",
        "the environment variable SMS_KEY is empty or not set (set it to the secret)",
    ]


@pytest.mark.parametrize("url", ["http://10.0.0.7/sms", "http://kannel:13013/sms", "http://kannel.lan/sms", "http://[::1]/sms"])
def test_http_is_fine_in_ones_own_house(url: str) -> None:
    assert not [
        problem for problem in gateway(url=url, connect_timeout="1s", bearer={"env": "NOT_SET"}).check() if "https" in problem
    ]


def test_check_asks_for_the_receipts_secret(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    receipts = {"query": {"key": {"env": "HOOK"}}, "id": "id", "status": "status", "statuses": {"ok": "delivered"}}
    assert gateway(server, receipts=receipts).check() == [
        "the environment variable HOOK is empty or not set (set it to the secret)"
    ]


def test_check_looks_at_the_front_page_and_sends_nothing(server: HttpServer) -> None:
    server.answer(Answer(404))
    assert gateway(server).check() == []
    assert [(request.method, request.path) for request in server.requests] == [("HEAD", "/")]
    server.stop()
    assert gateway(server).check() == [
        "127.0.0.1 refuses connections; look at url, and whether this machine reaches the provider"
    ]


@pytest.mark.parametrize(("status", "fine"), [(404, True), (200, True), (401, False), (403, False)])
def test_check_learns_from_the_lookup_whether_the_key_is_right(server: HttpServer, status: int, fine: bool) -> None:
    server.answer(Answer(status))
    problems = gateway(server, lookup=lookup(server)).check()
    assert problems == (
        [] if fine else [f"the provider answers HTTP {status} when it is asked for a message; look at the password or key"]
    )


def lookup(server: HttpServer) -> dict[str, Any]:
    return {"url": f"{server.url}/messages/{{message_id}}", "id": "found.id"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(200, '{"found": {"id": "p1"}}'), Accepted("p1", "found at the provider")),
        (Answer(200, '{"found": null}'), Retry("the provider does not know the message")),
        (Answer(404, ""), Retry("the provider does not know the message")),
        (Answer(200, "<html>"), None),
        (Answer(500, ""), None),
        (Answer(401, ""), None),
        (Answer(close=True), None),
    ],
)
def test_a_lost_outcome_is_looked_up(server: HttpServer, answer: Answer, expected: object) -> None:
    server.answer(answer)
    assert gateway(server, lookup=lookup(server)).settle([ID]) == {ID: expected}
    assert [(request.method, request.path) for request in server.requests] == [("GET", f"/messages/{ID}")]


def test_without_a_lookup_nobody_knows(server: HttpServer) -> None:
    assert gateway(server).settle([ID]) == {ID: None}
    assert server.requests == []


def test_looking_up_ends_when_the_line_breaks(server: HttpServer) -> None:
    ids = [str(UUID(int=number)) for number in range(1, 5)]
    server.answer(Answer(404), Answer(close=True))
    settled = gateway(server, lookup=lookup(server)).settle(ids)
    assert settled == {ids[0]: Retry("the provider does not know the message"), **dict.fromkeys(ids[1:])}
    assert len(server.requests) == 2
