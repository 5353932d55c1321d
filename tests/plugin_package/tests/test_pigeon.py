"""The pigeons pass the suite that winback ships for gateways."""

import json
from pathlib import Path

import pytest
from winback_pigeon import PigeonGateway, PigeonOptions

from winback.gateways.base import Gateway
from winback.gateways.contract import Arrived, GatewayContract


class TestPigeon(GatewayContract):
    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Gateway:
        self.loft = tmp_path / "loft"
        self.loft.mkdir()
        return PigeonGateway(PigeonOptions(loft=Path("loft"), afraid_of="666"), name="pigeons", root=tmp_path)

    def arrived(self, gateway: Gateway) -> list[Arrived]:
        notes = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in self.loft.glob("*.note")}
        return [Arrived(note["to"], note["text"], name) for name, note in notes.items()]

    def break_line(self, gateway: Gateway) -> None:
        self.loft.rename(self.loft.with_name("gone"))

    def mend_line(self, gateway: Gateway) -> None:
        self.loft.with_name("gone").rename(self.loft)
