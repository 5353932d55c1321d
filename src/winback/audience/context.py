"""What audiences and expressions are compiled with, besides their own text."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement
from sqlalchemy.types import TypeEngine

from winback.audience.standings import Standing
from winback.store import UtcDateTime, late, prepared

if TYPE_CHECKING:
    from winback.audience.scores import ScoreModel
    from winback.audience.segments import Segment

_Built = TypeVar("_Built")


@dataclass
class Clock:
    """The moments that are asked about, aware UTC. Once it is moved, statements that were built with it ask about others.

    `since` and `until` bound the occasions that are looked for: what happened, or will be due, in between.
    """

    now: datetime
    since: datetime
    until: datetime

    def set(self, other: Clock) -> None:
        """Move to the moments of another clock."""
        self.now, self.since, self.until = other.now, other.since, other.until


@dataclass(frozen=True)
class AudienceContext:
    """A clock, and the shop's segments and scores. What goes into a statement is read from the clock when the statement runs."""

    clock: Clock
    shop_zone: str  # IANA name; calendar days of the shop are counted there
    shop_region: str = ""  # two capital letters: the country of people whose own is unknown
    standing: Standing = field(default_factory=Standing)  # how buyers are compared
    segments: Mapping[str, Segment] = field(default_factory=dict)
    scores: Mapping[str, ScoreModel] = field(default_factory=dict)

    def prepared(
        self, of: Sequence[object], key: Hashable, build: Callable[[AudienceContext], _Built], form: Hashable = None
    ) -> _Built:
        """Return what `build` makes of a context like this one: once, and then with its clock set by this one's.

        `of` are the objects that it depends on besides, `key` says what of them it is, `form` what of the clock it depends on
        other than by late values (see `winback.store.prepared`).
        """

        def begin() -> tuple[Clock, _Built]:
            clock = replace(self.clock)
            return clock, build(replace(self, clock=clock))

        shop = self.shop_zone, self.shop_region, self.standing
        clock, built = prepared((self.segments, self.scores, *of), (key, shop), begin, form)
        clock.set(self.clock)
        return built

    @property
    def now(self) -> ColumnElement[datetime]:
        """Return the present moment as an SQL value."""
        return self.late(lambda clock: clock.now)

    def ago(self, span: timedelta) -> ColumnElement[datetime]:
        """Return the moment so long before now as an SQL value."""
        return self.late(lambda clock: clock.now - span)

    def late(self, value: Callable[[Clock], Any], kind: TypeEngine[Any] | None = None) -> ColumnElement[Any]:
        """Return an SQL value, a moment unless told otherwise, that follows the clock."""
        clock = self.clock
        return late(lambda: value(clock), kind or UtcDateTime())
