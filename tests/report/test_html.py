"""The report as one file: nothing from elsewhere, everything escaped, the numbers those of the data, readable anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy import Connection

from tests.project.builder import campaign, email_step
from tests.report.worlds import World, make_project, waking
from tests.web.conftest import browser
from winback.project import Project
from winback.report import Report, Revenue, build_report, to_html, to_json
from winback.store import InteractionClass, InteractionKind, MessageState, open_engine, writing
from winback.store.migrate import migrate

__all__ = ["browser"]

DAY = timedelta(days=1)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


@dataclass
class Element:
    """What the tests look at of an element."""

    tag: str
    attributes: dict[str, str]
    text: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """Parse a page into its elements, each with the text that is directly or deeper inside."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attributes})
        self.elements.append(element)
        if tag not in ("meta", "br"):
            self._open.append(element)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text.append(data)

    def all(self, tag: str) -> Iterator[Element]:
        return (element for element in self.elements if element.tag == tag)

    def texts(self, tag: str) -> list[str]:
        return [" ".join("".join(element.text).split()) for element in self.all(tag)]


#: Words that come from people's files and from mails, for `busy`.
WORDS = {
    "shop": "Half Note",
    "title": "Thanks",
    "goal": "More",
    "label": "See what is new",
    "reason": "no_consent",
    "conversion": "order",
}

#: States that no person sees.
_UNSEEN = (MessageState.SKIPPED, MessageState.FAILED, MessageState.CANCELLED, MessageState.UNCERTAIN, MessageState.PLANNED)


def busy(connection: Connection, folder: Path, now: datetime, **words: str) -> World:
    """Write a shop in which everything that a report can show has happened."""
    given = WORDS | words
    arms = {"b": {"subject": "B"}}
    project = make_project(
        folder,
        {"shop": {"name": given["shop"], "zone": "America/New_York", "locale": "en-US", "currency": "USD"}},
        thanks=campaign(title=given["title"], audience={"preset": "after_order"}, goal=given["goal"]),
        wake=waking(
            variants={"b": "50%"},
            measure={"holdout": "10%", "conversion": given["conversion"]},
            steps=[email_step("hello", variants=arms), email_step("offer", after="7d")],
        ),
    )
    world = World(connection, project, now)
    for name in ("a", "b"):
        world.crowd(60, 12, now - 40 * DAY, variant=name)
    world.crowd(40, 2, now - 40 * DAY, held_out=True)
    link = world.link("https://shop.example/new?utm_source=winback", given["label"])
    for campaign_name in ("wake", "thanks", "gone"):
        for number, klass in enumerate((*InteractionClass, InteractionClass.HUMAN)):
            customer, message = world.reach(now - (3 + number) * DAY, campaign=campaign_name, variant="a")
            world.came_back(message, InteractionKind.OPEN, now - 2 * DAY, klass)
            world.came_back(message, InteractionKind.CLICK, now - 2 * DAY, klass, link_id=link)
            world.order(customer, now - DAY, 4321, currency=("USD", "EUR")[number % 2])
        for state in _UNSEEN:
            reason = given["reason"] if state is MessageState.SKIPPED else None
            world.message(world.enroll(now - DAY, campaign=campaign_name), now - DAY, state=state, reason=reason)
    world.attribute()
    return world


@pytest.fixture(scope="module")
def busy_shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Report]:
    """Give the report of a busy shop; what HTML is made of it does not depend on the database."""
    folder = tmp_path_factory.mktemp("busy")
    now = datetime.fromisoformat("2026-11-24T10:00:00+00:00")
    engine = open_engine(f"sqlite:///{folder}/winback.sqlite")
    migrate(engine)
    with writing(engine) as connection:
        world = busy(connection, folder / "shop", now)
        report = build_report(connection, world.project, now)
    engine.dispose()
    return world.project, report


@pytest.fixture(scope="module")
def page(busy_shop: tuple[Project, Report]) -> Page:
    return Page(to_html(busy_shop[1]))


def test_nothing_is_loaded_from_elsewhere(busy_shop: tuple[Project, Report], page: Page) -> None:
    loading = {"src", "srcset", "href", "xlink:href", "action", "poster", "background", "data", "style", "http-equiv", "ping"}
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    for element in page.elements:
        for name in loading & set(element.attributes):
            value = element.attributes[name]
            assert (name == "href" and value.startswith("#")) or name == "http-equiv", f"<{element.tag} {name}={value!r}>"
        assert not any(name.startswith("on") for name in element.attributes)
    assert {"script", "link", "img", "iframe", "object", "form", "base"}.isdisjoint(element.tag for element in page.elements)
    style = "".join(next(page.all("style")).text)
    assert "url(" not in style
    assert "@import" not in style
    assert [each.attributes["content"] for each in page.all("meta") if "http-equiv" in each.attributes] == [policy]


def test_names_of_people_and_files_are_only_text(tmp_path: Path, connection: Connection, now: datetime) -> None:
    hostile = {name: f"{name} {HOSTILE}" for name in ("shop", "title", "goal", "label", "reason")}
    hostile["conversion"] = f"event:did {HOSTILE}"
    world = busy(connection, tmp_path / "shop", now, **hostile)
    text = to_html(build_report(connection, world.project, now))
    parsed = Page(text)
    assert {"script", "img"}.isdisjoint(element.tag for element in parsed.elements)
    assert not any(name.startswith("on") for element in parsed.elements for name in element.attributes)
    shown = "".join(parsed.elements[0].text)
    for name in ("shop", "title", "goal", "label"):
        assert f"{name} {HOSTILE}" in shown
    assert f"did {HOSTILE}" in shown


def test_every_chart_has_a_title_and_says_what_it_shows(page: Page) -> None:
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    charts = [element for element in page.all("svg") if "role" in element.attributes]
    assert len(charts) == 3 * 3 + 2 + 2, "three for each campaign, two for the holdout, two for the test's arm"
    texts = {element.attributes["id"]: "".join(element.text) for element in page.elements if "id" in element.attributes}
    for chart in charts:
        for name in chart.attributes["aria-labelledby"].split():
            assert texts[name].strip()
    funnel = next(text for name, text in texts.items() if name == "c2-funnel-desc")
    assert funnel.startswith("Planned: 129; Sent: 124; Not bounced: 124; Opened by a person: 2;")


def test_the_numbers_of_the_page_are_those_of_the_data(busy_shop: tuple[Project, Report]) -> None:
    found = to_json(busy_shop[1])
    shown = Page(to_html(busy_shop[1]))
    columns = ("Planned", "Sent", "Bounced", "Failed")
    cells = ["".join(each.text).split() for each in shown.all("td") if each.attributes["data-label"] in columns]
    counts = [int(cell[0].replace(",", "")) for cell in cells]
    expected = [campaign["total"]["sent"] for campaign in found["campaigns"]]
    for each in found["campaigns"]:
        for funnel in (*each["steps"], each["total"]):
            expected += [funnel["planned"], funnel["sent"], funnel["bounced"], funnel["failed"]]
    assert counts == expected
    rates = " ".join("".join(element.text) for element in shown.all("text"))
    for each in found["campaigns"]:
        for name in ("opened", "clicked", "converted", "unsubscribed"):
            rate = each["total"]["rates"][name]
            assert f"{rate['count']:,} of {rate['of']:,} {rate['base']}" in rates, f"{each['name']}: {name}"
            assert f"{rate['value']:.1%}" in rates
    text = "".join(shown.elements[0].text)
    assert found["campaigns"][1]["uplift"]["sentence"] in text
    assert found["campaigns"][1]["variants"][0]["sentence"] in text
    assert f"Orders after a message{found['all_conversions']} " in text
    own, other = (next(each["minor"] for each in found["all_revenue"] if each["currency"] == code) for code in ("USD", "EUR"))
    assert f"Their value${own / 100:,.2f}€{other / 100:,.2f}" in text, "the shop's own currency first"


def test_json_survives_being_written_and_read(busy_shop: tuple[Project, Report]) -> None:
    found = to_json(busy_shop[1])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    wake = found["campaigns"][1]
    assert wake["total"]["rates"]["clicked"] == {"count": 2, "of": 124, "base": "sent and not bounced", "value": 2 / 124}
    assert wake["uplift"]["against"]["rate"]["base"] == "people left alone"
    assert wake["uplift"]["verdict"] in ("more", "too_small")
    assert found["at"] == "2026-11-24T10:00:00+00:00"
    assert wake["days"][0]["on"] == "2026-10-15"


def test_references_are_lines_and_no_promise(busy_shop: tuple[Project, Report], page: Page) -> None:
    marks = [element for element in page.all("line") if element.attributes.get("class") == "mark"]
    assert len(marks) == 3, "of the thank-you letters only"
    text = "".join(page.elements[0].text)
    assert "line: 42.5% elsewhere" in text
    assert "Public reference for thank-you letters after a purchase." in text
    assert "it is no promise, and no goal" in text


def test_a_campaign_that_is_gone_says_so(page: Page) -> None:
    assert page.texts("h2")[2] == "gone"
    assert "This campaign is no longer in the files." in "".join(page.elements[0].text)


def test_the_report_of_one_campaign_has_its_title(busy_shop: tuple[Project, Report]) -> None:
    report = busy_shop[1]
    one = Page(to_html(replace(report, campaigns=report.campaigns[1:2])))
    assert one.texts("h1") == ["Wake sleeping customers"]
    assert "All campaigns together" not in [element.attributes.get("aria-label") for element in one.elements]


def test_a_shop_without_campaigns_and_one_without_messages(tmp_path: Path, connection: Connection, now: datetime) -> None:
    project = make_project(tmp_path)
    report = build_report(connection, project, now)
    assert "No message has been planned yet." in to_html(report)
    assert "Nothing to report yet" in to_html(replace(report, campaigns=()))


@pytest.mark.parametrize(
    ("locale", "count", "money"), [("de-DE", "1.240", "43,21\xa0$"), ("en-US", "1,240", "$43.21"), ("xx", "1,240", "US$43.21")]
)
def test_numbers_are_written_as_the_shop_does(busy_shop: tuple[Project, Report], locale: str, count: str, money: str) -> None:
    report = busy_shop[1]
    wake = report.campaigns[1]
    many = replace(wake, total=replace(wake.total, sent=1240, revenue=(Revenue("USD", 4321),)))
    text = to_html(replace(report, locale=locale, campaigns=(many, report.campaigns[0])))
    assert f"<dd>{count} <small>" in text
    assert money in text


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 360, 768, 1200])
def test_the_page_fits_every_screen_and_asks_for_nothing(
    busy_shop: tuple[Project, Report], tmp_path: Path, browser: Browser, width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(busy_shop[1]), encoding="utf-8")
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        opened = context.new_page()
        requests: list[str] = []
        problems: list[str] = []
        opened.on("request", lambda request, into=requests: into.append(request.url))
        opened.on("console", lambda message, into=problems: into.append(message.text))
        opened.goto(file.as_uri())
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        outside = opened.evaluate(
            """() => [...document.querySelectorAll('svg text')].filter(text => {
                 const card = text.closest('.card').getBoundingClientRect(), own = text.getBoundingClientRect();
                 return own.width && (own.left < card.left - 1 || own.right > card.right + 1);
               }).map(text => text.textContent)"""
        )
        assert outside == [], "letters of a chart run out of its card"
        ink, paper = opened.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor].map(color => "
            "color.match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0))"
        )
        assert (ink > paper) == (scheme == "dark")
        assert requests == [file.as_uri()]
        assert problems == []
        context.close()
