"""Mails of tests/cases/bounces, made to be about a message of a test's own ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.rows import add_customer, add_message
from tests.track.shops import Shop
from winback.store import writing

CASES = Path(__file__).resolve().parents[2] / "cases" / "bounces"

#: What stands in the cases: the letter's id, the name that Amazon's relay gave it, a link's token, and whom it went to.
LETTER = "0b9d7c7e-2a41-5c3b-9d0f-3c6f6d2b7a51"
RELAYS = "0102018c0b7e6d5c-0b9d7c7e-2a41-4c3b-9d0f-3c6f6d2b7a51-000000"
TOKEN = "C519fipBXDudDzxvbSt6UQDdr5e2mM3PAbcd"
ADDRESS = "bob@example.com"


def mail(name: str, message_id: str = "", address: str = ADDRESS, *, token: str = "", date: datetime | None = None) -> bytes:
    """Return a case, about another letter to another address, with a link's token, written at another moment."""
    changes = {ADDRESS: address, **({LETTER: message_id} if message_id else {}), **({TOKEN: token} if token else {})}
    content = replaced((CASES / f"{name}.eml").read_text(encoding="utf-8", errors="surrogateescape"), changes)
    if date is not None:
        head, line, rest = content.partition("\nDate: ")
        content = f"{head}{line}{date:%a, %d %b %Y %H:%M:%S} +0000\n{rest.partition(chr(10))[2]}"
    return content.encode("utf-8", "surrogateescape")


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for before, after in changes.items():
        text = text.replace(before, after)
    return text


def person(shop: Shop, external_id: str = "C1", address: str = ADDRESS, **columns: Any) -> int:
    """Write a customer with an address; return the row's id."""
    with writing(shop.engine) as connection:
        return add_customer(
            connection, external_id, shop.now - timedelta(days=300), email=address, email_hash=shop.hash(address), **columns
        )


def sent(shop: Shop, customer: int, *, hours: float = 1, **columns: Any) -> str:
    """Write a letter that went so many hours ago; return its id."""
    with writing(shop.engine) as connection:
        row = {"gateway": "relay", **columns}
        return add_message(connection, customer, shop.now - timedelta(hours=hours), **row)
