"""http_sms reads what providers report, and only what is proven to be theirs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from freezegun import freeze_time

from tests.gateways.providers import gateway
from winback.errors import GatewayError
from winback.gateways.base import ReceiptEvent, ReceiptRequest
from winback.gateways.http_sms import HttpSmsGateway
from winback.secrets import Secret

KEY = "hook-key-4711"
PROVEN = {"key": KEY}
REPORTS = {"id": "id", "status": "status", "statuses": {"DELIVRD": "delivered", "UNDELIV": "bounced", "UNKNOWN_NUMBER": "hard"}}
ANSWERS = {"sender": "from", "text": "text"}


def receiver(**rules: Any) -> HttpSmsGateway:
    """Return a gateway that reads receipts; unless the rules prove them otherwise, by a key in the address."""
    if not {"headers", "signature"} & set(rules):
        rules.setdefault("query", {"key": Secret(KEY)})
    return gateway(url="https://sms.example.com/messages", receipts=rules)


def post(body: bytes | dict[str, Any] | list[Any], query: dict[str, str] | None = None, **headers: str) -> ReceiptRequest:
    """Return a call of the hook; its header names are written with _ for -."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ReceiptRequest("POST", named, PROVEN if query is None else query, raw)


def kinds(events: Any) -> list[tuple[str, str, bool]]:
    return [(event.kind, event.provider_id, event.hard_bounce) for event in events]


# What is read


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("DELIVRD", [("delivered", "m1", False)]),
        ("delivrd", [("delivered", "m1", False)]),
        ("UNDELIV", [("bounced", "m1", False)]),
        ("UNKNOWN_NUMBER", [("bounced", "m1", True)]),
        ("ENROUTE", []),  # on its way: nothing to tell
        (None, []),
    ],
)
def test_a_status_means(status: str | None, expected: object) -> None:
    assert kinds(receiver(**REPORTS).receipts(post({"id": "m1", "status": status}))) == expected


@pytest.mark.parametrize(
    "request_",
    [
        post({"id": "m1", "status": "DELIVRD"}),
        post(urlencode({"id": "m1", "status": "DELIVRD"}).encode()),
        ReceiptRequest("GET", {}, {**PROVEN, "id": "m1", "status": "DELIVRD"}, b""),
        post({"status": "DELIVRD"}, {**PROVEN, "id": "m1"}),
    ],
    ids=["json", "form", "query", "both"],
)
def test_it_stands_in_the_body_or_in_the_address(request_: ReceiptRequest) -> None:
    assert kinds(receiver(**REPORTS).receipts(request_)) == [("delivered", "m1", False)]


def test_it_stands_deep_inside() -> None:
    made = receiver(id="data.msg_id", status="/data/states/0", statuses={"2": "delivered"})
    assert kinds(made.receipts(post({"data": {"msg_id": 12345, "states": [2]}}))) == [("delivered", "12345", False)]


def test_it_stands_in_another_format() -> None:
    made = receiver(id={"regex": "<id>(.+?)</id>"}, status={"regex": "<state>(.+?)</state>"}, statuses={"ok": "delivered"})
    assert kinds(made.receipts(post(b"<r><id>m1</id><state>ok</state></r>"))) == [("delivered", "m1", False)]


@pytest.mark.parametrize(
    ("each", "body"),
    [
        ("results", {"account": "a", "results": [{"id": "m1", "status": "DELIVRD"}, {"id": "m2", "status": "UNDELIV"}]}),
        (None, [{"id": "m1", "status": "DELIVRD"}, {"id": "m2", "status": "UNDELIV"}, "noise"]),
    ],
)
def test_one_call_brings_several(each: str | None, body: Any) -> None:
    expected = [("delivered", "m1", False), ("bounced", "m2", False)]
    assert kinds(receiver(**REPORTS, each=each).receipts(post(body))) == expected


def test_the_raw_fields_are_kept_without_the_key() -> None:
    [event] = receiver(**REPORTS).receipts(post({"id": "m1", "status": "DELIVRD", "err": "000"}, {**PROVEN, "n": "1"}))
    assert event.raw == {"n": "1", "id": "m1", "status": "DELIVRD", "err": "000"}
    assert KEY not in repr(event)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T10:00:00+01:00", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24 10:00:00", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        (1795514400, datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("1795514400.5", datetime(2026, 11, 24, 10, 0, 0, 500_000, tzinfo=UTC)),
        (1795514400000, datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_time_is_read(text: object, expected: datetime | None) -> None:
    [event] = receiver(**REPORTS, at="at").receipts(post({"id": "m1", "status": "DELIVRD", "at": text}))
    assert event.at == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+4915123456789", "+4915123456789"),
        ("4915123456789", "+4915123456789"),
        ("004915123456789", "+4915123456789"),
        ("+49 151 234-567 89", "+4915123456789"),
        ("12345", "12345"),  # a short number has no country
        ("HalfNote", "HalfNote"),
    ],
)
def test_an_answer_of_a_person_is_known_by_the_number(number: str, expected: str) -> None:
    [event] = receiver(**ANSWERS).receipts(post({"from": number, "text": "STOP, שלום 😀"}))
    assert event == ReceiptEvent(
        "replied", "", recipient=expected, text="STOP, שלום 😀", raw={"from": number, "text": "STOP, שלום 😀"}
    )


def test_an_answer_names_the_message_where_the_provider_does() -> None:
    [event] = receiver(**ANSWERS, reply_to="ref").receipts(post({"from": "+4915123456789", "text": "Stop", "ref": "m1"}))
    assert (event.kind, event.provider_id) == ("replied", "m1")


def test_reports_and_answers_come_to_the_same_address() -> None:
    made = receiver(**REPORTS, **ANSWERS)
    assert kinds(made.receipts(post({"id": "m1", "status": "DELIVRD", "from": "+49151", "text": "ours"}))) == [
        ("delivered", "m1", False)
    ]
    # Twilio calls an answer "received": no status of ours.
    answer = {"id": "in-1", "status": "received", "from": "+4915123456789", "text": "Stop"}
    assert kinds(made.receipts(post(answer))) == [("replied", "", False)]


def test_a_report_without_its_id_is_an_error() -> None:
    with pytest.raises(GatewayError, match=r"no id where receipts\.id says"):
        receiver(**REPORTS).receipts(post({"message": "m1", "status": "DELIVRD"}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 50_000, b'"text"', b"%%%=&&="])
def test_nonsense_with_a_proof_tells_nothing(body: bytes) -> None:
    assert receiver(**REPORTS, **ANSWERS).receipts(post(body)) == []


# What proves it


@pytest.mark.parametrize("query", [{}, {"key": ""}, {"key": "hook-key-4712"}, {"key": f"{KEY} "}, {"KEY": KEY}, {"key": "ü"}])
def test_a_wrong_key_in_the_address_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(GatewayError, match="without its proof"):
        receiver(**REPORTS).receipts(post({"id": "m1", "status": "DELIVRD"}, query))


@pytest.mark.parametrize(("given", "fine"), [(KEY, True), ("else", False), ("", False)])
def test_a_key_in_a_header(given: str, fine: bool) -> None:
    made = receiver(**REPORTS, headers={"X-Hook-Key": Secret(KEY)})
    request = post({"id": "m1", "status": "DELIVRD"}, {}, x_hook_key=given)
    if fine:
        assert len(made.receipts(request)) == 1
    else:
        with pytest.raises(GatewayError, match="without its proof"):
            made.receipts(request)


def test_every_proof_that_is_set_is_asked_for() -> None:
    made = receiver(**REPORTS, headers={"X-Hook-Key": Secret(KEY)}, query={"key": Secret(KEY)})
    body = {"id": "m1", "status": "DELIVRD"}
    assert len(made.receipts(post(body, x_hook_key=KEY))) == 1
    for query, headers in (({}, {"x_hook_key": KEY}), (PROVEN, {})):
        with pytest.raises(GatewayError):
            made.receipts(post(body, query, **headers))


def test_a_key_that_is_not_there_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_KEY", raising=False)
    made = receiver(**REPORTS, query={"key": {"env": "HOOK_KEY"}})
    with pytest.raises(GatewayError, match="HOOK_KEY is empty or not set"):
        made.receipts(post({"id": "m1", "status": "DELIVRD"}, {"key": ""}))


def test_receipts_that_are_not_set_up_are_an_error() -> None:
    with pytest.raises(GatewayError, match="takes no receipts"):
        gateway(url="https://sms.example.com/messages").receipts(post({"id": "m1"}))


BODY = b'{"id": "m1", "status": "DELIVRD", "name": "J\xc3\xb6rg"}'


def sign(text: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(KEY.encode(), text, algorithm).digest()


@pytest.mark.parametrize(
    ("rules", "value"),
    [
        ({}, sign(BODY).hex()),
        ({}, sign(BODY).hex().upper()),
        ({"prefix": "sha256="}, f"sha256={sign(BODY).hex()}"),
        ({"encoding": "base64"}, base64.b64encode(sign(BODY)).decode()),
        ({"algorithm": "sha1"}, sign(BODY, "sha1").hex()),
        ({"algorithm": "sha512"}, sign(BODY, "sha512").hex()),
        ({"signed": "{body_sha256}"}, sign(hashlib.sha256(BODY).hexdigest().encode()).hex()),
        ({"signed": "ü {method} {body}"}, sign("ü POST ".encode() + BODY).hex()),
    ],
)
def test_a_signature_proves(rules: dict[str, str], value: str) -> None:
    made = receiver(**REPORTS, signature={"header": "X-Signature", "secret": Secret(KEY), **rules})
    assert kinds(made.receipts(post(BODY, {}, x_signature=value))) == [("delivered", "m1", False)]
    for body, signature in ((BODY + b" ", value), (BODY, value[:-3] + "000"), (BODY, ""), (BODY, "ü")):
        with pytest.raises(GatewayError, match="without its proof"):
            made.receipts(post(body, {}, x_signature=signature))
    with pytest.raises(GatewayError, match="without its proof"):
        made.receipts(post(BODY, {}))


SEVEN = {
    "header": "X-Signature",
    "secret": Secret(KEY),
    "timestamp": "X-Timestamp",
    "nonce": "X-Nonce",
    "signed": "{timestamp}\n{nonce}\n{method}\n{url}\n{body_md5}",
}


@pytest.mark.parametrize(
    ("now", "fine"), [("10:00:00", True), ("10:04:59", True), ("09:55:01", True), ("10:05:01", False), ("09:54:59", False)]
)
def test_an_old_call_is_refused_although_it_was_signed(now: str, fine: bool) -> None:
    url = "https://mail.halfnote.example/hooks/sms"
    made = receiver(**REPORTS, signature=SEVEN, url=url)
    sent_at = str(int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp()))
    text = f"{sent_at}\nabc\nPOST\n{url}\n{hashlib.md5(BODY).hexdigest()}".encode()
    request = post(BODY, {}, x_signature=sign(text).hex(), x_timestamp=sent_at, x_nonce="abc")
    with freeze_time(f"2026-11-24 {now}"):
        if fine:
            assert len(made.receipts(request)) == 1
        else:
            with pytest.raises(GatewayError, match="without its proof"):
                made.receipts(request)


@pytest.mark.parametrize("timestamp", ["", "now", "-1", "99999999999999999999"])
def test_a_time_that_is_none_is_refused(timestamp: str) -> None:
    made = receiver(**REPORTS, signature=SEVEN, url="https://mail.halfnote.example/hooks/sms")
    with pytest.raises(GatewayError, match="without its proof"):
        made.receipts(post(BODY, {}, x_signature="0" * 64, x_timestamp=timestamp, x_nonce="abc"))


def test_twilios_signature_proves() -> None:
    """The example of Twilio's page on security ("Validating requests"), which gives address, fields, token and signature."""
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    signature = {
        "header": "X-Twilio-Signature",
        "secret": Secret("12345"),
        "algorithm": "sha1",
        "encoding": "base64",
        "signed": "{url}{form}",
    }
    made = receiver(
        id="CallSid",
        status="Digits",
        statuses={"1234": "delivered"},
        signature=signature,
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
    )
    query = {"foo": "1", "bar": "2"}
    shuffled = dict(reversed(fields.items()))
    request = post(urlencode(shuffled).encode(), query, x_twilio_signature="RSOYDt4T1cUTdK1PDd93/VVr8B8=")
    assert kinds(made.receipts(request)) == [("delivered", "CA1234567890ABCDE", False)]
    forged = post(urlencode({**fields, "Digits": "1235"}).encode(), query, x_twilio_signature="RSOYDt4T1cUTdK1PDd93/VVr8B8=")
    with pytest.raises(GatewayError, match="without its proof"):
        made.receipts(forged)
