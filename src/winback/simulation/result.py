"""What a simulation showed, as plain values that print as tables, JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True)
class DayVolume:
    """Messages of one step that went on one day of the shop, by channel."""

    on: date
    campaign: str
    step: str
    channel: str
    count: int


@dataclass
class CampaignTotal:
    """What a campaign did over the whole time."""

    campaign: str
    enrolled: int = 0
    email: int = 0
    sms: int = 0
    held_out: int = 0
    put_off: int = 0  # messages that had to wait for a place under a cap
    skipped: dict[str, int] = field(default_factory=dict)  # messages that never went, by reason
    exited: int = 0  # people whom the exit condition took out
    opens: int = 0
    clicks: int = 0
    orders: int = 0
    unsubscribes: int = 0


@dataclass(frozen=True)
class CapHit:
    """How many messages of a campaign a cap put off or stopped."""

    campaign: str
    limit: str  # the key of [limits] that the cap stands in
    cap: str
    count: int


@dataclass(frozen=True)
class Loss:
    """How often a campaign lost its place under a cap to another, or to an earlier message of its own."""

    loser: str
    winner: str
    channel: str
    count: int


@dataclass(frozen=True)
class OddDay:
    """A date on which the calendar or the clocks do something unusual, and how many messages that concerned."""

    on: date
    what: str
    where: str  # a zone, or a campaign
    messages: int


@dataclass(frozen=True)
class PoolUse:
    """Coupon codes of one pool: given in this time, still valid at its end, and what is left of those that were assumed."""

    pool: str
    given: int
    valid_at_end: int
    left: int | None = None
    runs_out_on: date | None = None


@dataclass(frozen=True)
class SmsUse:
    """Text messages of a step: how many, in how many parts, and what those cost in minor units where the price is known."""

    campaign: str
    step: str
    messages: int
    parts: int
    cost_minor: int | None


@dataclass(frozen=True)
class Simulated:
    """Everything that a simulation showed between two moments."""

    start: datetime
    until: datetime
    passes: int
    volume: Sequence[DayVolume]
    campaigns: Sequence[CampaignTotal]
    caps: Sequence[CapHit]
    losses: Sequence[Loss]
    odd_days: Sequence[OddDay]
    coupons: Sequence[PoolUse]
    sms: Sequence[SmsUse]
    errors: Sequence[str]
