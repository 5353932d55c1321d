"""A no is taken at once, from any agent, as often as it comes; looking changes nothing; service messages are another matter."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.rows import add_customer, add_message, add_order
from tests.track.shops import Shop
from winback.policy import Action, recheck
from winback.store import consents, customers, interactions, reading, writing
from winback.store.erasure import erase_customer
from winback.track.page_words import LANGUAGES, words_for

#: Agents that really send the POST, or nothing at all.
AGENTS = ["", "Mozilla/5.0", "GmailImageProxy", "curl/8.5.0", "Yahoo! Slurp", "Apple-Mail/1", "\xff\xfe"]

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def _sent(shop: Shop, external_id: str = "C1", *, locale: str | None = None, **columns: Any) -> str:
    """Send somebody a message; return the address of its unsubscribe page."""
    with writing(shop.engine) as connection:
        person = add_customer(connection, external_id, shop.now, locale=locale, sms_marketing=True, sms_service=True)
        message = add_message(connection, person, shop.now - timedelta(hours=1), **columns)
    return f"/u/{shop.token('unsubscribe', message)}"


def _allowed(shop: Shop, external_id: str = "C1") -> dict[str, bool | None]:
    with reading(shop.engine) as connection:
        person = connection.execute(select(customers).where(customers.c.external_id == external_id)).one()
    names = ("email_marketing", "email_service", "sms_marketing", "sms_service")
    return {name: getattr(person, name) for name in names}


def _all_but(*names: str) -> dict[str, bool]:
    return {name: name not in names for name in ("email_marketing", "email_service", "sms_marketing", "sms_service")}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_changes_nothing(shop: Shop, method: str) -> None:
    page = _sent(shop)
    for agent in AGENTS:
        reply = shop.call(method, page, agent=agent)
        assert reply.status_code == 200
    assert _allowed(shop) == _all_but()
    assert shop.records(consents) == shop.records(interactions) == []
    if method == "GET":
        assert "Do you want no more marketing e-mail from Half Note?" in reply.text
        assert 'name="action" value="unsubscribe"' in reply.text


def test_the_page_says_once_whose_it_is(shop: Shop) -> None:
    settings = shop.project.settings
    address = "Half Note, Torstraße 140, 10119 Berlin"
    named = settings.model_copy(update={"shop": settings.shop.model_copy(update={"postal_address": address})})
    shop.project = replace(shop.project, settings=named)
    assert f"<p>{address}</p>" in shop.call("GET", _sent(shop)).text


def test_one_click_works_from_any_agent_without_a_cookie(shop: Shop) -> None:
    for number, agent in enumerate(AGENTS):
        reply = shop.call("POST", _sent(shop, f"C{number}"), agent=agent, data=ONE_CLICK)
        assert reply.status_code == 200
        assert "set-cookie" not in reply.headers
        assert _allowed(shop, f"C{number}") == _all_but("email_marketing")
    assert shop.rows(consents, "channel", "purpose", "granted", "source", "at") == [
        ("email", "marketing", False, "one-click", shop.now)
    ] * len(AGENTS)


def test_doing_it_often_is_doing_it_once(shop: Shop) -> None:
    page = _sent(shop)
    for _ in range(3):
        assert shop.call("POST", page, data=ONE_CLICK).status_code == 200
        assert shop.call("POST", page, data={"action": "unsubscribe"}).status_code == 200
    assert len(shop.records(consents)) == 1
    assert shop.rows(interactions, "kind", "klass", "campaign", "step") == [("unsubscribe", "human", "sleeping", "hello")]


ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"data": ONE_CLICK}, "one-click"),
    ({"files": {"List-Unsubscribe": (None, "One-Click")}}, "one-click"),  # RFC 8058, 3.2: multipart is allowed
    ({"content": b"List-Unsubscribe=One-Click"}, "one-click"),  # without a Content-Type
    ({"data": {"action": "unsubscribe"}}, "unsubscribe page"),
    ({"content": b""}, "unsubscribe page"),
    ({"content": b"\xff\x00&&=;%zz"}, "unsubscribe page"),
    ({"data": {"action": "resubscribe", **ONE_CLICK}}, "one-click"),
]


def test_whatever_the_body_is_a_post_is_a_no(shop: Shop) -> None:
    for number, (body, _) in enumerate(ANSWERS):
        assert shop.call("POST", _sent(shop, f"C{number}"), **body).status_code == 200
    assert shop.rows(consents, "granted", "source") == [(False, source) for _, source in ANSWERS]


def test_a_body_beyond_reason_is_refused(shop: Shop) -> None:
    assert shop.call("POST", _sent(shop), content=b"x" * 20_000).status_code == 413
    assert shop.records(consents) == []


def test_somebody_who_never_was_asked_can_say_no(shop: Shop) -> None:
    page = _sent(shop)
    with writing(shop.engine) as connection:
        connection.execute(update(customers).values(email_marketing=None))
    shop.call("POST", page, data=ONE_CLICK)
    assert _allowed(shop)["email_marketing"] is False


def test_a_no_is_for_the_channel_and_purpose_of_the_message(shop: Shop) -> None:
    for number, (channel, purpose) in enumerate((c, p) for c in ("email", "sms") for p in ("marketing", "service")):
        page = _sent(shop, f"C{number}", channel=channel, purpose=purpose)
        reply = shop.call("POST", page, data=ONE_CLICK)
        assert _allowed(shop, f"C{number}") == _all_but(f"{channel}_{purpose}")
        assert ("Messages about something you ordered may still reach you" in reply.text) == (purpose == "marketing")


def test_the_way_back_only_turns_a_no(shop: Shop) -> None:
    page = _sent(shop)
    with writing(shop.engine) as connection:
        connection.execute(update(customers).values(email_marketing=None))
    shop.call("POST", page, data={"action": "resubscribe"})
    assert _allowed(shop)["email_marketing"] is None, "a link gives no consent that was never asked for"
    done = shop.call("POST", page, data={"action": "unsubscribe"})
    assert 'value="resubscribe"' in done.text
    shop.now += timedelta(minutes=1)
    back = shop.call("POST", page, data={"action": "resubscribe"})
    assert "You are subscribed again" in back.text
    assert _allowed(shop) == _all_but()
    assert shop.rows(consents, "granted", "source") == [(False, "unsubscribe page"), (True, "unsubscribe page")]
    assert 'value="unsubscribe"' in shop.call("GET", page).text


def test_who_was_forgotten_cannot_be_brought_back_by_a_link(shop: Shop) -> None:
    page = _sent(shop)
    with writing(shop.engine) as connection:
        person = connection.scalar(select(customers.c.id))
        assert person is not None
        erase_customer(connection, person, now=shop.now, key=shop.project.key("address"), source="test")
    reply = shop.call("POST", page, data={"action": "resubscribe"})
    assert reply.status_code == 200
    assert "You are unsubscribed" in reply.text
    with reading(shop.engine) as connection:
        assert connection.scalar(select(customers.c.email_marketing)) is False


def test_the_pages_speak_the_customers_language(shop: Shop) -> None:
    for number, (language, words) in enumerate(LANGUAGES.items()):
        page = _sent(shop, f"C{number}", locale="de-AT" if language == "de" else language)
        asked = shop.call("GET", page)
        done = shop.call("POST", page, data={"action": "unsubscribe"})
        back = shop.call("POST", page, data={"action": "resubscribe"})
        for reply, title in ((asked, words.unsubscribe), (done, words.done_title), (back, words.back_title)):
            assert f"<h1>{title}</h1>" in reply.text
            assert f'lang="{language}" dir="{words.direction}"' in reply.text
            assert words.kinds["email_marketing"] in reply.text
            assert reply.headers["content-security-policy"].startswith("default-src 'none'")
            assert reply.headers["cache-control"] == "no-store"


def test_a_language_without_words_gets_the_shops_then_english() -> None:
    assert [words_for(*locales)[0] for locales in [("pt-BR", "de"), ("tlh", None), (None, "fr_CA"), ("AR", "de")]] == [
        *("de", "en", "fr", "ar")
    ]


def test_every_language_says_everything() -> None:
    for language, words in LANGUAGES.items():
        assert set(words.kinds) == set(LANGUAGES["en"].kinds)
        for sentence in (words.ask, words.done, words.back):
            assert sentence.format(what="<what>", shop="<shop>").count("<") == 2, language


def test_a_token_that_is_not_ours_gets_a_page_that_helps(shop: Shop) -> None:
    page = _sent(shop)
    for wrong in (page[:-1], page + "A", "/u/x", "/u/%00", page.replace("/u/", "/u/A")):
        for method in ("GET", "POST"):
            reply = shop.call(method, wrong, **({"data": ONE_CLICK} if method == "POST" else {}))
            assert reply.status_code == 404
            assert "mailto:hello@halfnote.example" in reply.text
    assert _allowed(shop) == _all_but()


def test_a_no_holds_before_the_next_message_goes(shop: Shop) -> None:
    with writing(shop.engine) as connection:
        person = add_customer(connection, "C1", shop.now - timedelta(days=300))
        add_order(connection, "O1", person, shop.now - timedelta(days=120))
        ready = {"state": "sending", "sent_at": None}
        first = add_message(connection, person, shop.now - timedelta(days=3))
        waiting = [
            add_message(connection, person, shop.now, campaign="sleeping", **ready),
            add_message(connection, person, shop.now, campaign="thanks", purpose="service", **ready),
        ]
    with reading(shop.engine) as connection:
        assert recheck(connection, shop.project, waiting, shop.now) == {}
    shop.call("POST", f"/u/{shop.token('unsubscribe', first)}", data=ONE_CLICK)
    with reading(shop.engine) as connection:
        verdicts = recheck(connection, shop.project, waiting, shop.now)
    assert {id_: (verdict.action, verdict.rule) for id_, verdict in verdicts.items()} == {waiting[0]: (Action.SKIP, "no_consent")}
