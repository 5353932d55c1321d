"""The GSM 7-bit alphabet: whether a text message fits into it, how many parts the text takes, and which character made it dear.

A text whose every character is in the alphabet (3GPP TS 23.038, section 6.2.1) holds 160 septets in one part, or 153 in each of
several; any other goes as UCS-2: 70 UTF-16 units, or 67. No character is split between two parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: Reached through an escape, so each takes two septets (3GPP TS 23.038, section 6.2.1.1).
EXTENSION = frozenset("\f^{}\\[~]|€")

_SEPTETS = dict.fromkeys(BASIC, 1) | dict.fromkeys(EXTENSION, 2)


@dataclass(frozen=True, slots=True)
class SmsSegments:
    """What a text costs: `count` parts; `characters` are the units used, septets of GSM-7 or UTF-16 units of UCS-2.

    `offending` is the first character outside the GSM alphabet, the reason for UCS-2.
    """

    encoding: Literal["GSM-7", "UCS-2"]
    count: int
    characters: int
    offending: str | None


def count_segments(text: str) -> SmsSegments:
    """Return encoding, parts and units of a text message; an empty text has no parts."""
    offending = next((character for character in text if character not in _SEPTETS), None)
    sizes = [_size(character, ucs2=offending is not None) for character in text]
    whole, part = (160, 153) if offending is None else (70, 67)
    used = sum(sizes)
    count = min(used, 1) if used <= whole else _parts(sizes, part)
    return SmsSegments("GSM-7" if offending is None else "UCS-2", count, used, offending)


def _size(character: str, *, ucs2: bool) -> int:
    if ucs2:
        return 2 if ord(character) > 0xFFFF else 1
    return _SEPTETS[character]


def _parts(sizes: list[int], room: int) -> int:
    """Count parts of `room` units, a character that does not fit beginning the next one."""
    count, used = 1, 0
    for size in sizes:
        if used + size > room:
            count, used = count + 1, 0
        used += size
    return count
