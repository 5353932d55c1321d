"""One order's thank-you, from the demo shop's own files through a real mail server into a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ViewportSize
from selectolax.lexbor import LexborHTMLParser
from sqlalchemy import Engine, insert, select

from tests.rows import add_customer, add_order
from tests.servers.smtp import smtp_server
from tests.web.conftest import browser, serving
from winback.addresses import hash_address
from winback.project import load_project
from winback.scheduler import run_pass
from winback.starter import copy_shop
from winback.store import links, open_engine, order_lines, reading, writing
from winback.store.migrate import migrate
from winback.web.app import create_app

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
PUBLIC = "http://127.0.0.1:8025"

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Give the shop's folder, and the bytes that the mail server got."""
    root = tmp_path_factory.mktemp("shop") / "shop"
    copy_shop(root)
    with smtp_server() as server:
        config = root / "config.toml"
        relay = f'\n[gateways.relay]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {server.port}\ntls = "none"\n'
        config.write_text(config.read_text().replace('email = "outbox"', 'email = "relay"') + relay)
        project = load_project(root, environ={})
        engine = open_engine(project.settings.database.url, root=root)
        migrate(engine)
        with writing(engine) as connection:
            address = "zoe@example.com"
            customer = add_customer(
                connection, "C1", NOW - timedelta(days=9), first_name="Zoë & Co", email=address, locale="en-GB", country="GB",
                email_hash=hash_address(address, project.key("address")),
            )  # fmt: skip
        run_pass(engine, project, NOW - timedelta(days=2), "test")
        order = _order(engine, customer)
        passes = [run_pass(engine, project, NOW - timedelta(hours=48 - hours), "test") for hours in range(0, 49, 6)]
        outcomes = [(done.planned, done.sent, done.skipped, done.errors) for done in passes]
        messages = list(server.messages)
        engine.dispose()
    assert order
    assert len(messages) == 1, outcomes
    return root, messages[0].content


def _order(engine: Engine, customer: int) -> int:
    with writing(engine) as connection:
        order = add_order(connection, "HN-1", customer, NOW - timedelta(days=1, hours=6), total_minor=4_398)
        for position, name in enumerate(("Kind of Blue", "Äther & Öl <live>"), 1):
            line = {"order_id": order, "position": position, "product_id": f"P{position}", "name": name, "category": "Jazz"}
            connection.execute(
                insert(order_lines).values(**line, quantity=1, price_minor=2_199, url=f"https://halfnote.example/p/{position}")
            )
    return order


def _parsed(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_it_is_parsed_back_without_defects(sent: tuple[Path, bytes]) -> None:
    message = _parsed(sent[1])
    assert [part.defects for part in message.walk()] == [[], [], []]
    assert all(not header.defects for part in message.walk() for header in part.values())
    assert message["To"] == "zoe@example.com"
    assert "Zoë & Co" in message["Subject"]
    assert "Äther & Öl <live>" in _part(message, "plain")
    assert "$43.98" in _part(message, "plain")
    assert "Äther &amp; Öl &lt;live&gt;" in _part(message, "html")


def test_the_unsubscribe_header_is_whole_on_the_wire(sent: tuple[Path, bytes]) -> None:
    head = sent[1].partition(b"\r\n\r\n")[0]
    [address] = re.findall(rb"^List-Unsubscribe: <([^>\r\n]+)>\r$", head + b"\r", re.MULTILINE)
    assert address.startswith(f"{PUBLIC}/u/".encode())
    assert address.decode() in unescape(_part(_parsed(sent[1]), "html"))
    assert re.search(rb"^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r$", head, re.MULTILINE)


def test_its_links_lead_to_their_targets(sent: tuple[Path, bytes]) -> None:
    root, content = sent
    html = _part(_parsed(content), "html")
    hrefs = {unescape(node.attributes["href"] or "") for node in LexborHTMLParser(html).css("a[href]")}
    tracked = {href for href in hrefs if href.startswith(f"{PUBLIC}/c/")}
    assert len(tracked) >= 4
    assert {href for href in hrefs if href.startswith("tel:")} == {"tel:+493012345670"} or any(
        href.startswith("tel:") for href in hrefs
    )
    project = load_project(root, environ={})
    engine = open_engine(project.settings.database.url, root=root)
    with reading(engine) as connection:
        stored = set(connection.scalars(select(links.c.url)))
    engine.dispose()
    with serving(create_app(root, now=lambda: NOW)) as address, httpx.Client(base_url=address) as client:
        targets = {client.get(urlsplit(href).path).headers["location"] for href in tracked}
        page = client.get(urlsplit(next(href for href in hrefs if "/u/" in href)).path)
    assert targets <= stored
    assert {urlsplit(target)._replace(query="").geturl() for target in targets} >= {
        "https://halfnote.example/p/1",
        "https://halfnote.example/p/2",
    }
    assert all("utm_campaign=thank_you" in target for target in targets)
    assert page.status_code == 200


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 640])
def test_it_reads_well_in_a_browser(sent: tuple[Path, bytes], browser: Browser, tmp_path: Path, width: int) -> None:
    file = tmp_path / "letter.html"
    file.write_text(_part(_parsed(sent[1]), "html"), encoding="utf-8")
    size: ViewportSize = {"width": width, "height": 900}
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_by_text("Äther & Öl <live>").is_visible()
        button = page.get_by_role("link", name="See where your order is")
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        page.screenshot(path=tmp_path / f"letter-{width}-{scheme}.png", full_page=True)
        assert (tmp_path / f"letter-{width}-{scheme}.png").stat().st_size > 10_000
        context.close()
