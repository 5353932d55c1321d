"""What a campaign caused: people who got it against people left alone, and one arm of a test against another.

Both sides are people whom the planner would have written to at the same moment; a keyed lottery alone decided which side they are
on. What happened to a message afterwards (a bounce, an opt-out) moves nobody to the other side: that is what makes the comparison
honest. The clock of both sides starts when the first message that no rule stopped was due.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, and_, cast, distinct, exists, func, literal, null, or_, select
from sqlalchemy.types import Float

from winback.project import Campaign
from winback.report.intervals import Interval, Moments, difference_of_means, difference_of_shares
from winback.report.model import Comparison, Gain, Group, Revenue, Verdict
from winback.report.verdicts import in_words
from winback.store import (
    VOID_STATUSES,
    MessageState,
    enrollments,
    events,
    message_history,
    messages,
    orders,
    plus_seconds,
)

#: Below these nothing is said, whatever the numbers: so many people on each side, so many of both together who converted.
FEWEST_PEOPLE = 30
FEWEST_CONVERTED = 10

#: The pace at which people come in is that of the last weeks.
_PACE_WEEKS = 8

#: A forecast further ahead than this says "not at this pace".
_LONGEST_WEEKS = 260

_EVENT = "event:"


@dataclass
class _Side:
    """One side of a comparison while it is gathered."""

    people: int = 0
    converted: int = 0
    recent: int = 0  # of the people, those who came in within the last weeks
    spent: Counter[str] = field(default_factory=Counter)
    squares: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def group(self, name: str) -> Group:
        revenue = tuple(Revenue(currency, minor) for currency, minor in sorted(self.spent.items()))
        return Group(name, self.people, self.converted, revenue)

    def moments(self, currency: str) -> Moments:
        return Moments(self.people, float(self.spent[currency]), self.squares[currency])


def compare_holdout(connection: Connection, campaign: Campaign, now: datetime) -> Comparison | None:
    """Compare the people written to with those left alone; None when nobody is held out and none ever was."""
    sides = _gather(connection, campaign, now, _started(campaign, now).c.held_out)
    treated, held_out = sides.get(True, _Side()), sides.get(False if not sides else None, _Side())
    held_out = sides.get(True, _Side())
    treated = sides.get(False, _Side())
    if not campaign.measure.holdout and not held_out.people:
        return None
    return _compare(treated, held_out, "written to", "left alone", now, _weeks_running(connection, campaign, now))
