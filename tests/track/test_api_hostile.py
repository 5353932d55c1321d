"""Whatever is sent to the JSON API: the answer is 2xx or 4xx, in JSON, and the database stays usable."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.track.shops import Shop
from winback.track.api import BODY_LIMIT
from winback.track.api_rows import ROWS

PATHS = ("/customers", "/orders", "/events", "/customers/C-1/consent")

ORDER = {"id": "O", "customer": "C-1", "placed_at": "2026-11-20", "total": "1"}

#: Bodies that are no rows, as bytes.
BODIES = [
    b"",
    b" ",
    b"{",
    b"[1,]",
    b"null",
    b"true",
    b'"text"',
    b"NaN",
    b"Infinity",
    b'{"id": NaN}',
    b'{"id": "C-1", "attributes": {"x": -Infinity}}',
    b"\xff\xfe",
    b"\xc3\x28",
    '{"id": "C-1"}'.encode("utf-16"),
    b"\xef\xbb\xbf" + b'{"id": "C-2"}',
    b"[" * 100_000,
    b"[" * 5_000 + b"]" * 5_000,
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    b'{"id": ' + b"9" * 5_000 + b"}",
    b'{"id": "C-1", "id": "C-2"}',
    b'{"id": "C-1"}{"id": "C-2"}',
    b"id=C-1&email=a%40example.com",
    b'{"id": "\\u0000"}',
    b'{"id": "\\ud800"}',
    b'{"\\ud800": 1}',
    b'{"\\u0000": 1}',
    b"PK\x03\x04",
]

#: Values that are put into every key of every kind of row.
VALUES: list[Any] = [
    None, True, 0, -1, 10**18, 10**400, 1.5, 1e308, "", " ", "\0", "a\0b", "\ud800", "x" * 100_000, "NULL", [], {}, [[]], [None],
    [{}], {"a": {"b": 1}}, {"": 1}, {"a" * 101: 1}, {"a\0": 1}, {"\ud800": 1}, {"a": "\0"}, {"a": "\ud800"}, {"a": [1, "\0"]},
    {"a": 10**400}, {"a": -(2**63)}, {"a": 2**63 - 1}, {"a": 1e308}, {"a": None}, "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "2026-02-30", "1969-12-31", "24:00", "１２", "²", "1e5", "1,5", "-0", "999999999999999999999",
    "=cmd|' /C calc'!A0", "'; DROP TABLE customers; --", "../../etc/passwd", "é" * 300, "a@" + "b" * 300 + ".com", "@", "a@b",
    "a\r\nBcc: x@example.com", "+" + "9" * 40, [{"product": "p", "price": "9999999999999", "quantity": 1_000_000}] * 1000,
    [{"product": "p", "price": 1, "quantity": -5}], [{"product": ["x"], "price": 1}], [{"product": "p", "price": True}],
    [{"product": "p" * 181, "price": 1}], [{"product": "p", "name": "\0", "price": 1}],
    [{"product": "p", "price": "1", "url": {}}],
]  # fmt: skip

KEYS = {
    "/customers": [
        *("id", "email", "phone", "first_name", "locale", "country", "city", "zone", "birthday", "email_marketing", "consent_at"),
        *("consent_source", "consent_wording", "attributes", "unknown"),
    ],
    "/orders": [
        *("id", "customer", "email", "placed_at", "status", "total", "currency", "delivered_at", "voided_at", "lines"),
        "attributes",
    ],
    "/events": ["id", "customer", "email", "name", "at", "properties"],
}

BASE: dict[str, dict[str, Any]] = {
    "/customers": {"id": "C-1"},
    "/orders": ORDER,
    "/events": {"id": "E", "customer": "C-1", "name": "visit", "at": "2026-11-20"},
}


def _answers_well(shop: Shop, path: str, body: bytes) -> int:
    reply = shop.api("POST", path, content=body)
    assert 200 <= reply.status_code < 300 or 400 <= reply.status_code < 500, (path, body[:200], reply.status_code)
    answer = reply.json()
    if "results" not in answer:
        assert "does not fit" not in answer["detail"], "what the database would refuse is refused before"
    for row in answer.get("results", []):
        assert row["result"] != "rejected" or row["reason"]
        assert len(row.get("reason") or "") <= 300
    return reply.status_code


def _still_works(shop: Shop) -> None:
    assert shop.api("POST", "/customers", json={"id": "C-1", "city": "Berlin"}).status_code == 200
    assert shop.api("POST", "/orders", json=ORDER).status_code == 200
    assert shop.api("GET", "/customers/C-1").status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_no_rows_is_refused(shop: Shop, path: str) -> None:
    for body in BODIES:
        status = _answers_well(shop, path, body)
        assert status == 400 or not (b"NaN" in body or b"Infinity" in body), "JSON has no such numbers"
    _still_works(shop)


@pytest.mark.parametrize("path", KEYS)
def test_any_value_in_any_key_gets_an_answer(shop: Shop, path: str) -> None:
    for key in KEYS[path]:
        rows = [{**BASE[path], "id": f"{number}", key: value} for number, value in enumerate(VALUES)]
        _answers_well(shop, path, json.dumps(rows).encode())
    _still_works(shop)


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_too_large_is_refused_unread(shop: Shop, path: str) -> None:
    assert _answers_well(shop, path, b" " * (BODY_LIMIT + 1)) == 413


def test_too_many_rows_are_refused(shop: Shop) -> None:
    rows = [{"id": f"{number}"} for number in range(ROWS + 1)]
    assert _answers_well(shop, "/customers", json.dumps(rows).encode()) == 413
    assert _answers_well(shop, "/customers", json.dumps(rows[1:]).encode()) == 200


#: Texts with halves of characters and NULs among them.
_TEXT = st.text(st.characters(codec=None), max_size=12)
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | _TEXT
_ANY = st.recursive(_SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=6)


def _rows(path: str) -> st.SearchStrategy[Any]:
    changed = st.dictionaries(st.sampled_from(KEYS[path]) | _TEXT, _ANY, max_size=4)
    return st.lists(changed.map(lambda given: {**BASE[path], **given}), min_size=1, max_size=4) | _ANY


@pytest.mark.parametrize("path", KEYS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_nothing_that_can_be_written_as_json_breaks_it(shop: Shop, path: str, data: st.DataObject) -> None:
    _answers_well(shop, path, json.dumps(data.draw(_rows(path))).encode())


@given(body=st.binary(max_size=200))
@example(body=b'{"id": "C-1", "attributes": {"x": 1e999999999}}')
@example(body=b'{"id": "C-1", "attributes": {"x": 1e-999999999}}')
@example(body=b'{"id": "C-1", "attributes": {"x": 123456789012345678901234567890.5}}')
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_it(shop: Shop, body: bytes) -> None:
    _answers_well(shop, "/customers", body)
