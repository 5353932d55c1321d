"""Every built-in gateway passes the suite that winback ships for gateways."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.http import Answer, HttpServer, Recorded, http_server
from winback.gateways.base import Gateway, ReceiptRequest
from winback.gateways.console import ConsoleGateway, ConsoleOptions
from winback.gateways.contract import Arrived, GatewayContract, text_of_letter
from winback.gateways.http_sms import HttpSmsGateway, HttpSmsOptions
from winback.gateways.outbox import OutboxGateway, OutboxOptions, read_outbox
from winback.secrets import Secret


class TestOutbox(GatewayContract):
    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Gateway:
        self.folder = tmp_path / "outbox"
        return OutboxGateway(OutboxOptions(folder=Path("outbox")), name="outbox", root=tmp_path)

    def arrived(self, gateway: Gateway) -> list[Arrived]:
        found = []
        for message in read_outbox(self.folder):
            text = text_of_letter(message.eml.read_bytes()) if message.eml else message.text
            found.append(Arrived(message.recipient, text, message.message_id))
        return found

    def break_line(self, gateway: Gateway) -> None:
        self.aside = self.folder.with_name("aside")
        if self.folder.exists():
            self.folder.rename(self.aside)
        self.folder.write_text("a file where the folder should be")

    def mend_line(self, gateway: Gateway) -> None:
        self.folder.unlink()
        if self.aside.exists():
            self.aside.rename(self.folder)


class _Terminal(io.StringIO):
    """A terminal whose window can be closed."""

    gone = False

    def write(self, text: str, /) -> int:
        if self.gone:
            raise BrokenPipeError("Broken pipe")
        return super().write(text)


class TestConsole(GatewayContract):
    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Gateway:
        self.terminal = _Terminal()
        return ConsoleGateway(ConsoleOptions(), name="console", root=tmp_path, stream=self.terminal)

    def arrived(self, gateway: Gateway) -> list[Arrived]:
        printed = re.findall(
            r"^(?:E-mail|SMS) to (\S+).*\n(?:  From: .*\n  Subject: .*\n)?  Id: +(\S+)\n\n  (.*)\n",
            self.terminal.getvalue(),
            re.M,
        )
        return [Arrived(recipient, text, identity) for recipient, identity, text in printed]

    def break_line(self, gateway: Gateway) -> None:
        self.terminal.gone = True

    def mend_line(self, gateway: Gateway) -> None:
        self.terminal.gone = False


class TestHttpSms(GatewayContract):
    secrets = ("sesame-open-up", "hook/key+with=signs")

    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Iterator[Gateway]:
        self.refused: set[str] = set()
        self.lost = False
        with http_server() as self.server:
            self.server.rule = self._serve
            yield HttpSmsGateway(HttpSmsOptions.model_validate(provider(self.server)), name="sms", root=tmp_path)

    def _serve(self, request: Recorded) -> Answer:
        """Be a provider that repeats the caller's key in its errors."""
        if request.method == "GET":
            known = [each.id for each in self.taken() if each.id == request.query["reference"]]
            return Answer(body=json.dumps({"messages": [{"id": f"p-{name}"} for name in known]}))
        message = json.loads(request.body)
        if message["to"] in self.refused:
            body = {"error": "no_such_number", "message": f"not for {request.headers['authorization']}"}
            return Answer(400, json.dumps(body))
        if self.lost:
            return Answer(close=True)
        return Answer(201, json.dumps({"id": f"p-{message['ref']}"}))

    def taken(self) -> list[_Taken]:
        return [_Taken(request) for request in self.server.requests if request.method == "POST"]

    def arrived(self, gateway: Gateway) -> list[Arrived]:
        return [Arrived(each.to, each.text, each.key) for each in self.taken() if each.to not in self.refused]

    def refuse(self, gateway: Gateway, recipient: str) -> None:
        self.refused.add(recipient)

    def break_line(self, gateway: Gateway) -> None:
        self.server.stop()

    def mend_line(self, gateway: Gateway) -> None:
        self.server.start()

    def lose_answers(self, gateway: Gateway) -> None:
        self.lost = True

    def receipt(self, gateway: Gateway, provider_id: str) -> ReceiptRequest:
        body = json.dumps({"id": provider_id, "status": "DELIVRD"}).encode()
        signature = hmac.new(self.secrets[1].encode(), body, hashlib.sha256).hexdigest()
        return ReceiptRequest("POST", {"x-signature": signature}, {}, body)


class _Taken:
    """A message as the HTTP provider got it."""

    def __init__(self, request: Recorded) -> None:
        message: dict[str, Any] = json.loads(request.body)
        self.to: str = message["to"]
        self.text: str = message["text"]
        self.id: str = message["ref"]
        self.key = request.headers["idempotency-key"]


def provider(server: HttpServer) -> dict[str, Any]:
    """Return the options for a provider with everything that can be set up."""
    return {
        "url": f"{server.url}/messages",
        "bearer": Secret(TestHttpSms.secrets[0]),
        "headers": {"X-Key": Secret(TestHttpSms.secrets[0])},
        "query": {"key": Secret(TestHttpSms.secrets[0])},
        "json": {"to": "{recipient}", "text": "{text}", "ref": "{message_id}", "keys": [Secret(TestHttpSms.secrets[0])]},
        "idempotency_header": "Idempotency-Key",
        "answer": {"id": "id", "error": "error", "reason": "message", "errors": {"no_such_number": "hard"}},
        "lookup": {"url": f"{server.url}/messages", "query": {"reference": "{message_id}"}, "id": "messages.0.id"},
        "receipts": {
            "signature": {"header": "X-Signature", "secret": Secret(TestHttpSms.secrets[1])},
            "id": "id",
            "status": "status",
            "statuses": {"DELIVRD": "delivered"},
        },
    }
