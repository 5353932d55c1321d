"""Short signed tokens for links: which message, and which of its links.

A token is URL-safe base64 without padding over ``uuid (16 bytes) + number (LEB128, 1 to 9 bytes) + MAC (10 bytes)``, mostly 36
characters. The MAC is keyed BLAKE2b (RFC 7693) with the kind as personalisation, so a token for clicks opens nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal
from uuid import UUID

from winback.errors import TokenError

Kind = Literal["click", "open", "unsubscribe"]

_UUID_BYTES = 16
_MAC_BYTES = 10
_NUMBER_BYTES = 9
#: Numbers are database ids: 63 bits.
_LARGEST = 2**63 - 1
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SHAPE = re.compile(r"[A-Za-z0-9_-]{36,48}\Z")


@dataclass(frozen=True, slots=True)
class Token:
    """What a valid token says: the message, and the number it was signed with (a link's id, else 0)."""

    message_id: str
    number: int


def sign(key: bytes, kind: Kind, message_id: str, number: int = 0) -> str:
    """Return the token for one message and number; raise ValueError when either cannot be carried."""
    return sign_each(key, kind, message_id, [number])[0]


def sign_each(key: bytes, kind: Kind, message_id: str, numbers: Sequence[int]) -> list[str]:
    """Return the tokens of one message for several numbers, in their order; what they have in common is made once."""
    message = _message_bytes(message_id)
    begun = blake2b(message, key=key, digest_size=_MAC_BYTES, person=kind.encode("ascii"))
    tokens = []
    for number in numbers:
        if not 0 <= number <= _LARGEST:
            raise ValueError(f"a token carries numbers from 0 to {_LARGEST}, not {number}")
        rest = _varint(number)
        mac = begun.copy()
        mac.update(rest)
        tokens.append(binascii.b2a_base64(message + rest + mac.digest(), newline=False))
    return b",".join(tokens).translate(_URL_SAFE, b"=").decode("ascii").split(",") if tokens else []


def read(key: bytes, kind: Kind, token: str) -> Token:
    """Return what `token` says; raise TokenError for anything that `sign` did not make with this key and kind."""
    if not isinstance(token, str) or not _SHAPE.match(token):
        raise _refused()
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused() from None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, kind, body)):
        raise _refused()
    number = _number(body[_UUID_BYTES:])
    # Base64 leaves unused bits in the last character: one message and number has one token only.
    canonical = base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
    if number is None or canonical != token:
        raise _refused()
    return Token(str(UUID(bytes=body[:_UUID_BYTES])), number)


def _mac(key: bytes, kind: str, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=_MAC_BYTES, person=kind.encode("ascii")).digest()


@lru_cache(maxsize=256)
def _message_bytes(message_id: str) -> bytes:
    return UUID(message_id).bytes


@lru_cache(maxsize=16_384)
def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(0x80 | number & 0x7F)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _number(encoded: bytes) -> int | None:
    """Return the number in a complete, shortest LEB128 encoding, else nothing."""
    number = 0
    for position, byte in enumerate(encoded):
        number |= (byte & 0x7F) << (7 * position)
    complete = 0 < len(encoded) <= _NUMBER_BYTES and _varint(number) == encoded
    return number if complete else None


def _refused() -> TokenError:
    return TokenError("this link is not one of ours, or it was changed on its way")
