"""http_sms sends what config.toml says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest

from tests.gateways.providers import ID, gateway, send, send_noting, sms
from tests.servers.http import Answer, HttpServer, http_server
from winback.gateways.base import Accepted, Outgoing, Refused, Retry
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
