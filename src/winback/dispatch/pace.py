"""How much a gateway with limits may take at a moment, and which messages that is.

Its rates, its warm-up and those of its recipients' domains are asked in the claim's transaction, and a claim takes no more than
they allow: what has to wait, waits in the ledger and not in somebody's hands. Where not all can go, the campaign of the higher
precedence goes first, and then what was due first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Select, String, and_, case, literal, not_, or_, select

from winback.dispatch import meters, warmup
from winback.dispatch.meters import Meter, Reading
from winback.dispatch.warmup import Tier
from winback.project import Project
from winback.project.gateways import GatewaySettings
from winback.store import Channel, MessageState, customers, messages

#: What goes next is looked up for so many messages at once, and again after so long, for what has become due meanwhile.
_LISTED = 10_000
_LISTED_FOR = timedelta(minutes=1)


@dataclass(frozen=True)
class Limit:
    """One limit of a gateway as it stands: what it says, what was used of it, and where nothing is left, until when."""

    gateway: str
    limit: str  # as people write it
    allowed: int
    used: int
    left: int
    until: datetime | None
    domain: str = ""  # '' for recipients everywhere
    warmup: bool = False

    def __str__(self) -> str:
        return f"{self.limit} to {self.domain}" if self.domain else self.limit


@dataclass(frozen=True)
class Choice:
    """The messages that may go now; where there are none although some wait, when the next may."""

    ids: Sequence[str]
    until: datetime | None = None


@dataclass(frozen=True)
class _Reserved:
    """What was counted for the batch in hand, and when."""

    at: datetime
    domains: dict[str, str]  # of each message, '' for one without a rate
    tier: Tier | None


class Pace:
    """Keeps one gateway of one dispatcher to its limits."""

    def __init__(self, project: Project, gateway: str, channels: Iterable[Channel], settings: GatewaySettings) -> None:
        self._gateway = gateway
        self._channels = sorted(channel.value for channel in channels)
        self._rates = [Meter(rate) for rate in settings.rate]
        self._domains = {
            domain: [Meter(rate, domain) for rate in rates] for domain, rates in settings.per_domain.items() if rates
        }
        self._warmup = settings.warmup
        self._zone = ZoneInfo(project.settings.shop.zone)
        self._places = {name: place for place, name in enumerate(project.campaigns)}
        self._next: dict[str, str] = {}  # messages that go next, in order, each with its domain, or '' for one without a rate
        self._looked_at: datetime | None = None
        self._reserved: _Reserved | None = None

    @classmethod
    def of(cls, project: Project, gateway: str, channels: Iterable[Channel]) -> Pace | None:
        """Return the pace of a gateway, None where it has no limits."""
        settings = project.settings.gateways.get(gateway)
        if settings is None or not (settings.rate or settings.warmup or any(settings.per_domain.values())):
            return None
        return cls(project, gateway, channels, settings)

    # How much

    def limits(self, connection: Connection, now: datetime) -> list[Limit]:
        """Return how each limit stands."""
        found = [
            Limit(self._gateway, str(meter.rate), meter.rate.count, reading.used, reading.room, reading.until, meter.domain)
            for meter, reading in self._read(connection, now).items()
        ]
        tier = self._tier(connection, now)
        if tier is not None:
            what = f"{tier.limit} on day {tier.number + 1} of {len(self._warmup)} of its warm-up"
            until = None if tier.left else self._midnight_after(tier)
            found.append(Limit(self._gateway, what, tier.limit, tier.used, tier.left, until, warmup=True))
        return found

    def _read(self, connection: Connection, now: datetime) -> dict[Meter, Reading]:
        every = [*self._rates, *(meter for counters in self._domains.values() for meter in counters)]
        return meters.read(connection, self._gateway, every, now)

    def _tier(self, connection: Connection, now: datetime) -> Tier | None:
        today = now.astimezone(self._zone).date()
        return warmup.tier(connection, self._gateway, self._warmup, today) if self._warmup else None

    def _midnight_after(self, tier: Tier) -> datetime:
        return datetime.combine(tier.day + timedelta(days=1), time(), self._zone)

    # Which

    def look_ahead(self, connection: Connection, now: datetime) -> None:
        """See what goes next, unless that is known or nothing may go. It reads the whole queue: do it before the claim."""
        fresh = self._looked_at is not None and self._looked_at <= now < self._looked_at + _LISTED_FOR
        if (fresh and self._next) or _room(self.limits(connection, now))[0] == 0:
            return
        rows = list(connection.execute(self._due("", now, _LISTED)))
        for domain, counters in self._domains.items():
            enough = min(meter.rate.within(_LISTED_FOR) for meter in counters)
            rows += connection.execute(self._due(domain, now, min(enough, _LISTED)))
        rows.sort(key=lambda row: (row.place, row.next_attempt_at, row.id))
        self._next = {row.id: row.domain for row in rows}
        self._looked_at = now

    def _due(self, domain: str, now: datetime, limit: int) -> Select[tuple[str, int, datetime, str]]:
        """Select what is due for a domain that has a rate, or with '' for all others."""
        place: ColumnElement[int] = case(self._places, value=messages.c.campaign, else_=len(self._places))
        query = select(messages.c.id, place.label("place"), messages.c.next_attempt_at, literal(domain, String()).label("domain"))
        query = query.where(*self._are_due(now))
        if self._domains:
            query = query.join(customers, customers.c.id == messages.c.customer_id).where(self._goes_to(domain))
        return query.order_by(place, messages.c.next_attempt_at, messages.c.id).limit(limit)

    def _are_due(self, now: datetime) -> tuple[ColumnElement[bool], ...]:
        planned = messages.c.state == MessageState.PLANNED
        return planned, messages.c.next_attempt_at <= now, messages.c.channel.in_(self._channels)

    def _goes_to(self, domain: str) -> ColumnElement[bool]:
        ends = [customers.c.email.endswith(f"@{each}", autoescape=True) for each in ([domain] if domain else self._domains)]
        to_one = and_(messages.c.channel == Channel.EMAIL, customers.c.email.is_not(None), or_(*ends))
        return to_one if domain else not_(to_one)

    def choose(self, connection: Connection, now: datetime, limit: int) -> Choice:
        """Return the messages that may go now, at most `limit`, in the claim's transaction."""
        standing = self.limits(connection, now)
        room, until = _room(standing)
        if room == 0:
            waiting = connection.scalar(select(messages.c.id).where(*self._are_due(now)).limit(1))
            return Choice((), None if waiting is None else until)
        left = {domain: _room(standing, domain) for domain in self._domains}
        chosen: list[str] = []
        full: list[datetime] = []
        for message_id, domain in self._next.items():
            if len(chosen) == min(room, limit):
                break
            if domain:
                free, free_at = left[domain]
                if free == 0:
                    full += [free_at] if free_at else []
                    continue
                left[domain] = (free - 1, free_at)
            chosen.append(message_id)
        return Choice(chosen, None if chosen else min(full, default=None))

    # What was taken

    def reserve(self, connection: Connection, ids: Collection[str], chosen: Sequence[str], now: datetime) -> None:
        """Count messages that are about to go; those that were chosen and do not go are not looked at again."""
        domains = {message_id: self._next[message_id] for message_id in ids}
        for message_id in chosen:
            del self._next[message_id]
        tier = self._tier(connection, now)
        if ids:
            meters.reserve(connection, self._gateway, self._counts(domains.values()), now)
            if tier is not None:
                warmup.use(connection, self._gateway, tier, len(ids))
        self._reserved = _Reserved(now, domains, tier)

    def settle(self, connection: Connection, gone: Collection[str], now: datetime) -> None:
        """Count what was reserved as gone now, as far as it went."""
        reserved, self._reserved = self._reserved, None
        if reserved is None:
            return
        before = self._counts(reserved.domains.values())
        after = self._counts(reserved.domains[message_id] for message_id in gone)
        meters.settle(connection, self._gateway, before, after, reserved.at, now)
        unused = len(reserved.domains) - len(gone)
        if reserved.tier is not None and unused:
            warmup.take_back(connection, self._gateway, reserved.tier.day, unused)

    def _counts(self, domains: Iterable[str]) -> dict[Meter, int]:
        """Return how many messages each meter counts."""
        by_domain = Counter(domains)
        counts = dict.fromkeys(self._rates, by_domain.total())
        for domain, count in by_domain.items():
            counts |= dict.fromkeys(self._domains.get(domain, ()), count)
        return counts


def limits(connection: Connection, project: Project, now: datetime) -> list[Limit]:
    """Return how the limits of all gateways that deliver stand."""
    names = dict.fromkeys(project.settings.deliver.for_channel(channel) for channel in Channel)
    paces = [Pace.of(project, name, Channel) for name in names]
    return [limit for pace in paces if pace is not None for limit in pace.limits(connection, now)]


def _room(standing: Iterable[Limit], domain: str = "") -> tuple[int, datetime | None]:
    """Return how many messages the limits for a domain, or those for all, let through; where none, when some."""
    own = [limit for limit in standing if limit.domain == domain]
    if not own:
        return _LISTED, None
    room = min(limit.left for limit in own)
    return room, None if room else max(limit.until for limit in own if limit.until is not None)
