"""The pixel always comes, a click leads only where the ledger says, and every hit is written, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import Engine, event, func, select, text

from tests.rows import add_customer, add_message
from tests.track.shops import BROWSER, CALLER, Shop
from winback.store import customers, interactions, reading, writing
from winback.store.erasure import erase_customer
from winback.track.app import PIXEL

TARGET = "https://halfnote.example/records?a=1&a=2&utm_source=winback&utm_medium=email#side-b"


def _sent(shop: Shop, external_id: str = "C1", **columns: object) -> str:
    with writing(shop.engine) as connection:
        customer = add_customer(connection, external_id, shop.now)
        return add_message(connection, customer, shop.now - timedelta(hours=1), **columns)


def _broken(token: str) -> list[str]:
    """Return what becomes of a token on its way, and what people try."""
    changed = [token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :] for n in range(0, len(token), 5)]
    return [*changed, token[:-1], token + "A", token.lower(), "x", "%00", "é" * 36]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_pixel_comes_fresh_every_time(shop: Shop, method: str) -> None:
    message = _sent(shop)
    reply = shop.call(method, f"/o/{shop.token('open', message)}.gif")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/gif")
    assert "no-store" in reply.headers["cache-control"]
    assert PIXEL.startswith(b"GIF89a")
    if method == "GET":
        assert reply.content == PIXEL
    [hit] = shop.records(interactions)
    assert (hit.message_id, hit.kind, hit.at) == (message, "open", shop.now)
    assert hit.klass == {"GET": "human", "HEAD": "machine"}[method]


def test_a_pixel_that_is_not_ours_comes_too_and_counts_nothing(shop: Shop) -> None:
    message = _sent(shop)
    for token in [*_broken(shop.token("open", message)), shop.token("click", message)]:
        reply = shop.call("GET", f"/o/{token}.gif")
        assert (reply.status_code, reply.content) == (200, PIXEL)
    assert shop.records(interactions) == []


def test_a_click_leads_to_the_stored_link_byte_for_byte(shop: Shop) -> None:
    message, link = _sent(shop), shop.link(TARGET)
    reply = shop.call("GET", f"/c/{shop.token('click', message, link)}?next=https://evil.example")
    assert (reply.status_code, reply.headers["location"]) == (302, TARGET)
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    [hit] = shop.records(interactions)
    assert (hit.kind, hit.link_id, hit.klass, hit.campaign, hit.step) == ("click", link, "human", "sleeping", "hello")
    assert (hit.user_agent, hit.address) == (BROWSER, shop.hash(CALLER))


#: What the template wrote, and what a browser is told.
LINKS = [
    ("https://halfnote.example/a%20b?x=%26&y=%3D%", None),
    ("https://halfnote.example/?q=a+b&redirect=https%3A%2F%2Fother.example%2F", None),
    ("https://halfnote.example/#/route?x=1", None),
    ("https://halfnote.example/page;v=1?a=1;b=2&empty=&c&c", None),
    ("https://halfnote.example/?t={a|b}^`~\\'()*,!$@[]\"<>", None),
    ("https://user@halfnote.example:8443//double//slash/../x", None),
    ("HTTPS://HalfNote.Example/Case", None),
    ("https://halfnote.example/ä b?q=ü#ß", "https://halfnote.example/%C3%A4%20b?q=%C3%BC#%C3%9F"),
    ("https://bücher.example/?ß=1", "https://xn--bcher-kva.example/?%C3%9F=1"),
    ("https://halfnote.example/a\r\nSet-Cookie: x=1", "https://halfnote.example/aSet-Cookie:%20x=1"),
]


def test_no_kind_of_link_is_bent(shop: Shop) -> None:
    message = _sent(shop)
    for url, told in LINKS:
        reply = shop.call("GET", f"/c/{shop.token('click', message, shop.link(url))}")
        assert reply.status_code == 302
        assert reply.headers["location"] == (told or url)
        assert "set-cookie" not in reply.headers


def test_a_link_that_is_not_ours_leads_nowhere(shop: Shop) -> None:
    message, link = _sent(shop), shop.link(TARGET)
    other = shop.link("https://halfnote.example/other", step="text")
    wrong = [
        *_broken(shop.token("click", message, link)),
        shop.token("click", message, link + 50),  # of no link
        shop.token("click", message, other),  # of another step
        shop.token("click", "00000000-0000-5000-8000-000000000000", link),  # of no message
        shop.token("open", message, link),
    ]
    for token in wrong:
        reply = shop.call("GET", f"/c/{token}")
        assert reply.status_code == 404, token
        assert "location" not in reply.headers
    assert shop.records(interactions) == []


def test_a_proxy_that_we_do_not_trust_makes_nobody_the_same_caller(shop: Shop) -> None:
    message, link = _sent(shop), shop.link(TARGET)
    path = f"/c/{shop.token('click', message, link)}"
    shop.call("GET", path, caller="10.0.0.2", headers={"x-forwarded-for": "93.184.216.34"})
    shop.call("GET", path, caller="93.184.216.34", headers={"x-forwarded-for": "93.184.216.34"})  # as uvicorn puts it in place
    shop.call("GET", path, caller="127.0.0.1")
    assert shop.rows(interactions, "address") == [(None,), (shop.hash("93.184.216.34"),), (shop.hash("127.0.0.1"),)]


def test_hits_of_the_forgotten_carry_nothing_of_them(shop: Shop) -> None:
    message, link = _sent(shop), shop.link(TARGET)
    with writing(shop.engine) as connection:
        person = connection.scalar(select(customers.c.id))
        assert person is not None
        erase_customer(connection, person, now=shop.now, key=shop.project.key("address"), source="test")
    assert shop.call("GET", f"/c/{shop.token('click', message, link)}").status_code == 302
    [hit] = shop.records(interactions)
    assert (hit.kind, hit.klass, hit.user_agent, hit.address) == ("click", "human", None, None)


def test_every_one_of_many_hits_at_once_is_written(shop: Shop) -> None:
    count = 500
    link = shop.link(TARGET)
    with writing(shop.engine) as connection:
        people = [add_customer(connection, f"C{number}", shop.now) for number in range(10)]
        sent = [add_message(connection, person, shop.now) for person in people]
    paths = [
        f"/o/{shop.token('open', sent[n % 10])}.gif" if n % 2 else f"/c/{shop.token('click', sent[n % 10], link)}"
        for n in range(count)
    ]
    transactions: list[int] = []
    event.listen(shop.engine, "commit", lambda _: transactions.append(1))

    async def all_at_once(web: httpx.AsyncClient) -> list[int]:
        return [reply.status_code for reply in await asyncio.gather(*(web.get(path) for path in paths))]

    answers = shop.run(all_at_once)
    assert Counter(answers) == {200: count // 2, 302: count // 2}
    with reading(shop.engine) as connection:
        groups = (interactions.c.message_id, interactions.c.kind)
        counts = connection.execute(select(*groups, func.count()).group_by(*groups)).all()
    # Each message has its own 50 hits, of one kind: those of even places are clicks.
    assert sorted(counts) == sorted((sent[n], "open" if n % 2 else "click", count // 10) for n in range(10))
    assert len(transactions) < count / 5, "hits are to be written together"


def test_a_click_works_while_somebody_else_holds_the_database(shop: Shop, engine: Engine) -> None:
    message, link = _sent(shop), shop.link(TARGET)

    async def click_while_locked(web: httpx.AsyncClient) -> httpx.Response:
        with engine.connect() as other:
            other.execute(text("SELECT 1"))  # on SQLite this transaction is the one writer
            if engine.dialect.name == "postgresql":
                other.execute(text("LOCK TABLE interactions IN EXCLUSIVE MODE"))
            return await web.get(f"/c/{shop.token('click', message, link)}")

    assert shop.run(click_while_locked).headers["location"] == TARGET
    assert len(shop.records(interactions)) == 1


def test_a_reader_sees_the_picture_and_a_click_says_to_come_again_when_the_database_is_gone(shop: Shop) -> None:
    message, link = _sent(shop), shop.link(TARGET)
    opened, clicked, asked = (f"/o/{shop.token('open', message)}.gif", f"/c/{shop.token('click', message, link)}", "/u/")
    asked += shop.token("unsubscribe", message)
    with shop.engine.begin() as connection:
        for name in ("interactions", "links", "messages"):
            connection.execute(text(f"ALTER TABLE {name} RENAME TO {name}_gone"))
    try:
        assert shop.call("GET", opened).content == PIXEL
        for method, path in (("GET", clicked), ("GET", asked), ("POST", asked)):
            reply = shop.call(method, path)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "60"), (method, path)
    finally:
        with shop.engine.begin() as connection:
            for name in ("interactions", "links", "messages"):
                connection.execute(text(f"ALTER TABLE {name}_gone RENAME TO {name}"))
