"""Every page, over HTTP, on both databases: what it says, what it must not say, and what it does."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import Engine, select

from tests.web.conftest import serving
from tests.web.shops import NOW, SCRIPT, write_shop
from winback.store import campaign_states, interactions, messages, reading
from winback.web.app import create_app

PAGES = (
    "/",
    "/campaigns/thanks",
    "/campaigns/wake",
    "/campaigns/thanks/preview/hello",
    "/campaigns/thanks/preview/check",
    "/campaigns/thanks/preview/hello?customer=C1",
    "/campaigns/wake/preview/news?variant=b&customer=C2",
    "/campaigns/wake/preview/news?channel=sms&customer=C3",
    "/campaigns/thanks/preview/hello/mail?customer=C1",
    "/customers",
    "/customers?q=script",
    "/customers?q=nobody%25_",
    "/customers/C1",
    "/customers/C1?part=why",
    "/customers/C6?part=why",
    "/outbox",
    "/outbox?campaign=thanks",
    "/outbox?page=7",
    "/report",
    "/report?campaign=wake",
    "/report/file",
    "/report/file?campaign=thanks",
)


def sent(client: httpx.Client) -> str:
    """Return the address of an e-mail to C1 in the outbox."""
    found = re.findall(r'<a class="letter" href="(/outbox/[0-9a-f-]{36})', client.get("/outbox?campaign=thanks").text)
    return next(address for address in found if "c1@example.com" in client.get(address).text)


def test_every_page_answers_and_names_are_only_text(client: httpx.Client) -> None:
    letter = sent(client)
    for address in (*PAGES, letter, f"{letter}?view=text", f"{letter}?view=source", f"{letter}/mail"):
        answer = client.get(address)
        assert answer.status_code == 200, f"{address}: {answer.text[:500]}"
        assert SCRIPT not in answer.text, address
        assert "Traceback" not in answer.text


def test_the_overview_shows_campaigns_results_and_passes(client: httpx.Client) -> None:
    text = client.get("/").text
    assert "Wake sleeping customers" in text
    assert "Today, Tuesday 24 November" in text
    assert "Europe/Berlin" in text
    assert "live</span>" in text
    assert "Recent passes" in text


def test_a_campaign_names_the_denominators_and_the_reasons(client: httpx.Client) -> None:
    text = client.get("/campaigns/wake").text
    assert "In the audience" in text
    assert "Has no address on this channel" in text
    assert "sent and not bounced" in text
    assert "10% of the people are left alone" in text


@pytest.mark.parametrize(
    "address",
    [
        "/campaigns/nothing",
        "/campaigns/thanks/preview/nothing",
        "/campaigns/nothing/preview/hello",
        "/customers/nobody",
        "/outbox/nothing",
        "/outbox/00000000-0000-0000-0000-000000000000",
        "/report?campaign=nothing",
        "/nothing/at/all",
        "/static/nothing.css",
        f"/customers/{quote(SCRIPT, safe='')}",
    ],
)
def test_what_does_not_exist_is_said_kindly(client: httpx.Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "<h1>Nothing here</h1>" in answer.text
    assert 'href="/"' in answer.text
    assert SCRIPT not in answer.text


def test_a_customer_with_slashes_in_the_id_is_found(client: httpx.Client) -> None:
    found = re.search(r'href="(/customers/C4[^"]+)"', client.get("/customers?q=hopper").text)
    assert found
    assert "Grace Hopper" in client.get(found[1]).text


def test_a_search_needs_every_word_and_takes_signs_as_they_are(client: httpx.Client) -> None:
    assert "Lovelace" in client.get("/customers?q=ada+lovelace").text
    assert "Nobody found" in client.get("/customers?q=ada+hopper").text
    assert "Nobody found" in client.get("/customers?q=%25").text
    assert "Ada" in client.get("/customers?q=c2@EXAMPLE.com").text


def test_the_search_answers_htmx_with_the_list_alone(client: httpx.Client) -> None:
    text = client.get("/customers?q=ada", headers={"HX-Request": "true"}).text
    assert "Lovelace" in text
    assert "<html" not in text


def test_why_names_the_rule_that_says_no(client: httpx.Client) -> None:
    text = client.get("/customers/C6?part=why").text
    assert "Has an address: has no address on this channel" in text
    assert "since 22 Nov: finished" in client.get("/customers/D3?part=why").text


def test_pausing_stops_a_campaign_and_resuming_lets_it_go_on(client: httpx.Client, engine: Engine) -> None:
    def paused() -> object:
        with reading(engine) as connection:
            return connection.scalar(select(campaign_states.c.paused_at).where(campaign_states.c.name == "wake"))

    assert client.post("/campaigns/wake/pause", data={"csrf": _token(client)}).status_code == 303
    assert paused() == NOW
    text = client.get("/campaigns/wake").text
    assert "paused</span>" in text
    assert client.post("/campaigns/wake/resume", data={"csrf": _token(client)}).headers["location"] == "/campaigns/wake"
    assert paused() is None


def test_looking_at_a_message_is_no_opening_and_loads_nothing(client: httpx.Client, engine: Engine) -> None:
    letter = sent(client)
    source = client.get(f"{letter}?view=source").text
    assert "/o/" in source, "the message itself has a tracking pixel"
    mail = client.get(f"{letter}/mail")
    assert "/o/" not in mail.text
    policy = mail.headers["content-security-policy"]
    assert "img-src data:" in policy
    assert "default-src 'none'" in policy
    assert "allow-scripts" not in policy
    with reading(engine) as connection:
        assert connection.scalar(select(interactions.c.id).limit(1)) is None


def test_a_preview_leads_straight_to_the_targets_and_keeps_nothing(client: httpx.Client, engine: Engine) -> None:
    with reading(engine) as connection:
        before = connection.execute(select(messages.c.id)).all()
    mail = client.get("/campaigns/thanks/preview/hello/mail?customer=C2").text
    assert "Thank you, Ada." in mail
    assert "https://halfnote.example/care" in mail
    assert "/c/" not in mail
    assert "/o/" not in mail
    with reading(engine) as connection:
        assert connection.execute(select(messages.c.id)).all() == before


def test_a_preview_for_nobody_says_so(client: httpx.Client) -> None:
    text = client.get("/campaigns/thanks/preview/hello?customer=nobody").text
    assert "there is no customer &#39;nobody&#39;" in text


def test_a_preview_counts_the_parts_of_a_text(client: httpx.Client) -> None:
    text = client.get("/campaigns/thanks/preview/check").text
    assert "Did everything arrive?" in text
    assert ">1 part</h2>" in text
    assert "GSM-7" in text


def test_the_report_can_be_saved(client: httpx.Client) -> None:
    answer = client.get("/report/file?campaign=wake&save=1")
    assert answer.headers["content-disposition"] == 'attachment; filename="report-wake-2026-11-24.html"'


def test_changed_files_are_read_again_and_broken_ones_are_not_used(shop_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("winback.project.watch._LOOK_EVERY", 0.0)
    with serving(create_app(shop_root, now=lambda: NOW)) as address, httpx.Client(base_url=address) as client:
        file = shop_root / "campaigns" / "wake.toml"
        good = file.read_text()
        file.write_text(good.replace("Wake sleeping customers", "Good morning"))
        assert "Good morning" in client.get("/").text
        file.write_text("title = ")
        text = client.get("/").text
        assert "Good morning" in text
        assert "The shop’s files have" in text
        assert "wake.toml" in text
        file.write_text(good)
        text = client.get("/").text
        assert "Wake sleeping customers" in text
        assert "The shop’s files have" not in text


def test_an_empty_shop_says_what_to_do_next(tmp_path: Path) -> None:
    root = write_shop(tmp_path / "empty")
    for file in (root / "campaigns").iterdir():
        file.unlink()
    with serving(create_app(root, now=lambda: NOW)) as address, httpx.Client(base_url=address) as client:
        text = client.get("/").text
        assert "winback import customers" in text
        assert "No campaigns yet" in text
        assert "winback daemon" in text
        assert "winback import customers" in client.get("/customers").text
        assert "Nothing was sent yet" in client.get("/outbox").text
        assert "Nothing to report yet" in client.get("/report").text


def test_health_and_numbers_for_machines(client: httpx.Client, shop_root: Path, engine: Engine) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    text = client.get("/metrics").text
    assert 'winback_messages{campaign="thanks",channel="email",state="sent"} 2.0' in text
    assert "winback_last_pass_timestamp_seconds" in text
    assert "example.com" not in text, "no personal data"


def _token(client: httpx.Client) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/campaigns/wake").text)
    assert found
    return found[1]
