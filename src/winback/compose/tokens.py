"""Short signed tokens for links: which message, and which of its links.

A token is URL-safe base64 without padding over ``uuid (16 bytes) + number (LEB128, 1 to 9 bytes) + MAC (10 bytes)``, mostly 36
characters. The MAC is keyed BLAKE2b (RFC 7693) with the kind as personalisation, so a token for clicks opens nothing else.

A letter has dozens of links, so theirs are made together: ``base64(uuid)``, 22 characters, and then 20 more, ``base64(number (5
bytes) + MAC (10 bytes))``. The MAC is AES-256 of the number XOR the uuid's keyed BLAKE2b: one hash for each letter, and one call
for all its links. Whatever has been signed in either way is good for ever.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from operator import add
from struct import Struct
from typing import Literal
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from winback.errors import TokenError

Kind = Literal["click", "open", "unsubscribe"]

_UUID_BYTES = 16
_MAC_BYTES = 10
_NUMBER_BYTES = 9
#: Numbers are database ids: 63 bits.
_LARGEST = 2**63 - 1

#: Links of a letter: bytes of a number, and which are too large for that; characters of the message, and of what follows.
_CLICK_BYTES = 5
_FEW = 2 ** (8 * _CLICK_BYTES)
_START, _END = 22, 20
_BLOCK_BYTES = 16
_CLICKS = b"clicks"
_REMEMBERED = 16_384

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SHAPE = re.compile(r"[A-Za-z0-9_-]{36,48}\Z")


@dataclass(frozen=True, slots=True)
class Token:
    """What a valid token says: the message, and the number it was signed with (a link's id, else 0)."""

    message_id: str
    number: int


def sign(key: bytes, kind: Kind, message_id: str, number: int = 0) -> str:
    """Return the token for one message and number; raise ValueError when either cannot be carried."""
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"a token carries numbers from 0 to {_LARGEST}, not {number}")
    body = _message_bytes(message_id) + _varint(number)
    return _text(body + _mac(key, kind, body))


class Clicks:
    """Signs the links of letters with one key. To be used by one thread at a time."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        own = blake2b(key=key, digest_size=32, person=_CLICKS).digest()
        # Block by block, for a function of each that only we can compute: nothing is hidden, and no block comes twice.
        self._encrypt = Cipher(algorithms.AES(own), modes.ECB()).encryptor().update  # noqa: S305

    def sign(self, message_id: str, numbers: Sequence[int]) -> list[str]:
        """Return the tokens of the links of one message, by their numbers, in their order."""
        if not numbers:
            return []
        if min(numbers) < 0 or max(numbers) >= _FEW:
            return [sign(self._key, "click", message_id, number) for number in numbers]
        message = _message_bytes(message_id)
        macs = self.macs(message, list(map(_BLOCKS.__getitem__, numbers)))
        signed = b"".join(map(add, map(_NUMBERS.__getitem__, numbers), macs))
        start, ends = _text(message), _text(signed)  # 15 bytes are 20 characters, whatever follows
        return [start + ends[end : end + _END] for end in range(0, len(ends), _END)]

    def macs(self, message: bytes, blocks: Sequence[bytes]) -> Sequence[bytes]:
        """Return the MACs of numbers, given as blocks, in one message."""
        own = blake2b(message, key=self._key, digest_size=_BLOCK_BYTES, person=_CLICKS).digest() * len(blocks)
        mixed = int.from_bytes(own, "big") ^ int.from_bytes(b"".join(blocks), "big")
        return _first_bytes(len(blocks))(self._encrypt(mixed.to_bytes(len(own), "big")))


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
        if kind == "click":
            return _read_click(key, token)
        raise _refused()
    number = _number(body[_UUID_BYTES:])
    # Base64 leaves unused bits in the last character: one message and number has one token only.
    if number is None or _text(raw) != token:
        raise _refused()
    return Token(str(UUID(bytes=body[:_UUID_BYTES])), number)


def _read_click(key: bytes, token: str) -> Token:
    if len(token) != _START + _END:
        raise _refused()
    message = base64.urlsafe_b64decode(f"{token[:_START]}==")
    signed = base64.urlsafe_b64decode(token[_START:])
    number = int.from_bytes(signed[:-_MAC_BYTES], "big")
    [mac] = Clicks(key).macs(message, [number.to_bytes(_BLOCK_BYTES, "big")])
    if not hmac.compare_digest(mac, signed[-_MAC_BYTES:]) or _text(message) != token[:_START]:
        raise _refused()
    return Token(str(UUID(bytes=message)), number)


@lru_cache(maxsize=1024)
def _first_bytes(count: int) -> Callable[[bytes], tuple[bytes, ...]]:
    return Struct(f"{_MAC_BYTES}s{_BLOCK_BYTES - _MAC_BYTES}x" * count).unpack


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


class _Written(dict[int, bytes]):
    """Numbers as bytes of one length: a campaign's links come again in each of its letters."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length

    def __missing__(self, number: int) -> bytes:
        if len(self) >= _REMEMBERED:
            self.clear()
        written = self[number] = number.to_bytes(self._length, "big")
        return written


_BLOCKS = _Written(_BLOCK_BYTES)
_NUMBERS = _Written(_CLICK_BYTES)


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
