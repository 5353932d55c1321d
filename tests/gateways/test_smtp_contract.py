"""The gateway smtp passes the suite that winback ships for gateways, against a real server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.servers import smtp
from winback.gateways.base import Gateway
from winback.gateways.contract import Arrived, GatewayContract, text_of_letter
from winback.gateways.smtp import SmtpGateway, SmtpOptions
from winback.secrets import Secret


class TestSmtp(GatewayContract):
    secrets = ("sesame-open-up",)

    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Iterator[Gateway]:
        self.refused: dict[str, str] = {}
        self.down = False
        self.lost = False
        with smtp.smtp_server(refuse=self.refused, users={"shop": self.secrets[0]}, script=self._script) as self.server:
            table = {"host": self.server.host, "port": self.server.port, "tls": "none"}
            options = SmtpOptions.model_validate({**table, "username": "shop", "password": Secret(self.secrets[0])})
            yield SmtpGateway(options, name="relay", root=tmp_path)
            assert self.server.violations == []

    def _script(self, event: smtp.Event) -> smtp.Answer:
        if self.down:
            return smtp.Bye("421 4.3.2 System not accepting network messages")
        if self.lost and event.verb == "END":
            return smtp.Close(keep=True)
        return None

    def arrived(self, gateway: Gateway) -> list[Arrived]:
        return [
            Arrived(letter.recipient, text_of_letter(letter.content), message_from_bytes(letter.content)["Message-ID"])
            for letter in self.server.messages
        ]

    def refuse(self, gateway: Gateway, recipient: str) -> None:
        self.refused[recipient] = "550 5.1.1 No such user here"

    def break_line(self, gateway: Gateway) -> None:
        self.down = True
        self.server.close_connections()

    def mend_line(self, gateway: Gateway) -> None:
        self.down = False

    def lose_answers(self, gateway: Gateway) -> None:
        self.lost = True
