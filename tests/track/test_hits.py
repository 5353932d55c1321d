"""Who opened or clicked: a table of user agents, and the company that a hit came in; classed anew it stays the same."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select, update

from tests.rows import add_customer, add_message
from tests.track.shops import Shop
from winback.store import InteractionClass, InteractionKind, customers, interactions, links, reading, writing
from winback.store.erasure import erase_customer
from winback.track.hits import HEAD, RULES, classify, mark_bursts, reclassify

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
EDGE = f"{CHROME} Edg/126.0.0.0"
GOOGLE = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
PREFETCH = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 "
    "Edge/12.246 Mozilla/5.0"
)
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
OUTLOOK = (
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; Microsoft Outlook 16.0.17726; ms-office)"
)

#: user agent, class of an open, class of a click
AGENTS = [
    (IPHONE, "human", "human"),
    (CHROME, "human", "human"),
    (EDGE, "human", "human"),
    (OUTLOOK, "human", "human"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.0", "human", "human"),
    ("Mozilla/5.0", "proxy", "machine"),
    (PREFETCH, "proxy", "human"),
    (GOOGLE, "human", "human"),
    (YAHOO, "human", "human"),
    ("", "machine", "machine"),
    ("   ", "machine", "machine"),
    (HEAD + CHROME, "machine", "machine"),
    ("curl/8.5.0", "machine", "machine"),
    ("python-requests/2.32.3", "machine", "machine"),
    ("Go-http-client/2.0", "machine", "machine"),
    ("Java/17.0.2", "machine", "machine"),
    ("okhttp/4.12.0", "human", "human"),  # mail programs on Android use it
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "machine", "machine"),
    ("Mozilla/5.0 (compatible; GoogleOther)", "machine", "machine"),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "machine", "machine"),
    ("WhatsApp/2.23.20.0", "machine", "machine"),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "machine", "machine"),
    ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0", "machine", "machine"),
    ("Barracuda Sentinel (EE)", "machine", "machine"),
    ("Mozilla/5.0 (Windows NT 10.0) Mimecast/1.0", "machine", "machine"),
    ("Mozilla/5.0 (Linux; Android 14; CUBOT X30) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36", "human", "human"),
]

NIGHT = datetime.fromisoformat("2026-11-24T03:00:00+00:00")


@pytest.mark.parametrize(("agent", "opened", "clicked"), AGENTS, ids=lambda value: value[:40])
def test_a_user_agent_tells_who_it_is(agent: str, opened: str, clicked: str) -> None:
    assert classify("open", agent) == opened
    assert classify("click", agent) == clicked


def test_every_rule_has_a_case_and_its_source() -> None:
    for rule in RULES:
        assert rule.source
        assert any(rule.matches(agent) for agent, _, _ in AGENTS), rule.name


@given(st.text(max_size=300), st.sampled_from(["open", "click"]))
def test_any_text_has_a_class(agent: str, kind: str) -> None:
    assert classify(kind, agent) in InteractionClass


class Hits:
    """Write hits and say what became of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.classes: dict[str, str] = {}
        with writing(engine) as connection:
            people = [add_customer(connection, f"C{number}", NIGHT) for number in range(6)]
            self.sent = [add_message(connection, person, NIGHT) for person in people]
            self.others = [add_message(connection, person, NIGHT, campaign="thanks") for person in people]
            row = {"campaign": "sleeping", "step": "hello"}
            self.links = list(
                connection.scalars(
                    insert(links).returning(links.c.id), [{**row, "url": f"https://{n}", "url_hash": f"{n}"} for n in range(5)]
                )
            )

    def add(
        self,
        seconds: float,
        message: str,
        link: int | None = None,
        address: str | None = "office",
        agent: str | None = CHROME,
        campaign: str = "sleeping",
    ) -> None:
        """Write one hit, so many seconds after the night began; without a link it is an open."""
        kind = InteractionKind.OPEN if link is None else InteractionKind.CLICK
        row = {
            "message_id": message,
            "customer_id": 1,
            "campaign": campaign,
            "step": "hello",
            "kind": kind.value,
            "klass": classify(kind, agent).value,
            "link_id": None if link is None else self.links[link],
            "at": NIGHT + timedelta(seconds=seconds),
            "user_agent": agent,
            "address": address,
        }
        with writing(self.engine) as connection:
            connection.execute(insert(interactions).values(row))
            mark_bursts(connection, interactions.c.address == address)

    def classed(self) -> list[str]:
        """Return the classes of all hits, in the order in which they were written."""
        with reading(self.engine) as connection:
            return list(connection.scalars(select(interactions.c.klass).order_by(interactions.c.id)))


@pytest.fixture
def hits(engine: Engine) -> Hits:
    """Give a place to write hits, on both databases."""
    return Hits(engine)


def test_a_scanner_follows_every_link_of_a_message(hits: Hits) -> None:
    hits.add(0, hits.sent[0])  # it loads the picture as well
    for number, link in enumerate((0, 1, 2)):
        hits.add(1 + number, hits.sent[0], link)
    hits.add(2, hits.sent[0], address="home")  # the person at another place
    hits.add(900, hits.sent[0])  # and later, at the office
    hits.add(901, hits.sent[0], 0)
    assert hits.classed() == ["machine"] * 4 + ["human"] * 3


def test_a_scanner_stands_in_front_of_many_mailboxes(hits: Hits) -> None:
    for number in range(4):
        hits.add(number, hits.sent[number], 0)
    assert hits.classed() == ["machine"] * 4


def test_people_are_fast_too(hits: Hits) -> None:
    hits.add(0, hits.sent[0], 0)
    hits.add(2, hits.sent[0], 1)  # two links of one message
    hits.add(3, hits.sent[0], 1)  # pressed twice
    hits.add(0, hits.sent[1], 0)
    hits.add(4, hits.sent[2], 0)  # three colleagues
    for number in range(6):
        hits.add(20 + 6 * number, hits.sent[number], 0)  # one after the other
    for number in range(6):
        hits.add(100, hits.sent[number], 0, address=f"home {number}")  # at the same second, each at home
    for number, message in enumerate((*hits.sent[:3], *hits.others[:3])):
        hits.add(200, message, 0, campaign="sleeping" if number < 3 else "thanks")
    for number in range(6):
        hits.add(300, hits.sent[number], 0, address=None)  # we do not know from where
    assert hits.classed() == ["human"] * len(hits.classed())


def test_the_border_of_a_burst_is_five_seconds(hits: Hits) -> None:
    for seconds, link in ((0, 0), (5, 1), (10, 2)):
        hits.add(seconds, hits.sent[0], link)
    assert hits.classed() == ["human", "machine", "human"], "only the one in the middle has both others near"
    for seconds, link in ((60, 0), (65.001, 1), (70.002, 2)):
        hits.add(seconds, hits.sent[1], link)
    assert hits.classed()[3:] == ["human"] * 3


def test_classing_anew_gives_the_same(hits: Hits) -> None:
    for number in range(6):
        hits.add(number, hits.sent[number], 0)
        hits.add(number + 0.5, hits.sent[number])
        hits.add(number, hits.sent[number], agent="Mozilla/5.0", address="apple")
        hits.add(40 * number, hits.sent[number], 1, address="home")
        hits.add(40 * number, hits.sent[number], agent="curl/8.5.0", address="home")
    before = hits.classed()
    assert set(before) == {"human", "machine", "proxy"}
    with writing(hits.engine) as connection:
        assert reclassify(connection, NIGHT) == 0
    assert hits.classed() == before
    with writing(hits.engine) as connection:
        connection.execute(update(interactions).values(klass="human"))
    with writing(hits.engine) as connection:
        assert reclassify(connection, NIGHT) == sum(klass != "human" for klass in before)
    assert hits.classed() == before


def test_classing_anew_from_the_middle_of_a_burst_gives_the_same(hits: Hits) -> None:
    for number in range(6):
        hits.add(number, hits.sent[number], 0)
    with writing(hits.engine) as connection:
        assert reclassify(connection, NIGHT + timedelta(seconds=3)) == 0
    assert hits.classed() == ["machine"] * 6


def test_erasing_somebody_changes_no_class(shop: Shop) -> None:
    hits = Hits(shop.engine)
    hits.add(0, hits.sent[0])
    hits.add(1, hits.sent[0], 0)
    with writing(shop.engine) as connection:
        person = connection.scalar(select(customers.c.id).where(customers.c.external_id == "C0"))
        connection.execute(update(interactions).values(customer_id=person))
        assert person is not None
        erase_customer(connection, person, now=NIGHT, key=b"key", source="test")
    with writing(shop.engine) as connection:
        assert reclassify(connection, NIGHT) == 0
    assert hits.classed() == ["human", "human"]


def test_the_application_finds_bursts_by_itself(shop: Shop) -> None:
    hits = Hits(shop.engine)
    for link in hits.links[:3]:
        shop.call("GET", f"/c/{shop.token('click', hits.sent[0], link)}", agent=CHROME)
        shop.now += timedelta(seconds=1)
    assert hits.classed() == ["machine"] * 3
