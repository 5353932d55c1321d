"""A gateway whose other side reports in JSON, for tests: every event as it comes, with a header as its proof."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from winback.errors import GatewayError
from winback.gateways.base import Channel, Gateway, Options, ReceiptEvent, ReceiptRequest, Sender

PROOF = {"x-proof": "it is me"}


class Reporter(Gateway):
    """Read a list of events; a list with `"bug"` in it is what a plugin did not expect."""

    type: ClassVar[str] = "reporter"
    channels: ClassVar[frozenset[Channel]] = frozenset({"email", "sms"})

    def __init__(self, name: str) -> None:
        super().__init__(Options(), name=name, root=Path())

    def connect(self) -> AbstractContextManager[Sender]:
        raise NotImplementedError

    def receipts(self, request: ReceiptRequest) -> Sequence[ReceiptEvent]:
        if request.headers.get("x-proof") != PROOF["x-proof"]:
            raise GatewayError(f"gateway {self.name}: a receipt came without its proof")
        return [_event(each) for each in json.loads(request.body)]


def _event(given: dict[str, Any]) -> ReceiptEvent:
    at = given.get("at")
    moment = None if at is None else datetime.fromisoformat(at)
    return ReceiptEvent(**{"provider_id": "", "raw": {"as": "it came"}, **given, "at": moment})
