"""Outlines: a letter with its styles inlined and its links found, in which only values and signed addresses are missing.

Templates are rendered with marks in place of values (`recording`). Letters that differ in nothing but values have one outline:
it goes the whole way of a letter once, and each of the letters is put together from its pieces. Where a value could change more
than its own place, there is no outline (`CannotOutline`), and the letter goes the whole way itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape as html_escape
from itertools import pairwise

from markupsafe import escape

from winback.compose import html as html_part
from winback.compose import links, mime
from winback.compose.links import Tagging
from winback.compose.message import LinkTarget
from winback.compose.recording import MARK, MARKING
from winback.compose.text import text_from_html

#: What the outline of a page or text is cut at: marks, links by their number, the preview line and the picture's address.
_CUT = re.compile("(?:\ue000|https://\ue002)([TAC])(\\d+)[\ue001\ue003]|https://\ue004(\\d+)\ue005|(\ue006)|(\ue007)")
_PREVIEW, _PICTURE = "\ue006", "\ue007"

_NO_MARKUP = "script|style|textarea|xmp|iframe|noembed|noframes|noscript|plaintext|template|select|svg|math"
_TOKEN = re.compile(
    rf"""<!--.*?-->|<(?P<raw>{_NO_MARKUP})\b.*?</(?P=raw)\s*>|<[/!?a-z](?:[^<>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE | re.DOTALL
)
#: Attributes that are nothing but text to whatever reads a page: no style depends on them. What mail and telephone links lead to
#: is not: the text part is written differently when it is the link's own words.
_FREE = re.compile(r"""\s(?:src|alt|href(?=\s*=\s*["']\s*https?:))\s*=\s*(?:"[^"]*"|'[^']*')""", re.IGNORECASE)
_SELECTS_ATTRIBUTES = re.compile(r"\[\s*(?:href|src|alt)\b|:(?:empty|has)\b", re.IGNORECASE)

_LED_BY_VALUE = re.compile("\\shref\\s*=\\s*(?:\"[^\"]*|'[^']*)[\ue000\ue002]", re.IGNORECASE)

#: Targets of links that are remembered.
_REMEMBERED = 20_000


class CannotOutline(Exception):  # noqa: N818 - a way that is not open, and no error
    """This letter must go the whole way."""


@dataclass(frozen=True)
class Given:
    """What a letter's pieces are filled with beside its values, and an address that it must not lack."""

    preheader: str
    picture: str
    must_hold: str = ""


Signed = Callable[[Sequence[LinkTarget]], Mapping[str, str]]

#: What comes in between the pieces.
_TEXT, _ATTRIBUTE, _COMMENT, _LINK, _PREHEADER, _PHOTO = range(6)
_KINDS = {"T": _TEXT, "A": _ATTRIBUTE, "C": _COMMENT}

#: What is written differently in some places of a letter.
_SPECIAL = re.compile("[&\"'\xa0\u202f]")


class _Part:
    """A page or a text: literal pieces, and in between what is different in each letter, by its kind and number."""

    def __init__(self, outline: str, kind: str) -> None:
        self.slots: list[tuple[int, int]] = []
        self._pieces: list[str] = []
        end = 0
        for found in _CUT.finditer(outline):
            self._pieces += (outline[end : found.start()], "")
            end = found.end()
            value_kind, value, link, preview, _ = found.groups()
            if value_kind:
                self.slots.append((_KINDS[value_kind], int(value)))
            elif link:
                self.slots.append((_LINK, int(link)))
            else:
                self.slots.append((_PREHEADER if preview else _PHOTO, 0))
        self._pieces.append(outline[end:])
        self._encoded = mime.encoded_pieces(kind, self._pieces) or []

    @property
    def is_encoded(self) -> bool:
        """Say whether the part can be put together as it goes over the wire."""
        return bool(self._encoded)

    def joined(self, filling: list[str]) -> str:
        """Return the part as text."""
        pieces = self._pieces.copy()
        pieces[1::2] = filling
        return "".join(pieces)

    def encoded(self, filling: list[str], known: Mapping[str, bytes]) -> bytes:
        """Return the part as it goes over the wire, with its headers; `known` are texts in it that are encoded already."""
        pieces = self._encoded.copy()
        pieces[1::2] = [known.get(text) or mime.encoded_value(text) for text in filling]
        return b"".join(pieces)


class _Written:
    """A text with marks, such as an address: its pieces, to be joined with the values as they are."""

    __slots__ = ("_numbers", "_pieces", "fixed", "only")

    def __init__(self, text: str) -> None:
        cut = MARK.split(text)  # literal, kind, number, literal …
        self._pieces = [*cut[::3]]
        self._numbers = [int(number) for number in cut[2::3]]
        self.fixed = None if self._numbers else text
        #: The value that is all there is of it.
        self.only = self._numbers[0] if self._numbers and self._pieces == ["", ""] else None

    def joined(self, values: Sequence[str]) -> str:
        if self.only is not None:
            return values[self.only]
        if self.fixed is not None:
            return self.fixed
        joined = [self._pieces[0]]
        for number, piece in zip(self._numbers, self._pieces[1:], strict=True):
            joined += (values[number], piece)
        return "".join(joined)


@dataclass(frozen=True)
class _Link:
    """A link whose target is counted, or is not the same in every letter."""

    address: _Written
    label: _Written | None
    named: bool
    in_text: bool
    target: LinkTarget | None = None  # when it is always the same one


class Outline:
    """The letters of one shape, prepared."""

    def __init__(self, page: str, written: str | None, tagging: Tagging, *, preheader: bool, picture: bool) -> None:
        """Prepare from a page and perhaps a text with marks; raise CannotOutline, and RenderError for what is wrong with them."""
        self._tagging = tagging
        self._ours = f"{tagging.public_url}/"
        self._links: list[_Link] = []
        self._known: dict[tuple[int, str, str | None], tuple[LinkTarget | None, str, str]] = {}
        inlined = html_part.inline_styles(page)
        if Counter(MARK.findall(inlined)) != Counter(MARK.findall(page)):
            raise CannotOutline
        inlined = links.rewrite_tags(inlined, self._found)
        if _LED_BY_VALUE.search(inlined):
            raise CannotOutline  # a link that is left alone: what the text part says of it depends on where it leads
        text = text_from_html(inlined) if written is None else links.rewrite_words(written, self._found_in_text)
        if not text:
            raise CannotOutline
        # Targets that are the same in every letter; their addresses by the links' numbers, empty for the others.
        self._fixed: dict[str, LinkTarget] = {}
        self._first: dict[str, int] = {}
        for number, link in enumerate(self._links):
            if link.target is not None:
                self._fixed.setdefault(link.target.url, link.target)
                self._first.setdefault(link.target.url, number)
        self._urls = [link.target.url if link.target is not None else "" for link in self._links]
        self._varying = [(number, link) for number, link in enumerate(self._links) if link.target is None]
        self._has_markup = "&" in tagging.public_url
        whole = html_part.with_preheader(inlined, _PREVIEW if preheader else "")
        whole = html_part.with_pixel(whole, _PICTURE) if picture else whole
        self._page, self._text = _Part(whole, "text/html"), _Part(text, "text/plain")
        self._derived = written is None

    def filled(self, values: Sequence[str], given: Given, signed: Signed) -> tuple[str, str]:
        """Return page and text of one letter; raise CannotOutline when one of its values does not fit in."""
        page, text = self._fillings(values, given, signed)
        return self._page.joined(page), self._text.joined(text)

    def encoded(self, values: Sequence[str], given: Given, signed: Signed) -> tuple[bytes, bytes]:
        """Return page and text of one letter as they go over the wire; raise CannotOutline as well where they cannot be."""
        wanted = given.must_hold
        if not (self._page.is_encoded and self._text.is_encoded):
            raise CannotOutline
        if wanted and not (self._holds(self._page, values, wanted) and self._holds(self._text, values, wanted)):
            raise CannotOutline
        known: dict[str, bytes] = {}

        def encoded(targets: Sequence[LinkTarget]) -> Mapping[str, str]:
            addresses = signed(targets)
            known.update(zip(addresses.values(), mime.encoded_lines([*addresses.values()]), strict=True))
            return addresses

        page, text = self._fillings(values, given, encoded)
        return self._page.encoded(page, known), self._text.encoded(text, known)

    def _fillings(self, values: Sequence[str], given: Given, signed: Signed) -> tuple[list[str], list[str]]:
        targets, urls, tails = self._fixed.copy(), self._urls.copy(), {}
        has_markup = self._has_markup
        for number, link in self._varying:
            target, urls[number], tails[number] = self._led(number, link, values)
            if target is None:
                has_markup = has_markup or "&" in urls[number]
                continue
            other = targets.setdefault(target.url, target)
            if other is not target and other != target and self._first.get(target.url, 0) > number:
                raise CannotOutline  # a page with two names: the first one in the letter counts, which is not the fixed one
        # Everything that can go wrong has: `signed` may be asked once for each letter only.
        addresses = signed(list(targets.values())) if targets else {}
        in_text = in_page = list(map(addresses.get, urls, urls))
        if has_markup:
            in_page = [links.escaped(address) for address in in_text]
        if any(tails.values()):
            in_text = [address + tails.get(number, "") for number, address in enumerate(in_text)]
        texts: Sequence[str] = values
        attributes: Sequence[str] = values
        comments: Sequence[str] = values
        words: Sequence[str] = values
        if _SPECIAL.search("\n".join(values)):
            texts = [_as_text(value) for value in values]
            attributes = [links.escaped(value) for value in values]
            comments = [str(escape(value)) for value in values]
            words = [_as_words(value) for value in values] if self._derived else values
        preheader, picture = html_part.escaped_preheader(given.preheader), html_escape(given.picture)
        on_page = (texts, attributes, comments, in_page, (preheader,), (picture,))
        in_words = (words, words, words, in_text)
        return (
            [on_page[kind][number] for kind, number in self._page.slots],
            [in_words[kind][number] for kind, number in self._text.slots],
        )

    def _holds(self, part: _Part, values: Sequence[str], wanted: str) -> bool:
        """Say whether a value that is an address is printed by itself somewhere in a part."""
        for kind, number in reversed(part.slots):  # mostly it stands at the end
            place = self._links[number].address.only if kind == _LINK else number if kind in (_TEXT, _ATTRIBUTE) else None
            if place is not None and values[place] == wanted:
                return True
        return False

    # Preparing

    def _found(self, url: str, label: str | None, named: bool) -> str | None:
        if not MARKING.search(url):
            links.refuse_broken(url)
            target = links.tagged(url, self._tagging, label if named else None)
            if target is None:
                return None
            if not links.is_counted(target, self._tagging):
                return target
            fixed = None if label and MARKING.search(label) else links.labelled(target, label)
            return self._keep(_Link(_Written(url), None if label is None else _Written(label), named, False, fixed))
        return self._keep(_Link(_Written(url), None if label is None else _Written(label), named, False))

    def _found_in_text(self, word: str) -> str | None:
        if MARKING.search(word):
            return self._keep(_Link(_Written(word), None, False, True))
        url, tail = links.without_sentence(word)
        links.refuse_template_code(url)
        target = links.tagged(url, self._tagging)
        if target is None:
            return None
        if not links.is_counted(target, self._tagging):
            return target + tail
        return self._keep(_Link(_Written(url), None, False, False, links.labelled(target, None))) + tail

    def _keep(self, link: _Link) -> str:
        self._links.append(link)
        return f"https://\ue004{len(self._links) - 1}\ue005"

    # Filling

    def _led(self, number: int, link: _Link, values: Sequence[str]) -> tuple[LinkTarget | None, str, str]:
        """Return a link's target in one letter if it is counted, its address, and what follows that in running text."""
        address = link.address.joined(values)
        label = None if link.label is None else link.label.joined(values)
        key = (number, address, label)
        known = self._known.get(key)
        return self._find_out(key, link) if known is None else known

    def _find_out(self, key: tuple[int, str, str | None], link: _Link) -> tuple[LinkTarget | None, str, str]:
        _, address, label = key
        tail = ""
        if link.in_text:
            if not links.IN_TEXT.fullmatch(address):
                raise CannotOutline
            address, tail = links.without_sentence(address)
        label = None if label is None else " ".join(label.split())
        if address.startswith(self._ours):
            if label == address:
                raise CannotOutline
            return None, address, tail  # the letter's own: not worth remembering
        target = self._counted(link, address, label)
        if target is None:
            raise CannotOutline
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = target, target.url, tail
        return self._known[key]

    def _counted(self, link: _Link, address: str, label: str | None) -> LinkTarget | None:
        links.refuse_broken(address)
        url = links.tagged(address, self._tagging, label if link.named else None)
        return None if url is None or not links.is_counted(url, self._tagging) else links.labelled(url, label)


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
        for token in _TOKEN.finditer(page):
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


def _as_text(value: str) -> str:
    """Return a value as an HTML serializer writes text."""
    return value.replace("&", "&amp;").replace("\xa0", "&nbsp;")


def _as_words(value: str) -> str:
    """Return a value as `text_from_html` writes it."""
    return value.replace("\xa0", " ").replace("\u202f", " ")
