"""docs/gateways.md names every option with its default, and its examples do what they say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from freezegun import freeze_time
from pydantic import BaseModel, TypeAdapter

from tests.gateways.providers import ID, send, sms
from tests.servers.http import Answer, HttpServer, Recorded, http_server
from winback.gateways.base import Accepted, Outcome, ReceiptEvent, ReceiptRequest, Refused, Retry, Unknown
from winback.gateways.console import ConsoleOptions
from winback.gateways.http_sms import HttpSmsGateway, HttpSmsOptions
from winback.gateways.http_sms.answer import STATUSES
from winback.gateways.http_sms.options import SIGNED, Coding, Lookup, Receipts, Signature
from winback.gateways.http_sms.options import Answer as AnswerOptions
from winback.gateways.http_sms.template import PLACEHOLDERS
from winback.gateways.outbox import OutboxOptions
from winback.gateways.registry import configure
from winback.gateways.smtp import SmtpOptions, SmtpTimeouts
from winback.project.gateways import GatewaySettings
from winback.project.problems import toml_value
from winback.project.schema import schema_of
from winback.secrets import bind

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gateways.md"
TEXT = PAGE.read_text(encoding="utf-8")

#: The section that lists the options of a table.
TABLES: list[tuple[str, type[BaseModel]]] = [
    ("`outbox`", OutboxOptions),
    ("`console`", ConsoleOptions),
    ("`smtp`", SmtpOptions),
    ("`[gateways.relay.timeouts]`", SmtpTimeouts),
    ("`http_sms`", HttpSmsOptions),
    ("`[gateways.sms.coding]`", Coding),
    ("`[gateways.sms.answer]`", AnswerOptions),
    ("`[gateways.sms.lookup]`", Lookup),
    ("`[gateways.sms.receipts]`", Receipts),
    ("`[gateways.sms.receipts.signature]`", Signature),
]

_ROW = re.compile(r"^\| `([^`|]+)` \|([^|]*)\|", re.MULTILINE)


def section(heading: str) -> str:
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"{PAGE.name} has no section {heading}"
    return found[2]


@pytest.mark.parametrize(("heading", "model"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_option_stands_in_its_section_with_its_default(heading: str, model: type[BaseModel]) -> None:
    rows = {key: default.strip() for key, default in _ROW.findall(section(heading))}
    schema = schema_of(TypeAdapter(model))
    assert set(rows) == set(schema["properties"])
    for key, option in schema["properties"].items():
        assert option.get("description"), key
        if key in schema.get("required", []):
            assert rows[key] == "required", key
        elif isinstance(option.get("default"), str | int | bool | list | Path):
            default = option["default"]
            assert rows[key] == f"`{toml_value(str(default) if isinstance(default, Path) else default)}`", key
        else:
            assert rows[key] in ("none", ""), key


def test_every_placeholder_is_explained() -> None:
    assert set(re.findall(r"^\| `\{(\w+)\}` \|", section("Placeholders"), re.MULTILINE)) == set(PLACEHOLDERS)
    [signed] = re.findall(r"^\| `signed` .*$", section("`[gateways.sms.receipts.signature]`"), re.MULTILINE)
    assert set(re.findall(r"\{(\w+)\}", signed)) == set(SIGNED)


def test_every_status_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", section("What an answer means"), re.MULTILINE)
    told = {status: word for word, statuses in rows for status in re.findall(r"\d(?:\d\d|xx)", statuses)}
    assert told == {status: word for status, word in STATUSES.items() if status != "1xx"} | {
        "400": "refused",
        "502": "unknown",
        "504": "unknown",
    }


# The examples


def example(heading: str) -> dict[str, Any]:
    """Return the only table of gateways in a section's example."""
    [text] = re.findall(r"^```toml\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL)
    [table] = tomllib.loads(text)["gateways"].values()
    return dict(table)


SECRETS = {
    "SMS_TOKEN": "token-1",
    "SMS_SIGNING_KEY": "signing-1",
    "SMS_HOOK_KEY": "hook-1",
    "TWILIO_AUTH_TOKEN": "twilio-1",
    "KANNEL_PASSWORD": "kannel-1",
    "SEVEN_API_KEY": "seven-1",
    "SEVEN_SIGNING_KEY": "seven-2",
    "SIPGATE_TOKEN": "sipgate-1",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with http_server() as running:
        yield running


def gateway(heading: str, server: HttpServer) -> HttpSmsGateway:
    """Return the gateway of an example, with our server in place of the provider's."""
    table = example(heading)
    for part in (table, table.get("lookup", {})):
        if "url" in part:
            parts = urlsplit(part["url"])
            part["url"] = part["url"].replace(f"{parts.scheme}://{parts.netloc}", server.url)
    made = configure("sms", bind(table, root=Path()), root=Path())
    assert isinstance(made, HttpSmsGateway)
    return made


def sent(heading: str, server: HttpServer, answer: Answer, text: str = "Grüße & 😀") -> tuple[Recorded, Outcome]:
    server.answer(answer)
    server.requests.clear()
    [outcome] = send(gateway(heading, server), sms(text))
    [request] = server.requests
    return request, outcome


def test_every_example_of_a_gateway_can_be_set_up() -> None:
    count = 0
    for text in re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        for name, table in bind(tomllib.loads(text), root=Path()).get("gateways", {}).items():
            configure(name, GatewaySettings.model_validate(table).table, root=Path())
            count += 1
    assert count >= 7


def test_the_json_provider(server: HttpServer) -> None:
    heading = "A provider with a JSON interface"
    request, outcome = sent(heading, server, Answer(201, '{"id": "m-1"}'))
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.headers["idempotency-key"] == ID
    assert json.loads(request.body) == {"from": "HalfNote", "to": "+4915123456789", "text": "Grüße & 😀", "reference": ID}
    assert isinstance(outcome, Accepted)
    assert outcome.provider_id == "m-1"
    for code, status, kind in (("invalid_recipient", 422, Refused), ("insufficient_credit", 402, Retry)):
        _, outcome = sent(heading, server, Answer(status, json.dumps({"error": {"code": code, "message": "no"}})))
        assert isinstance(outcome, kind)
        assert outcome.reason.endswith(f"code {code}: no")
    body = b'{"message": {"id": "m-1", "status": "unknown_number"}}'
    with freeze_time("2026-11-24 10:00:00"):
        at = str(int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp()))
        signature = hmac.new(b"signing-1", f"{at}.".encode() + body, "sha256").hexdigest()
        headers = {"x-signature": signature, "x-timestamp": at}
        [event] = gateway(heading, server).receipts(ReceiptRequest("POST", headers, {}, body))
    assert (event.kind, event.provider_id, event.hard_bounce) == ("bounced", "m-1", True)


def test_twilio(server: HttpServer) -> None:
    request, outcome = sent("Twilio", server, Answer(201, '{"sid": "SM1", "status": "queued", "error_code": null}'))
    account = "AC" + "x" * 32
    assert request.path == f"/2010-04-01/Accounts/{account}/Messages.json"
    assert request.headers["authorization"] == f"Basic {base64.b64encode(f'{account}:twilio-1'.encode()).decode()}"
    assert request.form["To"] == "+4915123456789"
    assert request.form["Body"] == "Grüße & 😀"
    assert isinstance(outcome, Accepted)
    assert outcome.provider_id == "SM1"
    for code, status, expected in ((21211, 400, (Refused, True)), (21610, 400, (Refused, False)), (20003, 401, (Retry, None))):
        _, outcome = sent("Twilio", server, Answer(status, json.dumps({"code": code, "message": "no", "status": status})))
        assert (type(outcome), getattr(outcome, "hard_bounce", None)) == expected
    report = {"MessageSid": "SM1", "MessageStatus": "undelivered", "To": "+4915123456789", "ErrorCode": "30003"}
    answer = {"MessageSid": "SM2", "SmsStatus": "received", "From": "+4915123456789", "Body": "STOP"}
    assert [(event.kind, event.provider_id) for event in twilio_call(server, report)] == [("bounced", "SM1")]
    assert [(event.kind, event.recipient, event.text) for event in twilio_call(server, answer)] == [
        ("replied", "+4915123456789", "STOP")
    ]


def twilio_call(server: HttpServer, fields: dict[str, str]) -> list[ReceiptEvent]:
    text = "https://mail.halfnote.example/hooks/sms" + "".join(f"{key}{fields[key]}" for key in sorted(fields))
    signature = base64.b64encode(hmac.new(b"twilio-1", text.encode(), "sha1").digest()).decode()
    request = ReceiptRequest("POST", {"x-twilio-signature": signature}, {}, urlencode(fields).encode())
    return list(gateway("Twilio", server).receipts(request))


@pytest.mark.parametrize(("text", "coding"), [("Grüße", "0"), ("Grüße an Noël", "2")])
def test_kannel(server: HttpServer, text: str, coding: str) -> None:
    request, outcome = sent("Kannel", server, Answer(202, "0: Accepted for delivery"), text)
    assert (request.method, request.path) == ("GET", "/cgi-bin/sendsms")
    callback = request.query.pop("dlr-url")
    assert request.query == {
        "username": "winback",
        "password": "kannel-1",
        "from": "HalfNote",
        "to": "+4915123456789",
        "text": text,
        "charset": "UTF-8",
        "coding": coding,
        "dlr-mask": "19",
    }
    assert outcome == Accepted(ID, "202 0: Accepted for delivery")
    # Kannel fills in %d and calls the address.
    query = dict(parse_qsl(urlsplit(callback.replace("%d", "1")).query))
    [event] = gateway("Kannel", server).receipts(ReceiptRequest("GET", {}, query, b""))
    assert (event.kind, event.provider_id) == ("delivered", ID)
    assert gateway("Kannel", server).receipts(ReceiptRequest("GET", {}, {**query, "status": "8"}, b"")) == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (202, "3: Queued for later delivery", Accepted),
        (403, "Not routable. Do not try again.", Refused),
        (403, "Authorization failed for sendsms", Retry),
        (503, "Temporal failure, try again later.", Retry),
        (400, "Missing receiver number, rejected", Refused),
    ],
)
def test_kannels_answers(server: HttpServer, status: int, body: str, kind: type[Outcome]) -> None:
    assert isinstance(sent("Kannel", server, Answer(status, body))[1], kind)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"success": "100", "messages": [{"id": "77", "error": None, "error_text": None, "success": True}]}, Accepted("77")),
        (
            200,
            {"success": "202", "messages": [{"id": None, "error": "202", "error_text": "invalid", "success": False}]},
            Refused("", True),
        ),
        (200, 900, Retry("", whole_gateway=True)),
        (200, "500", Retry("", whole_gateway=True)),
        (200, {"success": "305"}, Refused("")),
        (200, {"balance": 1}, Unknown("")),
    ],
)
def test_seven(server: HttpServer, status: int, body: Any, expected: Outcome) -> None:
    request, outcome = sent("seven.io", server, Answer(status, json.dumps(body)))
    assert request.headers["x-api-key"] == "seven-1"
    assert request.form == {"from": "HalfNote", "to": "+4915123456789", "text": "Grüße & 😀", "foreign_id": ID}
    assert type(outcome) is type(expected)
    for field in ("provider_id", "hard_bounce", "whole_gateway"):
        assert getattr(outcome, field, None) == getattr(expected, field, None)


def test_sevens_reports(server: HttpServer) -> None:
    body = json.dumps(
        {"webhook_event": "dlr", "data": {"msg_id": "77", "status": "DELIVERED", "timestamp": "2026-11-24 10:00:00"}}
    ).encode()
    at = str(int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp()))
    text = "\n".join([at, "n-1", "POST", "https://mail.halfnote.example/hooks/sms", hashlib.md5(body).hexdigest()])
    headers = {"x-timestamp": at, "x-nonce": "n-1", "x-signature": hmac.new(b"seven-2", text.encode(), "sha256").hexdigest()}
    with freeze_time("2026-11-24 10:00:30"):
        [event] = gateway("seven.io", server).receipts(ReceiptRequest("POST", headers, {}, body))
    assert (event.kind, event.provider_id) == ("delivered", "77")


def test_sipgate(server: HttpServer) -> None:
    request, outcome = sent("sipgate", server, Answer(204))
    assert request.path == "/v2/sessions/sms"
    assert request.headers["authorization"].startswith("Basic ")
    assert json.loads(request.body) == {"smsId": "s0", "recipient": "+4915123456789", "message": "Grüße & 😀"}
    assert outcome == Accepted(ID, "204")
    for status, kind in ((400, Refused), (401, Retry), (402, Retry), (403, Retry), (500, Retry)):
        assert isinstance(sent("sipgate", server, Answer(status))[1], kind)


def test_the_plugin_on_the_page_passes_the_suite(tmp_path: Path) -> None:
    gateway, suite = re.findall(r"^```python\n(.*?)^```", section("Write your own"), re.MULTILINE | re.DOTALL)
    (tmp_path / "winback_pigeon.py").write_text(gateway)
    (tmp_path / "test_pigeon.py").write_text(f"import pytest\nfrom winback_pigeon import PigeonGateway, PigeonOptions\n{suite}")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
