"""Outlines: a letter with its styles inlined and its links found, in which only values and signed addresses are missing.

Templates are rendered with marks in place of values (`recording`). Letters that differ in nothing but values have one outline:
it goes the whole way of a letter once, and each of the letters is put together from its pieces. Where a value could change more
than its own place, there is no outline (`CannotOutline`), and the letter goes the whole way itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape as html_escape
from operator import itemgetter
from typing import AnyStr, Generic

from markupsafe import escape

from winback.compose import html as html_part
from winback.compose import links, mime
from winback.compose.links import Tagging
from winback.compose.message import LinkTarget
from winback.compose.recording import MARK, MARKING
from winback.compose.shape import CannotOutline
from winback.compose.text import text_from_html

#: What the outline of a page or text is cut at: marks, links by their number, the preview line and the picture's address.
_CUT = re.compile("(?:\ue000|https://\ue002)([TAC])(\\d+)[\ue001\ue003]|https://\ue004(\\d+)\ue005|(\ue006)|(\ue007)")
_PREVIEW, _PICTURE = "\ue006", "\ue007"

_LED_BY_VALUE = re.compile("\\shref\\s*=\\s*(?:\"[^\"]*|'[^']*)[\ue000\ue002]", re.IGNORECASE)

#: Targets of links that are remembered.
_REMEMBERED = 20_000


@dataclass(slots=True)
class Given:
    """What a letter's pieces are filled with beside its values, and an address that it must not lack."""

    preheader: str
    picture: str
    must_hold: str = ""


#: Signs the links of a letter: returns the tokens of targets, in their order.
Signed = Callable[[Sequence[LinkTarget]], Sequence[str]]

#: What comes in between the pieces: values by where they stand, tokens of links that are the same in each letter, whole links.
_TEXT, _ATTRIBUTE, _COMMENT, _SIGNED, _LINK, _PREHEADER, _PHOTO = range(7)
_KINDS = {"T": _TEXT, "A": _ATTRIBUTE, "C": _COMMENT}

_Slot = tuple[int, int]


class _Part:
    """A page or a text: literal pieces, and in between what is different in each letter, by its kind and number."""

    def __init__(self, outline: str, kind: str, link: Callable[[int], tuple[str, _Slot]]) -> None:
        """Cut an outline; `link` tells of a link by its number what is always there of it, and what is not."""
        self.slots: list[_Slot] = []
        self._pieces: list[str] = []
        end = 0
        for found in _CUT.finditer(outline):
            piece = outline[end : found.start()]
            end = found.end()
            value_kind, value, number, preview, _ = found.groups()
            if value_kind:
                slot = (_KINDS[value_kind], int(value))
            elif number:
                start, slot = link(int(number))
                piece += start
            else:
                slot = (_PREHEADER if preview else _PHOTO, 0)
            self._pieces += (piece, "")
            self.slots.append(slot)
        self._pieces.append(outline[end:])
        self._encoded = mime.encoded_pieces(kind, self._pieces) or []

    @property
    def is_encoded(self) -> bool:
        """Say whether the part can be put together as it goes over the wire."""
        return bool(self._encoded)

    def joined(self, filling: Sequence[str]) -> str:
        """Return the part as text."""
        pieces = self._pieces.copy()
        pieces[1::2] = filling
        return "".join(pieces)

    def encoded(self, filling: Sequence[bytes]) -> bytes:
        """Return the part as it goes over the wire, with its headers."""
        pieces = self._encoded.copy()
        pieces[1::2] = filling
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
        self._own_is_plain = links.IN_TEXT.fullmatch(f"{self._ours}u/x") is not None  # tokens end no sentence
        self._links: list[_Link] = []
        self._known: dict[tuple[bool, bool, str, str | None], tuple[LinkTarget | None, str, str]] = {}
        inlined = html_part.inline_styles(page)
        if Counter(MARK.findall(inlined)) != Counter(MARK.findall(page)):
            raise CannotOutline
        inlined = links.rewrite_tags(inlined, self._found)
        if _LED_BY_VALUE.search(inlined):
            raise CannotOutline  # a link that is left alone: what the text part says of it depends on where it leads
        text = text_from_html(inlined) if written is None else links.rewrite_words(written, self._found_in_text)
        if not text:
            raise CannotOutline
        self._derived = written is None
        self._collect()
        whole = html_part.with_preheader(inlined, _PREVIEW if preheader else "")
        whole = html_part.with_pixel(whole, _PICTURE) if picture else whole
        self._page = _Part(whole, "text/html", lambda number: self._start(number, links.escaped(tagging.clicks_url)))
        self._text = _Part(text, "text/plain", lambda number: self._start(number, tagging.clicks_url))
        self._arrange()

    def filled(self, values: Sequence[str], given: Given, signed: Signed) -> tuple[str, str]:
        """Return page and text of one letter; raise CannotOutline when one of its values does not fit in."""
        filling = self._filling(_AS_TEXT, values, given, signed)
        return self._page.joined(self._on_page(filling)), self._text.joined(self._in_words(filling))

    def encoded(self, values: Sequence[str], given: Given, signed: Signed) -> tuple[bytes, bytes]:
        """Return page and text of one letter as they go over the wire; raise CannotOutline as well where they cannot be."""
        wanted = given.must_hold
        if not (self._page.is_encoded and self._text.is_encoded):
            raise CannotOutline
        if wanted and not (self._holds(self._page, values, wanted) and self._holds(self._text, values, wanted)):
            raise CannotOutline
        filling = self._filling(_AS_BYTES, values, given, signed)
        return self._page.encoded(self._on_page(filling)), self._text.encoded(self._in_words(filling))

    def _filling(self, write: _Writing[AnyStr], values: Sequence[str], given: Given, signed: Signed) -> list[AnyStr]:
        """Return everything that comes in between the pieces, in the order of `_arrange`."""
        targets, places = self._targets.copy(), self._places.copy()
        led: list[tuple[int | None, str, str]] = []
        for number, link in self._varying:
            target, address, tail = self._led(link, values, given.must_hold)
            place = None
            if target is not None:
                place = places.setdefault(address, len(targets))
                if place == len(targets):
                    targets.append(target)
                elif targets[place] is not target and targets[place] != target and self._first.get(address, 0) > number:
                    raise CannotOutline  # a page with two names: the first one in the letter counts, which is not the fixed one
            led.append((place, address, tail))
        # Everything that can go wrong has: `signed` may be asked once for each letter only.
        tokens = signed(targets) if targets else ()
        ends = write.tokens(tokens) if tokens else []
        filling = ends[: len(self._targets)]
        on_page, in_words = (write.start(start) for start in self._starts)
        for varying in self._links_on_page:
            place, address, _ = led[varying]
            filling.append(write.line(links.escaped(address)) if place is None else on_page + ends[place])
        for varying in self._links_in_words:
            place, address, tail = led[varying]
            if place is None or tail:
                address = address if place is None else self._starts[1] + tokens[place]
                filling.append(write.line(address + tail))
            else:
                filling.append(in_words + ends[place])
        ways = (write.text, write.attribute, write.comment, write.words if self._derived else write.plain)
        for way, pick in zip(ways, self._values, strict=True):
            filling += map(way, pick(values))
        filling += (write.line(html_part.escaped_preheader(given.preheader)), write.line(html_escape(given.picture)))
        return filling

    def _holds(self, part: _Part, values: Sequence[str], wanted: str) -> bool:
        """Say whether a value that is an address is printed by itself somewhere in a part."""
        for kind, number in reversed(part.slots):  # mostly it stands at the end
            place = self._links[number].address.only if kind == _LINK else number if kind in (_TEXT, _ATTRIBUTE) else None
            if place is not None and values[place] == wanted:
                return True
        return False

    # Preparing

    def _collect(self) -> None:
        """Know the targets that are the same in every letter, their places in it, and the links that lead elsewhere."""
        self._targets: list[LinkTarget] = []
        self._places: dict[str, int] = {}
        self._first: dict[str, int] = {}
        for number, link in enumerate(self._links):
            if link.target is not None and link.target.url not in self._places:
                self._places[link.target.url] = len(self._targets)
                self._first[link.target.url] = number
                self._targets.append(link.target)
        self._varying = [(number, link) for number, link in enumerate(self._links) if link.target is None]
        self._starts = (links.escaped(self._tagging.clicks_url), self._tagging.clicks_url)

    def _start(self, number: int, start: str) -> tuple[str, _Slot]:
        target = self._links[number].target
        return ("", (_LINK, number)) if target is None else (start, (_SIGNED, self._places[target.url]))

    def _arrange(self) -> None:
        """Give everything that comes in between the pieces a place in one row: tokens, links, values, and what comes once."""
        on_page, in_words = dict.fromkeys(self._page.slots), dict.fromkeys(self._text.slots)
        links_on_page = [number for kind, number in on_page if kind == _LINK]
        links_in_words = [number for kind, number in in_words if kind == _LINK]
        varying = {number: place for place, (number, _) in enumerate(self._varying)}
        self._links_on_page = [varying[number] for number in links_on_page]
        self._links_in_words = [varying[number] for number in links_in_words]
        by_way = [[number for kind, number in on_page if kind == way] for way in (_TEXT, _ATTRIBUTE, _COMMENT)]
        by_way.append([number for kind, number in in_words if kind in _KINDS.values()])
        self._values = [_picking(numbers) for numbers in by_way]
        row = [
            *((_SIGNED, place) for place in range(len(self._targets))),
            *((_LINK, number) for number in links_on_page),
            *((_LINK, number, "words") for number in links_in_words),
            *((way, number) for way, numbers in zip((_TEXT, _ATTRIBUTE, _COMMENT), by_way, strict=False) for number in numbers),
            *((_TEXT, number, "words") for number in by_way[-1]),
            *((_PREHEADER, 0), (_PHOTO, 0)),
        ]
        place = {what: place for place, what in enumerate(row)}

        def in_text(kind: int, number: int) -> int:
            return place[kind, number] if kind == _SIGNED else place[_LINK if kind == _LINK else _TEXT, number, "words"]

        self._on_page = _picking([place[slot] for slot in self._page.slots])
        self._in_words = _picking([in_text(*slot) for slot in self._text.slots])

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

    def _led(self, link: _Link, values: Sequence[str], own: str) -> tuple[LinkTarget | None, str, str]:
        """Return a link's target in one letter if it is counted, its address, and what follows that in running text.

        `own` is an address of ours, different in each letter, for which there is nothing to find out.
        """
        address = link.address.joined(values)
        label = None if link.label is None else link.label.joined(values)
        if address == own and label != own and self._own_is_plain:
            return None, address, ""
        key = (link.named, link.in_text, address, label)
        known = self._known.get(key)
        return self._find_out(key, link) if known is None else known

    def _find_out(self, key: tuple[bool, bool, str, str | None], link: _Link) -> tuple[LinkTarget | None, str, str]:
        _, _, address, label = key
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


def _picking(places: Sequence[int]) -> Callable[[Sequence[AnyStr]], Sequence[AnyStr]]:
    """Return what picks the items at these places, in their order."""
    if len(places) < 2:
        return lambda items: [items[place] for place in places]
    return itemgetter(*places)


def _as_text(value: str) -> str:
    """Return a value as an HTML serializer writes text."""
    return value.replace("&", "&amp;").replace("\xa0", "&nbsp;")


def _as_comment(value: str) -> str:
    return str(escape(value))


def _as_words(value: str) -> str:
    """Return a value as `text_from_html` writes it."""
    return value.replace("\xa0", " ").replace("\u202f", " ")


@dataclass(frozen=True)
class _Writing(Generic[AnyStr]):
    """How what comes in between the pieces is written: as text, or as it goes over the wire."""

    tokens: Callable[[Sequence[str]], list[AnyStr]]
    start: Callable[[str], AnyStr]  # of an address, right before a token
    line: Callable[[str], AnyStr]  # what is different in every letter
    text: Callable[[str], AnyStr]
    attribute: Callable[[str], AnyStr]
    comment: Callable[[str], AnyStr]
    words: Callable[[str], AnyStr]
    plain: Callable[[str], AnyStr]


class _Encoded(dict[str, bytes]):
    """Values as they go over the wire: names, cities and prices come again and again."""

    def __init__(self, write: Callable[[str], str]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, value: str) -> bytes:
        if len(self) >= _REMEMBERED:
            self.clear()
        encoded = self[value] = mime.encoded_line(self._write(value))
        return encoded


def _encoded(write: Callable[[str], str]) -> Callable[[str], bytes]:
    return _Encoded(write).__getitem__


_AS_TEXT: _Writing[str] = _Writing(list, str, str, _as_text, links.escaped, _as_comment, _as_words, str)
_AS_BYTES: _Writing[bytes] = _Writing(
    mime.encoded_tokens,
    mime.encoded_start,
    mime.encoded_line,
    *(_encoded(write) for write in (_as_text, links.escaped, _as_comment, _as_words, str)),
)
