"""The shape of a rendered letter: what stands where its values stand, and which of them anything else may depend on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import escape

from winback.compose.recording import MARK, MARKING

if TYPE_CHECKING:
    from winback.compose.outline import Outline

_NO_MARKUP = "script|style|textarea|xmp|iframe|noembed|noframes|noscript|plaintext|template|select|svg|math"
_MARKUP = re.compile(
    rf"""<!--.*?-->|<(?P<raw>{_NO_MARKUP})\b.*?</(?P=raw)\s*>|<[/!?a-z](?:[^<>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE | re.DOTALL
)
#: Attributes that are nothing but text to whatever reads a page: no style depends on them. What mail and telephone links lead to
#: is not: the text part is written differently when it is the link's own words.
_FREE = re.compile(r"""\s(?:src|alt|href(?=\s*=\s*["']\s*https?:))\s*=\s*(?:"[^"]*"|'[^']*')""", re.IGNORECASE)
_SELECTS_ATTRIBUTES = re.compile(r"\[\s*(?:href|src|alt)\b|:(?:empty|has)\b", re.IGNORECASE)


class CannotOutline(Exception):  # noqa: N818 - a way that is not open, and no error
    """This letter must go the whole way."""


@dataclass
class Shape:
    """A page with marks, where values stand that styles or structure may depend on: each set of those has its own outline."""

    page: str
    pinned: tuple[int, ...]
    outlines: dict[tuple[str, ...], Outline | None] = field(default_factory=dict)

    @classmethod
    def of(cls, page: str) -> Shape:
        """Find out where a page's values stand; raise CannotOutline where that matters too much."""
        pinned: list[int] = []
        pieces: list[str] = []
        end = 0
        for token in _MARKUP.finditer(page):
            pieces.append(_marked(page[end : token.start()], "T"))
            end, whole = token.end(), token[0]
            if whole.startswith("<!--"):
                pieces.append(_marked(whole, "C"))
                continue
            if token["raw"]:
                if token["raw"].lower() == "style" and _SELECTS_ATTRIBUTES.search(whole):
                    raise CannotOutline
                pieces.append(whole)
                pinned += _numbers(whole)
                continue
            free = _FREE.sub(lambda found: _marked(found[0], "A"), whole)
            pieces.append(free)
            pinned += _numbers(free)
        pieces.append(_marked(page[end:], "T"))
        return cls(_whole("".join(pieces)), tuple(pinned))

    def with_pinned(self, values: Sequence[str]) -> str:
        """Return the page with the values that matter to it."""
        return MARK.sub(lambda mark: mark[0] if mark[1] else str(escape(values[int(mark[2])])), self.page)


def marked_text(text: str) -> str:
    """Return a text part with its marks ready for an outline; raise CannotOutline where they are not whole."""
    return _whole(_marked(text, "T"))


def _whole(text: str) -> str:
    """Return a text; raise CannotOutline unless each mark stands there once at most, in order, and nothing looks like one."""
    numbers = [int(number) for _, number in MARK.findall(text)]
    if any(second <= first for first, second in pairwise(numbers)) or MARKING.search(MARK.sub("", text)):
        raise CannotOutline
    return text


def _marked(text: str, kind: str) -> str:
    return MARK.sub(lambda mark: f"{mark[0][: -len(mark[2]) - 1]}{kind}{mark[2]}{mark[0][-1]}", text)


def _numbers(text: str) -> list[int]:
    """Return the marks that have no kind yet."""
    return [int(number) for kind, number in MARK.findall(text) if not kind]
