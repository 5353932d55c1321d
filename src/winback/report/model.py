"""The shapes of a report: counts, rates that know what they are a share of, and comparisons that know when they are too small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum


@dataclass(frozen=True)
class Rate:
    """`count` out of `of`, never more than all of it; `base` names the denominator for people."""

    count: int
    of: int
    base: str

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.of:
            raise ValueError(f"{self.count} of {self.of} {self.base} is no share")

    @property
    def value(self) -> float | None:
        """Return the share from 0 to 1; None when there is nothing to be a share of."""
        return self.count / self.of if self.of else None


@dataclass(frozen=True, order=True)
class Revenue:
    """Money in minor units of one currency."""

    currency: str
    minor: int


@dataclass(frozen=True)
class Funnel:
    """The counts of one step, or of a whole campaign (`step` is then empty). All counts are messages, but `orders`.

    planned = sent + failed + skipped + uncertain + cancelled + waiting, always; delivered + bounced are never more than sent.
    """

    step: str
    channel: str  # empty when there are several
    sent: int = 0  # accepted by the gateway, whatever was reported later
    delivered: int = 0
    bounced: int = 0
    failed: int = 0
    uncertain: int = 0
    cancelled: int = 0
    waiting: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)  # by reason
    held_out: int = 0  # the holdout's virtual messages; not part of planned
    arrived_email: int = 0  # of those sent and not bounced, the e-mails: a text message cannot report that it was opened
    opened: int = 0  # by a person, as far as that can be seen
    clicked: int = 0  # by a person
    opened_by_machines: int = 0  # opened, but only by proxies and scanners
    unsubscribed: int = 0
    converted: int = 0  # messages that were the last of the campaign before an order
    orders: int = 0  # orders (or events) attributed to them
    revenue: tuple[Revenue, ...] = ()

    @property
    def planned(self) -> int:
        """Count every intended message, the holdout's apart."""
        return self.sent + self.failed + sum(self.skipped.values()) + self.uncertain + self.cancelled + self.waiting

    @property
    def arrived(self) -> int:
        """Count the messages that were sent and did not bounce: what people can have seen."""
        return self.sent - self.bounced

    def rates(self) -> dict[str, Rate]:
        """Return every rate by name, each with its denominator."""
        skipped = sum(self.skipped.values())
        return {
            "sent": Rate(self.sent, self.planned, "planned"),
            "skipped": Rate(skipped, self.planned, "planned"),
            "failed": Rate(self.failed, self.planned, "planned"),
            "bounced": Rate(self.bounced, self.sent, "sent"),
            "delivered": Rate(self.delivered, self.sent, "sent"),
            "opened": Rate(self.opened, self.arrived_email, "e-mails sent and not bounced"),
            "clicked": Rate(self.clicked, self.arrived, "sent and not bounced"),
            "converted": Rate(self.converted, self.arrived, "sent and not bounced"),
            "unsubscribed": Rate(self.unsubscribed, self.arrived, "sent and not bounced"),
        }


class Verdict(StrEnum):
    """What a comparison lets us say."""

    NONE = "none"  # nobody on one of the two sides
    TOO_SMALL = "too_small"  # the range of what may be true contains "no difference"
    MORE = "more"  # the difference is above zero
    FEWER = "fewer"  # the difference is below zero


@dataclass(frozen=True)
class Group:
    """People who were treated alike; each counts once, however often they came in or ordered."""

    name: str
    people: int
    converted: int
    revenue: tuple[Revenue, ...] = ()
    base: str = "people"  # who they are, as the denominator's name

    @property
    def rate(self) -> Rate:
        """Return the share of the people who converted."""
        return Rate(self.converted, self.people, self.base)


@dataclass(frozen=True)
class Gain:
    """Money that the treated group brought beyond what the other one lets expect, and the range of what may be true."""

    currency: str
    minor: int
    low: int
    high: int


@dataclass(frozen=True)
class Comparison:
    """Two groups and what can be said of their difference; `low` and `high` bound it (0.01 is one point)."""

    group: Group
    against: Group
    verdict: Verdict
    difference: float | None
    low: float | None
    high: float | None
    caused: int | None = None  # conversions beyond what the other group lets expect, only where it can be said
    caused_low: int | None = None
    caused_high: int | None = None
    gain: tuple[Gain, ...] = ()  # only where it can be said
    weeks_left: int | None = None  # about, until it can be said at this pace
    still_open: int = 0  # of the people on both sides, those whose time to convert is not over
    since: datetime | None = None  # people who came in before are in neither group: one of the two did not exist yet
    sentence: str = ""  # the verdict in words


@dataclass(frozen=True)
class Day:
    """What happened on one local day of the shop; a message counts on the day on which it was first opened, clicked and so on."""

    on: date
    sent: int = 0
    opened: int = 0
    clicked: int = 0
    converted: int = 0
    unsubscribed: int = 0


@dataclass(frozen=True)
class LinkClicks:
    """One link of one step: in how many messages a person followed it."""

    step: str
    label: str
    url: str  # what its targets have in common, when they differ from person to person; empty when nothing
    clicked: Rate


@dataclass(frozen=True)
class Reference:
    """What others report of letters of this kind: a line beside a rate, no promise and no goal."""

    rate: str  # the name of the rate in `Funnel.rates` that it stands beside
    value: float  # share from 0 to 1
    source: str


@dataclass(frozen=True)
class CampaignReport:
    """One campaign: its whole funnel, each step, the holdout's answer and the variants'."""

    name: str
    title: str
    goal: str
    conversion: str  # order | event:NAME
    window_days: float  # 0 when the campaign is no longer in the files
    holdout: float  # share of people
    enrolled: int  # people who ever came in, the held-out too; each once
    active: int  # people with a step ahead, without the held-out
    total: Funnel
    steps: tuple[Funnel, ...]
    uplift: Comparison | None = None  # None without a holdout
    variants: tuple[Comparison, ...] = ()
    links: tuple[LinkClicks, ...] = ()
    days: tuple[Day, ...] = ()  # those on which something happened
    references: tuple[Reference, ...] = ()
    in_files: bool = True  # False: the ledger has it, the files no longer do


@dataclass(frozen=True)
class Report:
    """What all campaigns, or one, did up to `at`."""

    at: datetime
    shop: str
    zone: str
    locale: str
    currency: str
    campaigns: tuple[CampaignReport, ...]
    all_conversions: int = 0  # orders whose last message of any campaign was one of ours
    all_revenue: tuple[Revenue, ...] = ()
