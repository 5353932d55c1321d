"""Say who opened or clicked: a person, an image proxy, or a machine. Rules are values; they can run again over the raw rows.

Two looks: at the one request (`classify`, by user agent), and at the company it came in (`mark_bursts`): link scanners follow
every link of a message, or the links of many messages, within seconds. How soon after sending tells nothing: people are fast too.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, select, update

from winback.store import InteractionClass, InteractionKind, interactions

_CHUNK = 500
_PAGE = 5_000

_KINDS = (InteractionKind.OPEN.value, InteractionKind.CLICK.value)

_OPEN = frozenset({InteractionKind.OPEN})
_CLICK = frozenset({InteractionKind.CLICK})
_BOTH = _OPEN | _CLICK

#: Put before the user agent of a hit made with HEAD, so that the raw row says so.
HEAD = "HEAD "

#: Names that programs give themselves. Chat programs and social networks fetch a link for a preview of it. CUBOT makes phones.
_PROGRAMS = re.compile(
    r"(?<!cu)bots?\b|crawl|spider|slurp|scan(?:ner)?\b|preview|monitor|fetch(?:er)?\b|headless|phantomjs|selenium|puppeteer|playwright"
    r"|facebookexternalhit|whatsapp/|skypeuripreview|google-safety|googleother|feedburner|archiver",
    re.IGNORECASE,
)
_LIBRARIES = re.compile(
    r"^(?:curl|wget|python|aiohttp|httpx|go-http-client|java|apache-httpclient|libwww-perl|lwp|ruby|php|guzzlehttp|node|axios|got|"
    r"undici|postmanruntime|httpie|winhttp|urllib|scrapy|dart)\b",
    re.IGNORECASE,
)
_SECURITY = re.compile(
    r"barracuda|mimecast|proofpoint|messagelabs|symantec|trend ?micro|sophos|fortiguard|forcepoint|zscaler|fireeye|trellix|"
    r"ironport|checkpoint|mailscanner|spamassassin|rspamd|virustotal|urlscan|phishtank|safebrowsing",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class HitRule:
    """One reason to put a hit into a class; the first rule that matches decides."""

    name: str
    kinds: frozenset[InteractionKind]
    matches: Callable[[str], bool]
    klass: InteractionClass
    source: str  # where we know it from


RULES: tuple[HitRule, ...] = (
    HitRule(
        "no_agent",
        _BOTH,
        lambda agent: not agent.strip(),
        InteractionClass.MACHINE,
        "RFC 9110, 10.1.5: a user agent SHOULD send the field; every browser and mail program does",
    ),
    HitRule(
        "head",
        _BOTH,
        lambda agent: agent.startswith(HEAD),
        InteractionClass.MACHINE,
        "RFC 9110, 9.3.2: HEAD asks for no content; who reads a page needs it",
    ),
    HitRule(
        "apple_privacy",
        _OPEN,
        lambda agent: agent == "Mozilla/5.0",
        InteractionClass.PROXY,
        "Apple Mail Privacy Protection loads every image when the mail arrives, with exactly this user agent",
    ),
    HitRule(
        "bare_mozilla",
        _CLICK,
        lambda agent: agent == "Mozilla/5.0",
        InteractionClass.MACHINE,
        "no browser names itself so shortly, and Apple's image proxy follows no links",
    ),
    HitRule(
        "gmail_prefetch",
        _OPEN,
        lambda agent: agent.endswith("Edge/12.246 Mozilla/5.0"),
        InteractionClass.PROXY,
        "Gmail fetches images ahead of the reader for some accounts with this ending",
    ),
    HitRule(
        "google_proxy",
        _OPEN,
        lambda agent: "GoogleImageProxy" in agent,
        InteractionClass.HUMAN,
        "Gmail's image proxy asks when the reader opens the mail",
    ),
    HitRule(
        "yahoo_proxy",
        _OPEN,
        lambda agent: "YahooMailProxy" in agent,
        InteractionClass.HUMAN,
        "Yahoo Mail's image proxy asks when the reader opens the mail",
    ),
    HitRule(
        "security",
        _BOTH,
        lambda agent: _SECURITY.search(agent) is not None,
        InteractionClass.MACHINE,
        "mail security products that name themselves",
    ),
    HitRule(
        "library",
        _BOTH,
        lambda agent: _LIBRARIES.search(agent) is not None,
        InteractionClass.MACHINE,
        "HTTP libraries and command line tools name themselves first",
    ),
    HitRule(
        "program",
        _BOTH,
        lambda agent: _PROGRAMS.search(agent) is not None,
        InteractionClass.MACHINE,
        "crawlers, previews and driven browsers name themselves",
    ),
)


def classify(kind: InteractionKind | str, user_agent: str | None) -> InteractionClass:
    """Return who made a hit, by its user agent alone; somebody no rule knows is a person."""
    kind, agent = InteractionKind(kind), user_agent or ""
    return next((rule.klass for rule in RULES if kind in rule.kinds and rule.matches(agent)), InteractionClass.HUMAN)


#: Hits of one source this close together are looked at together.
BURST = timedelta(seconds=5)

#: So many different links of one message from one source within that time: a machine.
BURST_LINKS = 3

#: Clicks in so many messages of one campaign from one source within that time: a scanner in front of many mailboxes.
BURST_MESSAGES = 4


def reclassify(connection: Connection, since: datetime) -> int:
    """Class every open and click since a moment anew, by the rules as they stand now; return how many rows changed.

    Rows of people who were forgotten have no user agent any more and stay as they are: erasing somebody changes no rate.
    """
    recent = and_(interactions.c.at >= since, interactions.c.kind.in_(_KINDS), interactions.c.user_agent.is_not(None))
    before = _classes(connection, recent)
    for kind, agent in connection.execute(select(interactions.c.kind, interactions.c.user_agent).where(recent).distinct()).all():
        klass = classify(kind, agent).value
        same = and_(interactions.c.kind == kind, interactions.c.user_agent == agent)
        connection.execute(update(interactions).where(recent, same, interactions.c.klass != klass).values(klass=klass))
    # A burst that had begun just before `since` goes on after it.
    mark_bursts(connection, interactions.c.at >= since - BURST)
    after = _classes(connection, recent)
    return sum(1 for row, klass in after.items() if before[row] != klass)


def mark_bursts(connection: Connection, recent: ColumnElement[bool]) -> int:
    """Class clicks that came in a burst as a machine's, and the same source's opens around them; return how many changed.

    `recent` says which hits are looked at: the last few hundred after each batch, a time when everything is classed anew.
    """
    hits = (
        select(*(interactions.c[name] for name in _Hit._fields))
        .where(recent, interactions.c.kind.in_(_KINDS), interactions.c.address.is_not(None))
        .order_by(interactions.c.address, interactions.c.campaign, interactions.c.at, interactions.c.id)
        .execution_options(yield_per=_PAGE)
    )
    machines: list[int] = []
    # One walk in the order of time for each source; a query that joins hits with hits grows with the square of a burst.
    for _, company in groupby((_Hit(*row) for row in connection.execute(hits)), key=lambda hit: (hit.address, hit.campaign)):
        machines += [hit.id for hit in _of_a_machine(list(company)) if hit.klass != InteractionClass.MACHINE]
    for start in range(0, len(machines), _CHUNK):
        part = interactions.c.id.in_(machines[start : start + _CHUNK])
        connection.execute(update(interactions).where(part).values(klass=InteractionClass.MACHINE.value))
    return len(machines)


class _Hit(NamedTuple):
    """What of a hit tells whether it came in a burst."""

    id: int
    address: str
    campaign: str
    kind: str
    message_id: str
    link_id: int | None
    at: datetime
    klass: str


def _of_a_machine(hits: Sequence[_Hit]) -> Iterator[_Hit]:
    """Yield the clicks of one source in one campaign that have enough company, and the opens of the same message beside them."""
    moments: dict[str, list[datetime]] = defaultdict(list)
    for click in _burst([hit for hit in hits if hit.kind == InteractionKind.CLICK]):
        moments[click.message_id].append(click.at)
        yield click
    for opened in hits:
        if opened.kind == InteractionKind.OPEN and _is_beside(moments[opened.message_id], opened.at):
            yield opened


def _burst(clicks: Sequence[_Hit]) -> Iterator[_Hit]:
    """Yield the clicks, in order of time, around which there are too many others for a person."""
    ahead, behind = 0, 0
    near: Counter[tuple[str, int | None]] = Counter()  # clicks by message and link
    links: Counter[str] = Counter()  # different links by message
    for click in clicks:
        while ahead < len(clicks) and clicks[ahead].at <= click.at + BURST:
            came = (clicks[ahead].message_id, clicks[ahead].link_id)
            near[came] += 1
            links[came[0]] += near[came] == 1
            ahead += 1
        while clicks[behind].at < click.at - BURST:
            left = (clicks[behind].message_id, clicks[behind].link_id)
            near[left] -= 1
            links[left[0]] -= near[left] == 0
            if not links[left[0]]:
                del links[left[0]]
            behind += 1
        if links[click.message_id] >= BURST_LINKS or len(links) >= BURST_MESSAGES:
            yield click


def _is_beside(moments: Sequence[datetime], at: datetime) -> bool:
    """Say whether one of the moments, in order, is close to another one."""
    place = bisect_left(moments, at - BURST)
    return place < len(moments) and moments[place] <= at + BURST


def _classes(connection: Connection, recent: ColumnElement[bool]) -> dict[int, str]:
    return {row.id: row.klass for row in connection.execute(select(interactions.c.id, interactions.c.klass).where(recent))}
