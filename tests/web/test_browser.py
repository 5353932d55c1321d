"""The pages walked through in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, select

from tests.web.conftest import PHONE, serving
from tests.web.shops import NOW, fill_shop, write_shop
from winback.store import interactions, open_engine, reading
from winback.store.migrate import migrate
from winback.web.app import create_app

pytestmark = pytest.mark.browser

Open = Callable[..., Page]

ADDRESSES = (
    "/",
    "/campaigns/thanks",
    "/campaigns/wake",
    "/campaigns/thanks/preview/hello",
    "/campaigns/thanks/preview/check",
    "/campaigns/wake/preview/news",
    "/customers",
    "/customers?q=nobody",
    "/customers/C1?part=why",
    "/outbox",
    "/report",
    "/nothing",
)


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Engine]]:
    """Give the address and the database of one shop for all walks of this module."""
    root = write_shop(tmp_path_factory.mktemp("shop"))
    engine = open_engine("sqlite:///var/winback.sqlite", root=root)
    migrate(engine)
    fill_shop(engine, root)
    with serving(create_app(root, now=lambda: NOW)) as address:
        yield address, engine
    engine.dispose()


@pytest.fixture
def site(small_shop: tuple[str, Engine]) -> str:
    return small_shop[0]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_page_is_wider_than_a_phone(site: str, open_page: Open, address: str) -> None:
    page = open_page(site + address, width=PHONE["width"])
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_are_sound_in_a_browser(site: str, open_page: Open, address: str) -> None:
    """No script of a name ran, nothing was refused by the policy, every field and frame has a name, there is one h1."""
    page = open_page("about:blank")
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(site + address)
    page.wait_for_load_state("networkidle")
    expected = [] if address != "/nothing" else [text for text in complaints if "404" in text]
    assert complaints == expected
    assert page.title() not in ("", "broken")
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.evaluate(UNNAMED) == []


#: Controls, frames and pictures a screen reader could not name, and ids that are there twice.
UNNAMED = """() => {
  const bad = [];
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (!(field.labels && field.labels.length) && !field.getAttribute("aria-label")) bad.push(field.outerHTML);
  for (const item of document.querySelectorAll("a, button"))
    if (!item.textContent.trim() && !item.getAttribute("aria-label")) bad.push(item.outerHTML);
  for (const frame of document.querySelectorAll("iframe")) if (!frame.title) bad.push(frame.outerHTML);
  for (const svg of document.querySelectorAll("svg"))
    if (!svg.closest("[aria-hidden=true]") && !svg.getAttribute("aria-label") && !svg.querySelector("title"))
      bad.push(svg.outerHTML.slice(0, 200));
  const ids = [...document.querySelectorAll("[id]")].map((item) => item.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) bad.push("twice: " + id);
  for (const item of document.querySelectorAll("[aria-labelledby]"))
    for (const id of item.getAttribute("aria-labelledby").split(" "))
      if (!document.getElementById(id)) bad.push("no label: " + item.outerHTML.slice(0, 200));
  return bad;
}"""


def test_the_first_key_skips_to_the_content_and_focus_can_be_seen(site: str, open_page: Open) -> None:
    page = open_page(site)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    overview = page.get_by_role("link", name="Overview")
    expect(overview).to_be_focused()
    assert overview.evaluate("item => getComputedStyle(item).outlineStyle") == "solid"


def test_from_the_overview_to_a_message(site: str, open_page: Open) -> None:
    page = open_page(site)
    page.get_by_role("link", name="Wake sleeping customers").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Wake sleeping customers")
    page.get_by_role("link", name="See its messages").click()
    expect(page.locator(".subject")).to_have_text("Here is what is new")
    page.get_by_role("group", name="Arm of the test").get_by_role("link", name="b", exact=True).click()
    expect(page.locator(".subject")).to_have_text("We kept something for you")
    expect(page.frame_locator("iframe[title='The message on a phone']").get_by_text("News for")).to_be_visible()
    page.get_by_label("Customer").fill("C2")
    page.get_by_role("button", name="Show").click()
    expect(page.frame_locator("iframe[title='The message on a computer']").get_by_text("News for Ada.")).to_be_visible()
    assert "variant=b" in page.url
    page.get_by_role("group", name="Channel").get_by_role("link", name="SMS").click()
    expect(page.get_by_text("News at Half Note")).to_be_visible()  # Ada has no phone: it can be looked at all the same


def test_the_search_answers_while_typing(site: str, open_page: Open) -> None:
    page = open_page(site + "/customers")
    page.get_by_label("Id, e-mail, phone or name").press_sequentially("lovel", delay=10)
    expect(page.locator("#found tbody tr")).to_have_count(1)
    expect(page).to_have_url(site + "/customers?q=lovel")
    page.get_by_role("link", name="Ada Lovelace").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Lovelace")


def test_why_and_why_not_comes_by_itself(site: str, open_page: Open) -> None:
    page = open_page(site + "/customers/C6")
    wake = page.locator("details.why").filter(has_text="Wake sleeping customers")
    wake.locator("summary").click()
    expect(wake.get_by_text("Has an address: has no address on this channel")).to_be_visible()


def test_everything_works_without_scripts(site: str, open_page: Open) -> None:
    page = open_page(site + "/customers", javascript=False)
    page.get_by_label("Id, e-mail, phone or name").fill("lovelace")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Ada Lovelace").click()
    page.get_by_role("link", name="Ask every campaign about Ada Lovelace").click()
    expect(page.locator("details.why")).to_have_count(2)
    page.goto(site + "/outbox")
    page.locator(".letter").first.click()
    expect(page.locator(".letterhead .subject")).to_be_visible()


def test_reading_the_outbox_counts_nothing(small_shop: tuple[str, Engine], open_page: Open) -> None:
    site, engine = small_shop
    page = open_page(site + "/outbox?campaign=thanks")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.get_by_role("link").filter(has_text="Ada Lovelace").click()
    letter = page.frame_locator("#open iframe")
    expect(letter.get_by_text("Thank you, Ada.")).to_be_visible()
    expect(page.locator(".letter[aria-current]")).to_have_count(1)
    assert letter.locator("a").first.evaluate("link => link.ownerDocument.querySelector('base').target") == "_blank"
    assert not any("/o/" in address or "logo.png" in address for address in requested)
    page.get_by_role("link", name="Text part").click()
    expect(page.locator(".plaintext")).to_contain_text("Thank you, Ada.")
    page.get_by_role("link", name="Source").click()
    expect(page.locator(".source")).to_contain_text("List-Unsubscribe")
    with reading(engine) as connection:
        assert connection.scalar(select(interactions.c.id).limit(1)) is None


def test_the_outbox_on_a_phone_goes_from_list_to_message_and_back(site: str, open_page: Open) -> None:
    page = open_page(site + "/outbox", width=PHONE["width"])
    expect(page.locator("#open")).to_be_hidden()
    page.locator(".letter").first.click()
    expect(page.locator(".letterhead .subject")).to_be_visible()
    expect(page.locator(".letters")).to_be_hidden()
    page.get_by_role("link", name="All messages").click()
    expect(page.locator(".letters")).to_be_visible()


def test_pause_and_resume_with_the_keyboard(site: str, open_page: Open) -> None:
    page = open_page(site + "/campaigns/wake")
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.get_by_text("Nobody comes in and nothing goes out.")).to_be_visible()
    page.get_by_role("button", name="Resume").press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_signing_in(tmp_path: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "correct horse")
    root = write_shop(tmp_path, {"password": '{ env = "SHOP_PASSWORD" }'})
    with serving(create_app(root, now=lambda: NOW)) as address:
        page = open_page(address + "/customers")
        expect(page.get_by_label("Password")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That is not the password.")
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Customers")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        page.goto(address + "/customers")
        expect(page.get_by_label("Password")).to_be_visible()


def test_dark_mode_is_readable(site: str, open_page: Open) -> None:
    page = open_page(site, dark=True)
    ink, paper = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    assert _luminance(ink) > 0.7
    assert _luminance(paper) < 0.05


def _luminance(color: str) -> float:
    red, green, blue = (int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
