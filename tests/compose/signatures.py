"""Verify signatures as a receiver does: by dkimpy, with public keys that stand in a DNS of the test's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email import message_from_bytes
from functools import cache

import dkim

from winback.compose.dkim_keys import SigningKey, make_key


@cache
def rsa_key() -> SigningKey:
    """Return a key that all tests share: a new one takes a while."""
    return make_key("shop.example", "winback1", "rsa")


@cache
def ed25519_key() -> SigningKey:
    return make_key("shop.example", "winback2", "ed25519")


def verdicts(content: bytes, keys: Iterable[SigningKey]) -> list[bool]:
    """Return for each signature of a message, from the top, whether it is valid."""
    published = {f"{key.name}.".encode(): key.record.encode() for key in keys}
    count = len(message_from_bytes(content).get_all("DKIM-Signature", []))
    return [_verdict(content, place, published) for place in range(count)]


def _verdict(content: bytes, place: int, published: dict[bytes, bytes]) -> bool:
    try:
        return bool(dkim.DKIM(content).verify(place, dnsfunc=lambda name, timeout=5: published.get(name)))
    except dkim.DKIMException:
        return False


def tags(content: bytes, place: int = 0) -> dict[str, str]:
    """Return the tags of a signature, without white space."""
    field = message_from_bytes(content).get_all("DKIM-Signature", [])[place]
    pairs = (tag.partition("=") for tag in re.sub(r"\s", "", field).split(";"))
    return {name: value for name, _, value in pairs}
