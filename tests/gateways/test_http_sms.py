"""http_sms sends what config.toml says, and reads every kind of answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from freezegun import freeze_time

from tests.gateways.providers import ID, gateway, send, send_noting, sms
from tests.servers.certificates import make_certificate
from tests.servers.http import Answer, HttpServer, http_server
from winback.gateways.base import Accepted, Outgoing, Refused, Retry, Unknown
from winback.gateways.contract import HARD_TEXT


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as running:
        yield running


# What is sent


def test_json_is_built_from_the_template(server: HttpServer) -> None:
    body = {"messages": [{"to": "{recipient}", "content": {"text": "{text}"}, "note": "to {recipient_digits}: {text}", "n": 1}]}
    send(gateway(server, json=body, headers={"X-Ref": "ref-{message_id}", "X-Version": 2}), sms(HARD_TEXT))
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/messages")
    assert request.headers["content-type"] == "application/json"
    assert (request.headers["x-ref"], request.headers["x-version"]) == (f"ref-{ID}", "2")
    note = f"to 4915123456789: {HARD_TEXT}"
    assert json.loads(request.body) == {
        "messages": [{"to": "+4915123456789", "content": {"text": HARD_TEXT}, "note": note, "n": 1}]
    }


def test_a_form_is_encoded(server: HttpServer) -> None:
    send(gateway(server, form={"To": "{recipient}", "Body": "{text}", "From": "{sender}"}, sender="Half & Note"), sms(HARD_TEXT))
    [request] = server.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.form == {"To": "+4915123456789", "Body": HARD_TEXT, "From": "Half & Note"}


def test_a_query_is_encoded(server: HttpServer) -> None:
    send(gateway(server, method="GET", query={"to": "{recipient}", "text": "{text}"}), sms(HARD_TEXT))
    [request] = server.requests
    assert (request.method, request.body) == ("GET", b"")
    assert request.query == {"to": "+4915123456789", "text": HARD_TEXT}


def test_a_value_stays_in_its_part_of_the_path(server: HttpServer) -> None:
    path = f"{server.url}/to/{{recipient}}/say/{{text}}/now"
    send(gateway(server, url=path, form={"x": "1"}), sms("../a?b=c#d/e"))
    [request] = server.requests
    assert request.path == "/to/%2B4915123456789/say/..%2Fa%3Fb%3Dc%23d%2Fe/now"


def test_xml_by_hand_is_escaped(server: HttpServer) -> None:
    template = '<sms to="{recipient}"><text>{text}</text></sms>'
    send(gateway(server, body=template, content_type="application/xml"), sms(f"{HARD_TEXT}\x00\x0b"))
    [request] = server.requests
    assert request.headers["content-type"] == "application/xml"
    tree = ET.fromstring(request.body)
    assert (tree.get("to"), tree.findtext("text")) == ("+4915123456789", HARD_TEXT)


def test_json_by_hand_is_escaped(server: HttpServer) -> None:
    template = '{"to":"{recipient}","text":"{text}"}'
    send(gateway(server, body=template, content_type="application/json; charset=utf-8"), sms(HARD_TEXT))
    assert json.loads(server.requests[0].body) == {"to": "+4915123456789", "text": HARD_TEXT}


def test_a_form_by_hand_is_escaped(server: HttpServer) -> None:
    send(gateway(server, body="to={recipient}&text={text}", content_type="application/x-www-form-urlencoded"), sms(HARD_TEXT))
    assert server.requests[0].form == {"to": "+4915123456789", "text": HARD_TEXT}


def test_plain_text_by_hand_is_left_alone(server: HttpServer) -> None:
    send(gateway(server, body="{recipient}\n{text}"), sms(HARD_TEXT))
    assert server.requests[0].body.decode() == f"+4915123456789\n{HARD_TEXT}"
    assert server.requests[0].headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("text", "coding", "unicode", "segments"),
    [
        ("plain", 0, False, 1),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", 0, False, 1),
        ("no\N{LATIN SMALL LETTER E WITH DIAERESIS}l", 2, True, 1),  # Kannel would send "no?l" with coding=0
        ("€" * 81, 0, False, 2),
        ("Ж" * 71, 2, True, 2),
    ],
)
def test_the_alphabet_of_the_text_is_told(server: HttpServer, text: str, coding: int, unicode: bool, segments: int) -> None:
    body = {
        "to": "{recipient}",
        "text": "{text}",
        "c": "{coding}",
        "u": "{unicode}",
        "s": "{segments}",
        "all": "{coding}/{unicode}",
    }
    send(gateway(server, json=body), sms(text))
    got = json.loads(server.requests[0].body)
    assert (got["c"], got["u"], got["s"]) == (coding, unicode, segments)
    assert got["all"] == f"{coding}/{int(unicode)}"


def test_the_words_for_the_alphabet_can_be_set(server: HttpServer) -> None:
    made = gateway(
        server, query={"to": "{recipient}", "text": "{text}", "type": "{coding}"}, coding={"gsm": "text", "unicode": "uni"}
    )
    send(made, sms("plain"), sms("Ж", message_id=str(UUID(int=1))))
    assert [request.query["type"] for request in server.requests] == ["text", "uni"]


def test_secrets_are_put_in_as_they_are(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_KEY", "k{text}y+ü")  # braces in a secret are no placeholder
    reference = {"env": "SMS_KEY"}
    made = gateway(
        server,
        headers={"X-Key": reference},
        query={"key": reference},
        json={"key": reference, "to": "{recipient}", "t": "{text}"},
    )
    assert send(made, sms())[0] == Accepted(ID, reply="200 {}")
    [request] = server.requests
    assert request.headers["x-key"].encode("latin-1").decode() == "k{text}y+ü"
    assert request.query == {"key": "k{text}y+ü"}
    assert json.loads(request.body)["key"] == "k{text}y+ü"


def test_secrets_stand_inside_of_texts(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_KEY", "k<e>&y{text}")
    monkeypatch.setenv("HOOK_KEY", "hook+key")
    made = gateway(
        server,
        headers={"Authorization": "App {env:SMS_KEY}"},
        query={"dlr": "https://shop.example/hooks/sms?key={env:HOOK_KEY}&id={message_id}"},
        body="<sms key='{env:SMS_KEY}' to='{recipient}'>{text}</sms>",
        content_type="text/xml",
    )
    server.rule = lambda request: Answer(400, f"{request.headers['authorization']} {request.query['dlr']}")
    [outcome] = send(made, sms())
    [request] = server.requests
    assert request.headers["authorization"] == "App k<e>&y{text}"
    assert request.query["dlr"] == f"https://shop.example/hooks/sms?key=hook+key&id={ID}"
    assert ET.fromstring(request.body).get("key") == "k<e>&y{text}"
    assert outcome.reply == f"400 App *** https://shop.example/hooks/sms?key=***&id={ID}"


@pytest.mark.parametrize("where", ["headers", "query", "json"])
def test_a_secret_inside_of_a_text_may_be_missing(server: HttpServer, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMS_KEY", raising=False)
    options = {"json": {"to": "{recipient}", "text": "{text}"}}
    options.setdefault(where, {})["X-Key"] = "App {env:SMS_KEY}"
    missing = "the environment variable SMS_KEY is empty or not set (set it to the secret)"
    assert send(gateway(server, **options), sms()) == [Retry(missing, whole_gateway=True)]
    assert gateway(server, **options).check() == [missing]


def test_a_secret_comes_from_a_file_of_the_shop(server: HttpServer, tmp_path: Path) -> None:
    from winback.secrets import bind

    (tmp_path / "sms.key").write_text("from-a-file\n")
    send(gateway(server, root=tmp_path, **bind({"bearer": {"file": "sms.key"}}, root=tmp_path)), sms())
    assert server.requests[0].headers["authorization"] == "Bearer from-a-file"


def test_basic_authentication(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_PASSWORD", "pässword")
    send(gateway(server, username="ACxyz", password={"env": "SMS_PASSWORD"}), sms())
    assert server.requests[0].headers["authorization"] == "Basic QUN4eXo6cMOkc3N3b3Jk"


def test_no_password_is_taken_from_netrc(server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    send(gateway(server), sms())
    assert "authorization" not in server.requests[0].headers


def test_a_repeated_call_has_the_same_idempotency_key(server: HttpServer) -> None:
    made = gateway(server, idempotency_header="Idempotency-Key")
    server.answer(Answer(500), Answer(200))
    assert isinstance(send(made, sms())[0], Retry)
    assert isinstance(send(made, sms())[0], Accepted)
    assert [request.headers["idempotency-key"] for request in server.requests] == [ID, ID]


def test_one_connection_carries_all_messages(server: HttpServer) -> None:
    send(gateway(server), *(sms(message_id=str(UUID(int=number))) for number in range(5)))
    assert len({request.connection for request in server.requests}) == 1


def test_a_connection_that_the_server_closed_is_opened_again(server: HttpServer) -> None:
    with gateway(server).connect() as sender:
        [first] = sender.send([sms()], lambda message_id: None)
        server.hang_up()
        [second] = sender.send([sms(message_id=str(UUID(int=2)))], lambda message_id: None)
    assert isinstance(first[1], Accepted)
    assert isinstance(second[1], Accepted)


def test_letters_are_refused(server: HttpServer) -> None:
    [outcome], announced = send_noting(gateway(server), [Outgoing(ID, "email", "a@example.com", "b@example.com", b"x")])
    assert outcome == Refused("this gateway carries no e-mail")
    assert announced == []
    assert server.requests == []


# How answers are read

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


# When the line breaks


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
