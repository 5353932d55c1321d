"""What audiences and expressions are compiled with, besides their own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from winback.audience.standings import Standing

if TYPE_CHECKING:
    from winback.audience.scores import ScoreModel
    from winback.audience.segments import Segment


@dataclass(frozen=True)
class AudienceContext:
    """A moment, and the shop's segments and scores. All moments are aware UTC.

    `since` and `until` bound the occasions that are looked for: what happened, or will be due, in between.
    """

    now: datetime
    since: datetime
    until: datetime
    shop_zone: str  # IANA name; calendar days of the shop are counted there
    shop_region: str = ""  # two capital letters: the country of people whose own is unknown
    standing: Standing = field(default_factory=Standing)  # how buyers are compared
    segments: Mapping[str, Segment] = field(default_factory=dict)
    scores: Mapping[str, ScoreModel] = field(default_factory=dict)
