"""The essentials over a real server on loopback, by a client that knows nothing of us; and what a stop must not lose."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import select, text
from starlette.types import ASGIApp

from tests.rows import add_customer, add_message
from tests.track.shops import API_KEY, BROWSER, Shop, make_project
from winback.store import customers, interactions, orders, reading, writing
from winback.track.app import PIXEL
from winback.web.app import create_app

TARGET = "https://halfnote.example/new?a=1&b=ü#top"


@contextmanager
def _serving(app: ASGIApp) -> Iterator[tuple[int, Callable[[], threading.Thread]]]:
    """Run the application as the daemon does; give its port, and what begins to stop it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()

    def stop() -> threading.Thread:
        server.should_exit = True
        until = time.monotonic() + 30
        while server.servers and any(each.is_serving() for each in server.servers) and time.monotonic() < until:
            thread.join(0.01)
        return thread

    try:
        yield listener.getsockname()[1], stop
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not thread.is_alive()


def _ask(port: int, method: str, path: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
    """Make one call without any of the comforts of a browser: no cookie, no redirect, only the headers that are given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body.encode() if body is not None else None)
    reply = connection.getresponse()
    reply.body = reply.read()  # type: ignore[attr-defined]
    connection.close()
    return reply


def _sent(shop: Shop) -> str:
    with writing(shop.engine) as connection:
        person = add_customer(connection, "C1", shop.now - timedelta(days=9))
        return add_message(connection, person, shop.now - timedelta(hours=1))


def test_a_mails_life_over_a_real_server(shop: Shop) -> None:
    message, link = _sent(shop), shop.link(TARGET)
    with _serving(shop.app) as (port, _):
        opened: Any = _ask(port, "GET", f"/o/{shop.token('open', message)}.gif", User_Agent=BROWSER)
        assert (opened.status, opened.body, opened.headers["Content-Type"]) == (200, PIXEL, "image/gif")
        headed: Any = _ask(port, "HEAD", f"/o/{shop.token('open', message)}.gif")
        assert (headed.status, headed.body, headed.headers["Content-Length"]) == (200, b"", str(len(PIXEL)))
        clicked = _ask(
            port, "GET", f"/c/{shop.token('click', message, link)}", User_Agent=BROWSER, X_Forwarded_For="93.184.216.34"
        )
        assert clicked.status == 302
        assert httpx.URL(clicked.headers["Location"]) == httpx.URL(TARGET)
        page = f"/u/{shop.token('unsubscribe', message)}"
        assert _ask(port, "GET", page).status == 200
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        assert _ask(port, "POST", page, "List-Unsubscribe=One-Click", **form).status == 200
        order = json.dumps({"id": "O1", "customer": "C1", "placed_at": shop.now.isoformat(), "total": "10.00"})
        key = f"Bearer {API_KEY}".encode().decode("latin-1")
        assert _ask(port, "POST", "/api/v1/orders", order).status == 401
        assert _ask(port, "POST", "/api/v1/orders", order, Authorization=key).status == 200
    assert shop.rows(interactions, "kind", "klass", "address") == [
        ("open", "human", shop.hash("127.0.0.1")),
        ("open", "machine", shop.hash("127.0.0.1")),
        ("click", "human", shop.hash("93.184.216.34")),
        ("unsubscribe", "human", None),
    ]
    assert shop.rows(customers, "email_marketing", "order_count") == [(False, 1)]
    assert len(shop.records(orders)) == 1


def test_what_was_answered_is_written_before_the_server_stops(
    shop: Shop, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINBACK_DATABASE_URL", database_url)
    shop.project = make_project(tmp_path / "served")
    message, link = _sent(shop), shop.link(TARGET)
    path = f"/c/{shop.token('click', message, link)}"
    app = create_app(shop.project.root, now=lambda: shop.now)
    with _serving(app) as (port, stop), ThreadPoolExecutor(8) as people:
        with shop.engine.connect() as other:
            other.execute(text("SELECT 1"))  # on SQLite this transaction is the one writer
            if shop.engine.dialect.name == "postgresql":
                other.execute(text("LOCK TABLE interactions IN EXCLUSIVE MODE"))
            answers = list(people.map(lambda _: _ask(port, "GET", path, User_Agent=BROWSER).status, range(8)))
            assert answers == [302] * 8, "a click waits for nobody"
            with reading(shop.engine) as connection:
                assert connection.execute(select(interactions.c.id)).all() == []
            server = stop()
            server.join(0.5)
            assert server.is_alive(), "it waits for what is still to be written"
        server.join(30)
    assert len(shop.records(interactions)) == 8
