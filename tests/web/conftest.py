"""A real browser, and the pages of a small shop on a real server."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Error, Page, ViewportSize, sync_playwright
from starlette.types import ASGIApp

from tests.web.shops import NOW, fill_shop, write_shop
from winback.store import open_engine
from winback.web.app import create_app

#: Set to the program of a Chromium to use that one.
CHROMIUM_VARIABLE = "WINBACK_CHROMIUM"

PHONE: ViewportSize = {"width": 360, "height": 760}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a headless Chromium: the one the environment names, the system's, or playwright's own."""
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"])
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no browser here: set {CHROMIUM_VARIABLE} or install chromium ({str(error).splitlines()[0]})")
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Give a function that opens an address in a fresh browser profile; requests to anywhere but loopback fail the test."""
    contexts = []
    elsewhere: list[str] = []

    def go(address: str, *, width: int = DESKTOP["width"], dark: bool = False, javascript: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": PHONE["height"] if width < 500 else DESKTOP["height"]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
        )
        contexts.append(context)
        context.on("request", lambda request: _note(request.url, elsewhere))
        page = context.new_page()
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()
    assert elsewhere == [], "a page asked another host for something"


def _note(address: str, elsewhere: list[str]) -> None:
    if not address.startswith(("http://127.0.0.1:", "data:", "about:", "blob:")):
        elsewhere.append(address)


def chromium() -> str | None:
    """Return the program of a Chromium: the one the environment names, else the system's; None for playwright's own."""
    usual = Path("/usr/bin/chromium")
    return os.environ.get(CHROMIUM_VARIABLE) or shutil.which("chromium") or (str(usual) if usual.exists() else None)


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Run an ASGI application on a real server on loopback; give its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="error", access_log=False, ws="none", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        _wait_until_up(address, thread)
        yield address
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def _wait_until_up(address: str, thread: threading.Thread) -> None:
    transport = httpx.HTTPTransport(retries=20)
    with httpx.Client(transport=transport, timeout=10) as client:
        client.get(f"{address}/healthz")
    assert thread.is_alive(), "the server ended at once"


@pytest.fixture
def shop_root(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a shop's folder with files and people; the test runs on SQLite and on PostgreSQL."""
    monkeypatch.setenv("WINBACK_DATABASE_URL", database_url)
    root = write_shop(tmp_path / "shop")
    engine = open_engine(database_url)
    fill_shop(engine, root)
    engine.dispose()
    return root


@pytest.fixture
def site(shop_root: Path) -> Iterator[str]:
    """Give the address of the shop's pages."""
    with serving(create_app(shop_root, now=lambda: NOW)) as address:
        yield address


@pytest.fixture
def client(site: str) -> Iterator[httpx.Client]:
    """Give an HTTP client for the shop's pages."""
    with httpx.Client(base_url=site, timeout=30) as made:
        yield made
