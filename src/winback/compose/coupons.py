"""Coupon codes: readable aloud, not to be guessed, and the same every time they are asked for."""

from __future__ import annotations

from hashlib import blake2b

#: One of each pair that is mixed up on the phone or on paper, or none: no 0 O, 1 I L, 2 Z, 5 S, 8 B, U.
_ALPHABET = "ACDEFGHJKMNPQRTWXY34679V"
_GROUPS, _GROUP = 2, 6


def coupon_code(key: bytes, pool: str, message_id: str) -> str:
    """Return the code of one message, such as `WAKE10-7KQ3PX-9DMRAC`.

    Keyed BLAKE2b of pool and message (RFC 7693): who knows some codes learns nothing about others, and a message composed
    again carries the same one. Twelve signs hold 55 bits: among a million codes, two are alike once in 70 000 pools.
    """
    digest = blake2b(f"{pool}\0{message_id}".encode(), key=key, person=b"coupon").digest()
    number = int.from_bytes(digest, "big")
    signs = []
    for _ in range(_GROUPS * _GROUP):
        number, remainder = divmod(number, len(_ALPHABET))
        signs.append(_ALPHABET[remainder])
    groups = ("".join(signs[start : start + _GROUP]) for start in range(0, len(signs), _GROUP))
    return "-".join((pool, *groups))
