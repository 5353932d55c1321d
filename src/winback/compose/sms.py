"""Text messages as they are sent: white space folded, and whether they say how to end them; `winback.gsm` counts the parts."""

from __future__ import annotations

import re

from winback.gsm import SmsSegments, count_segments

__all__ = ["SmsSegments", "count_segments", "folded", "names_stop"]

_PARAGRAPH = re.compile(r"\s*\n\s*\n\s*")
_STOP = re.compile(r"\bSTOP\b")


def folded(text: str) -> str:
    """Return a text as it is sent: an empty line of the template begins a new line, any other white space is one space."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in _PARAGRAPH.split(text.strip()))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)


def names_stop(text: str) -> bool:
    """Say whether a text tells people the word that ends it, as in "Reply STOP to opt out"."""
    return _STOP.search(text) is not None
