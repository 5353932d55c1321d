"""Say who opened or clicked: a person, an image proxy, or a machine. Rules are values; they can run again over the raw rows.

Two looks: at the one request (`classify`, by user agent), and at the company it came in (`mark_bursts`): link scanners follow
every link of a message, or the links of many messages, within seconds. How soon after sending tells nothing: people are fast too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, case, distinct, func, literal, or_, select, update

from winback.store import InteractionClass, InteractionKind, interactions, plus_seconds

#: The table of interactions, under whatever name a query gives it.
Hits = FromClause

_CHUNK = 500

_OPEN = frozenset({InteractionKind.OPEN})
_CLICK = frozenset({InteractionKind.CLICK})
_BOTH = _OPEN | _CLICK

#: Put before the user agent of a hit made with HEAD, so that the raw row says so.
HEAD = "HEAD "

#: Names that programs give themselves. Chat programs and social networks fetch a link to show a preview of it.
_PROGRAMS = re.compile(
    r"bot\b|bots\b|crawl|spider|slurp|scan(?:ner)?\b|preview|monitor|fetch(?:er)?\b|headless|phantomjs|selenium|puppeteer|playwright"
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


#: Hits of one source this close together, in seconds, are looked at together.
BURST_SECONDS = 5

#: So many different links of one message from one source within that time: a machine.
BURST_LINKS = 3

#: Clicks in so many messages of one campaign from one source within that time: a scanner in front of many mailboxes.
BURST_MESSAGES = 4


def reclassify(connection: Connection, since: datetime) -> int:
    """Class every open and click since a moment anew, by the rules as they stand now; return how many rows changed.

    Rows of people who were forgotten have no user agent any more and stay as they are: erasing somebody changes no rate.
    """
    known = and_(interactions.c.at >= since, interactions.c.user_agent.is_not(None))
    recent = and_(known, interactions.c.kind.in_([InteractionKind.OPEN.value, InteractionKind.CLICK.value]))
    before = _classes(connection, recent)
    for kind, agent in connection.execute(select(interactions.c.kind, interactions.c.user_agent).where(recent).distinct()).all():
        klass = classify(kind, agent).value
        differs = and_(recent, interactions.c.kind == kind, interactions.c.user_agent == agent, interactions.c.klass != klass)
        connection.execute(update(interactions).where(differs).values(klass=klass))
    # A burst that had begun just before `since` goes on after it.
    start = since - timedelta(seconds=BURST_SECONDS)
    mark_bursts(connection, lambda hit: hit.c.at >= start)
    after = _classes(connection, recent)
    return sum(1 for row, klass in after.items() if before[row] != klass)


def mark_bursts(connection: Connection, recent: Callable[[Hits], ColumnElement[bool]]) -> int:
    """Class clicks that came in a burst as a machine's, and the same source's opens around them; return how many changed.

    `recent` restricts which hits are looked at: the last few hundred after each batch, a time when everything is classed anew.
    """
    clicks = _burst_clicks(recent).subquery()
    opens = _opens_beside(recent)
    changed = 0
    # The opens first: while the clicks are being looked up, the table does not change under the query.
    for chosen in (opens, select(clicks.c.id)):
        ids = list(connection.scalars(chosen))
        for start in range(0, len(ids), _CHUNK):
            part = interactions.c.id.in_(ids[start : start + _CHUNK])
            differs = and_(part, interactions.c.klass != InteractionClass.MACHINE.value)
            changed += connection.execute(
                update(interactions).where(differs).values(klass=InteractionClass.MACHINE.value)
            ).rowcount
    return changed


def _burst_clicks(recent: Callable[[Hits], ColumnElement[bool]]) -> Select[tuple[int]]:
    """Select the ids of clicks with enough company: clicks of one source in one campaign, close in time."""
    hit, other = interactions.alias("hit"), interactions.alias("other")
    company = and_(
        other.c.address == hit.c.address, other.c.campaign == hit.c.campaign, other.c.kind == hit.c.kind, _close(other, hit)
    )
    links = func.count(distinct(case((other.c.message_id == hit.c.message_id, other.c.link_id))))
    touched = func.count(distinct(other.c.message_id))
    return (
        select(hit.c.id)
        .join(other, company)
        .where(hit.c.kind == InteractionKind.CLICK.value, recent(hit), recent(other))
        .group_by(hit.c.id)
        .having(or_(links >= BURST_LINKS, touched >= BURST_MESSAGES))
    )


def _opens_beside(recent: Callable[[Hits], ColumnElement[bool]]) -> Select[tuple[int]]:
    """Select the ids of opens by the source of a burst, of the same message at the same time."""
    opened, click = interactions.alias("opened"), interactions.alias("click")
    burst = _burst_clicks(recent).subquery()
    return (
        select(opened.c.id)
        .join(
            click,
            and_(click.c.message_id == opened.c.message_id, click.c.address == opened.c.address, _close(click, opened)),
        )
        .join(burst, burst.c.id == click.c.id)
        .where(opened.c.kind == InteractionKind.OPEN.value, recent(opened))
        .distinct()
    )


def _close(one: Hits, other: Hits) -> ColumnElement[bool]:
    return and_(
        one.c.at >= plus_seconds(other.c.at, literal(-BURST_SECONDS)),
        one.c.at <= plus_seconds(other.c.at, literal(BURST_SECONDS)),
    )


def _classes(connection: Connection, recent: ColumnElement[bool]) -> dict[int, str]:
    return {row.id: row.klass for row in connection.execute(select(interactions.c.id, interactions.c.klass).where(recent))}
