"""The door of the pages: names, password, forms, headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from tests.web.conftest import serving
from tests.web.shops import NOW, write_shop
from winback.errors import InputError
from winback.web.app import create_app
from winback.web.auth import Guesses
from winback.web.security import PUBLIC_PATHS, guard, is_loopback, own_form, signed_in

PASSWORD = "correct horse"
GUARDED = {"password": '{ env = "SHOP_PASSWORD" }', "api_key": '{ env = "SHOP_KEY" }'}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    monkeypatch.setenv("SHOP_KEY", "the-key")


@contextmanager
def pages(root: Path, **web: str) -> Iterator[httpx.Client]:
    """Serve a shop's pages with these lines of `[web]`."""
    app = create_app(write_shop(root, web), now=lambda: NOW)
    with serving(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def token(client: httpx.Client, address: str = "/login") -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get(address).text)
    assert found
    return found[1]


def sign_in(client: httpx.Client, password: str = PASSWORD, **fields: str) -> httpx.Response:
    return client.post("/login", data={"csrf": token(client), "password": password, **fields})


def test_pages_answer_only_to_their_own_names(tmp_path: Path) -> None:
    with pages(tmp_path, public_url='"https://mail.halfnote.example"') as client:
        for host in ("127.0.0.1:8025", "localhost", "[::1]:9"):
            assert client.get("/", headers={"Host": host}).status_code == 200, host
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "10.0.0.1",
            "[",
            "mail.halfnote.example@evil",
        ):
            assert client.get("/customers", headers={"Host": host}).status_code in (400, 421), host


def test_without_a_password_pages_are_for_this_machine_only(tmp_path: Path) -> None:
    with pages(tmp_path, public_url='"https://mail.halfnote.example"') as client:
        assert client.get("/", headers={"Host": "mail.halfnote.example"}).status_code == 403
        answer = client.get("/customers", headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.status_code == 403
        assert "web.password" in answer.text


def test_customers_links_stay_open_to_any_name(tmp_path: Path) -> None:
    with pages(tmp_path, **GUARDED) as client:
        answer = client.get(f"/c/{'A' * 40}", headers={"Host": "links.example", "X-Forwarded-For": "203.0.113.9"})
        assert answer.status_code == 404
        assert "/login" not in answer.headers.get("location", "")
        assert client.get("/healthz", headers={"Host": "anything"}).status_code == 200


def test_an_open_host_needs_a_password(tmp_path: Path) -> None:
    root = write_shop(tmp_path, {"host": '"0.0.0.0"'})
    with pytest.raises((InputError, Exception), match="password"):
        create_app(root)


def test_an_empty_password_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "")
    with pytest.raises(InputError, match="SHOP_PASSWORD is empty"):
        create_app(write_shop(tmp_path, GUARDED))


def test_every_page_is_behind_the_password(tmp_path: Path) -> None:
    app = create_app(write_shop(tmp_path, GUARDED))
    open_to_all = {"/healthz", "/metrics", "/login", "/logout", *PUBLIC_PATHS}
    routes = [route for route in iter_route_contexts(app.routes) if getattr(route, "dependant", None) is not None]
    assert len(routes) > 15
    for route in routes:
        asked = {dependency.call for dependency in route.dependant.dependencies}
        if route.path.startswith(PUBLIC_PATHS) or route.path in ("/healthz", "/metrics"):
            continue
        assert guard in asked, route.path
        assert route.path in open_to_all or signed_in in asked, route.path
        if "POST" in (route.methods or ()):
            assert own_form in asked, route.path


def test_signing_in_leads_back_and_signing_out_ends_it(tmp_path: Path) -> None:
    with pages(tmp_path, **GUARDED) as client:
        answer = client.get("/customers?q=ada")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/login?next=%2Fcustomers%3Fq%3Dada"
        signed = sign_in(client, next="/customers?q=ada")
        assert signed.status_code == 303
        assert signed.headers["location"] == "/customers?q=ada"
        cookie = signed.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert client.get("/customers").status_code == 200
        assert client.post("/logout", data={"csrf": token(client, "/customers")}).status_code == 303
        assert client.get("/customers").status_code == 303


def test_htmx_is_sent_to_the_sign_in_page_too(tmp_path: Path) -> None:
    with pages(tmp_path, **GUARDED) as client:
        answer = client.get("/customers", headers={"HX-Request": "true"})
        assert answer.status_code == 401
        assert answer.headers["hx-redirect"].startswith("/login")


@pytest.mark.parametrize(
    "evil", ["//evil.example", "https://evil.example", "/\\evil.example", "/%2Fevil.example", "/\tevil", "evil"]
)
def test_signing_in_never_leads_elsewhere(tmp_path: Path, evil: str) -> None:
    with pages(tmp_path, **GUARDED) as client:
        assert sign_in(client, next=evil).headers["location"] == "/"


def test_a_wrong_password_is_refused_and_guessing_is_slowed(tmp_path: Path) -> None:
    with pages(tmp_path, **GUARDED) as client:
        for _ in range(8):
            assert sign_in(client, "wrong").status_code == 403
        answer = sign_in(client)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 200
        assert client.get("/customers").status_code == 303


def test_a_right_password_forgets_the_wrong_ones() -> None:
    guesses = Guesses()
    for _ in range(7):
        guesses.wrong("a")
    guesses.right("a")
    guesses.wrong("a")
    assert guesses.wait("a") == 0
    assert guesses.wait("b") == 0


def test_a_new_password_ends_every_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pages(tmp_path, **GUARDED) as client:
        sign_in(client)
        assert client.get("/").status_code == 200
        monkeypatch.setenv("SHOP_PASSWORD", "another")
        assert client.get("/").status_code == 303


def test_a_session_is_new_after_signing_in_and_forged_ones_are_none(tmp_path: Path) -> None:
    with pages(tmp_path, **GUARDED) as client:
        client.get("/login")
        before = client.cookies["winback_session"]
        sign_in(client)
        after = client.cookies["winback_session"]
        assert before != after
        client.cookies.clear()
        for forged in (before, after[:-3] + "aaa", "nonsense", after.replace(".", "")):
            assert client.get("/", headers={"Cookie": f"winback_session={forged}"}).status_code == 303


def test_forms_of_others_are_refused(tmp_path: Path) -> None:
    with pages(tmp_path) as client:
        own = token(client, "/campaigns/wake")
        post = "/campaigns/wake/pause"
        assert client.post(post).status_code == 403
        assert client.post(post, data={"csrf": "0" * 64}).status_code == 403
        assert client.post(post, data={"csrf": "é"}).status_code == 403
        assert client.post(post, data={"csrf": own}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.post(post, data={"csrf": own}, headers={"Host": "evil.example"}).status_code == 421
        with httpx.Client(base_url=client.base_url) as other:
            other.get("/")
            assert other.post(post, data={"csrf": own}).status_code == 403, "another browser's token"
        assert client.post(post, data={"csrf": own}).status_code == 303
        assert client.get(post).status_code == 405


def test_headers_forbid_what_pages_do_not_need(tmp_path: Path) -> None:
    with pages(tmp_path) as client:
        for address in ("/", "/customers", "/nothing"):
            headers = client.get(address).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"
        static = client.get("/static/winback.css").headers
        assert "immutable" in static["cache-control"]


def test_the_cookie_is_for_https_where_the_shop_is(tmp_path: Path) -> None:
    with pages(tmp_path, public_url='"https://mail.halfnote.example"', **GUARDED) as client:
        secure = client.get("/login", headers={"Host": "mail.halfnote.example"}).headers["set-cookie"]
        assert "Secure" in secure
        assert "Secure" not in client.get("/login").headers["set-cookie"]


def test_numbers_need_the_key_where_there_is_a_password(tmp_path: Path) -> None:
    with pages(tmp_path, **GUARDED) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer the-key"}).status_code == 200


def test_no_page_of_the_framework_loads_scripts_from_elsewhere(tmp_path: Path) -> None:
    with pages(tmp_path) as client:
        assert client.get("/docs").status_code == 404
        assert client.get("/redoc").status_code == 404
        assert client.get("/api/openapi.json").json()["info"]["title"] == "winback"
        assert "/customers" not in client.get("/api/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", False), ("shop.example", False)]
)
def test_what_counts_as_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
