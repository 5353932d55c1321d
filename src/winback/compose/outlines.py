"""The outlines of one shop's letters: found by how a letter looks with marks for its values, made at its second sight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from winback.compose.links import Tagging
from winback.compose.message import LinkTarget
from winback.compose.outline import Given, Outline, Signed
from winback.compose.place import Place
from winback.compose.recording import Recorder, TooManyError
from winback.compose.render import Renderer
from winback.compose.shape import CannotOutline, Shape, marked_text
from winback.errors import RenderError

#: Outlines that are kept; one takes about three times the bytes of its letter.
_MOST = 300
#: Shapes that were seen once.
_SEEN = 20_000
#: So many more letters of a template may go without an outline than with one.
_PATIENCE = 200

#: Before anything is prepared for a template, so many letters of it go the whole way: mostly there are no more.
_FEW = 5

_Key = tuple[Any, ...]
_Parts = tuple[str, str]
_Filled = TypeVar("_Filled")


@dataclass(slots=True)
class Attempt:
    """One letter, rendered with marks."""

    outlines: Outlines
    template: str
    key: _Key  # its last two are the pieces of page and text, nearly all of them the same objects each time: quickly compared
    values: list[str]
    tagging: Tagging
    given: Given

    def filled(self, signed: Signed) -> _Parts | None:
        """Return page and text, None when the letter has to go the whole way; `signed` is not asked then."""
        return self.outlines.fill(self, lambda outline: outline.filled(self.values, self.given, signed))

    def encoded(self, signed: Signed) -> tuple[bytes, bytes] | None:
        """Return page and text as they go over the wire, None when there is no short way to them; `signed` is not asked then."""
        return self.outlines.fill(self, lambda outline: outline.encoded(self.values, self.given, signed))

    @property
    def marked(self) -> tuple[str, str]:
        """Return page and text with marks; the text is empty where no template says it."""
        return "".join(self.key[-2]), "".join(self.key[-1]).strip()

    def learn(self, parts: _Parts, targets: list[LinkTarget], addresses: Mapping[str, str]) -> None:
        """Take what became of the letter on the whole way, to do the same for others like it."""
        self.outlines.learn(self, parts, targets, addresses)


class Outlines:
    """Remembers the outlines of letters. To be used by one thread at a time."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._recorder = Recorder()
        self._recordable: dict[str | None, bool] = {None: True}
        self._seen: set[int] = set()
        self._shapes: dict[_Key, Shape | None] = {}
        self._count = 0
        self._letters: Counter[str] = Counter()  # by template
        self._balance: Counter[str] = Counter()  # by template: letters without an outline, less those with one

    def attempt(
        self, page: str, text: str | None, variables: Mapping[str, Any], place: Place, *, tagging: Tagging, given: Given
    ) -> Attempt | None:
        """Render a letter's templates, by their names, with marks; return None when that is no use."""
        self._letters[page] += 1
        if self._letters[page] <= _FEW or self._balance[page] > _PATIENCE:
            return None
        if not (self._is_recordable(page) and self._is_recordable(text)):
            return None
        recorder = self._recorder
        recorder.begin()
        try:
            marked = tuple(self._renderer.record(page, variables, place, recorder))
            written = () if text is None else tuple(self._renderer.record(text, variables, place, recorder))
        except (RenderError, TooManyError):
            return None
        key = (page, tagging, bool(given.preheader), bool(given.picture), marked, written)
        return Attempt(self, page, key, recorder.values, tagging, given)

    def fill(self, attempt: Attempt, filled: Callable[[Outline], _Filled]) -> _Filled | None:
        """Return the letter's page and text from its outline, if there is one."""
        shape = self._shapes.get(attempt.key)
        outline = shape.outlines.get(_pinned(shape, attempt)) if shape is not None else None
        parts = None
        if outline is not None:
            try:
                parts = filled(outline)
            except (CannotOutline, RenderError):
                parts = None
        balance = self._balance[attempt.template]
        self._balance[attempt.template] = balance + 1 if parts is None else max(balance - 1, -_PATIENCE)
        return parts

    def learn(self, attempt: Attempt, parts: _Parts, targets: list[LinkTarget], addresses: Mapping[str, str]) -> None:
        """Make the letter's outline if its shape was seen before, and the outline gives the same as the whole way."""
        digest = hash(attempt.key)
        if digest not in self._seen:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen.add(digest)
            return
        if self._count >= _MOST:
            self._shapes.clear()
            self._count = 0
        try:
            shape = self._shapes[attempt.key] if attempt.key in self._shapes else Shape.of(attempt.marked[0])
        except CannotOutline:
            shape = None
        self._shapes[attempt.key] = shape
        self._count += 1
        if shape is None:
            return
        pinned = _pinned(shape, attempt)
        if pinned not in shape.outlines:
            shape.outlines[pinned] = _proved(shape, attempt, parts, targets, addresses)

    def _is_recordable(self, name: str | None) -> bool:
        known = self._recordable.get(name)
        if known is None:
            assert name is not None  # noqa: S101 - always known
            known = self._recordable[name] = self._renderer.is_recordable(name)
        return known


def _by_url(targets: Iterable[LinkTarget]) -> dict[str, LinkTarget]:
    return {target.url: target for target in targets}


def _pinned(shape: Shape, attempt: Attempt) -> tuple[str, ...]:
    return tuple([attempt.values[number] for number in shape.pinned])


def _proved(
    shape: Shape, attempt: Attempt, parts: _Parts, targets: list[LinkTarget], addresses: Mapping[str, str]
) -> Outline | None:
    """Return the outline if it makes of this letter what the whole way made of it."""
    asked: list[LinkTarget] = []

    start = attempt.tagging.clicks_url

    def signed(wanted: Sequence[LinkTarget]) -> list[str]:
        asked.extend(wanted)
        return [addresses.get(target.url, "").removeprefix(start) for target in wanted]

    written = attempt.marked[1]
    try:
        outline = Outline(
            shape.with_pinned(attempt.values),
            marked_text(written) if written else None,
            attempt.tagging,
            preheader=bool(attempt.given.preheader),
            picture=bool(attempt.given.picture),
        )
        same = outline.filled(attempt.values, attempt.given, signed) == parts and _by_url(asked) == _by_url(targets)
    except (CannotOutline, RenderError):
        return None
    return outline if same else None
