"""The JSON API: rows in as from a file, an answer for each, a customer shown, consent taken, somebody forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import insert, select

from tests.rows import add_message
from tests.track.shops import API_KEY, Shop, make_project
from winback.project import load_project
from winback.store import consents, customers, events, messages, order_lines, orders, reading, suppressions, writing

ADA = {
    "id": "C-1",
    "email": " Ada@Example.COM ",
    "phone": "0151 12345678",
    "first_name": "Ada",
    "country": "Germany",
    "locale": "de_AT",
    "birthday": "--12-10",
    "email_marketing": True,
    "attributes": {"tier": "gold", "points": 120, "vip": True, "tags": ["a", "b"]},
}
ORDER = {
    "id": "O-1",
    "customer": "C-1",
    "placed_at": "2026-11-20T10:00:00+01:00",
    "status": "paid",
    "total": "49.80",
    "lines": [
        {"product": "hn-1", "name": "Half Note sampler", "quantity": 2, "price": "19.90"},
        {"product": "hn-2", "price": 10},
    ],
}
EVENT = {
    "id": "E-1",
    "customer": "C-1",
    "name": "webinar_attended",
    "at": "2026-11-21T18:00:00Z",
    "properties": {"topic": "care"},
}


def _results(reply: Any) -> list[str]:
    return [row["result"] for row in reply.json()["results"]]


def _one(shop: Shop, external_id: str = "C-1") -> Any:
    with reading(shop.engine) as connection:
        return connection.execute(select(customers).where(customers.c.external_id == external_id)).one()


def test_a_customer_comes_in_as_from_a_file(shop: Shop) -> None:
    reply = shop.api("POST", "/customers", json=ADA)
    assert (reply.status_code, _results(reply)) == (200, ["inserted"])
    ada = _one(shop)
    assert (ada.email, ada.email_hash) == ("ada@example.com", shop.hash("ada@example.com"))
    assert (ada.phone, ada.country, ada.locale) == ("+4915112345678", "DE", "de-AT")
    assert (ada.birth_year, ada.birth_month, ada.birth_day) == (None, 12, 10)
    assert ada.attributes == {"tier": "gold", "points": 120, "vip": True, "tags": ["a", "b"]}
    assert shop.rows(consents, "channel", "purpose", "granted", "source", "at") == [("email", "marketing", True, "api", shop.now)]
    again = shop.api("POST", "/customers", json=ADA)
    assert (again.json()["unchanged"], _results(again)) == (1, ["unchanged"])


def test_what_is_left_out_stays_and_null_empties(shop: Shop) -> None:
    shop.api("POST", "/customers", json=ADA)
    reply = shop.api("POST", "/customers", json={"id": "C-1", "phone": None, "city": "Wien", "attributes": {"tier": None}})
    assert _results(reply) == ["updated"]
    ada = _one(shop)
    assert (ada.phone, ada.city, ada.first_name) == (None, "Wien", "Ada")
    assert ada.attributes == {"points": 120, "vip": True, "tags": ["a", "b"]}


def test_an_order_comes_in_with_its_lines_and_counts_at_once(shop: Shop) -> None:
    reply = shop.api("POST", "/orders", json=[ORDER])
    assert reply.status_code == 200
    assert {key: reply.json()[key] for key in ("inserted", "customers_created", "rows")} == dict.fromkeys(
        ("inserted", "customers_created", "rows"), 1
    )
    [order] = shop.records(orders)
    assert (order.total_minor, order.currency, order.placed_at) == (4980, "EUR", datetime(2026, 11, 20, 9, tzinfo=UTC))
    assert shop.rows(order_lines, "product_id", "name", "quantity", "price_minor") == [
        ("hn-1", "Half Note sampler", 2, 1990),
        ("hn-2", "hn-2", 1, 1000),
    ]
    person = _one(shop)
    assert (person.order_count, person.spent_minor, person.last_order_id) == (1, 4980, "O-1")
    assert _results(shop.api("POST", "/orders", json=[ORDER])) == ["unchanged"]
    assert _results(shop.api("POST", "/orders", json={"id": "O-1", "status": "refunded"})) == ["updated"]
    assert _one(shop).order_count == 0


def test_an_order_finds_its_customer_by_address_and_its_total_in_its_lines(shop: Shop) -> None:
    shop.api("POST", "/customers", json=ADA)
    order = {key: value for key, value in ORDER.items() if key not in ("customer", "total")} | {"email": "ada@example.com"}
    assert shop.api("POST", "/orders", json=order).json()["customers_created"] == 0
    assert shop.rows(orders, "customer_id", "total_minor") == [(_one(shop).id, 4980)]


def test_an_event_counts_once(shop: Shop) -> None:
    assert _results(shop.api("POST", "/events", json=[EVENT, {**EVENT, "id": "E-2"}])) == ["inserted"] * 2
    assert _results(shop.api("POST", "/events", json=EVENT)) == ["unchanged"]
    nameless = {key: value for key, value in EVENT.items() if key != "id"}
    assert [_results(shop.api("POST", "/events", json=nameless)) for _ in range(2)] == [["inserted"], ["unchanged"]]
    assert {tuple(row) for row in shop.rows(events, "name")} == {("webinar_attended",)}
    assert shop.records(events)[0].properties == {"topic": "care"}


def test_each_row_gets_its_own_answer_and_a_bad_one_stops_no_other(shop: Shop) -> None:
    shop.api("POST", "/orders", json=[ORDER, {**ORDER, "id": "O-2"}])
    rows: list[Any] = [
        ORDER,
        {**ORDER, "id": "O-2", "total": "1.00"},
        {**ORDER, "id": 3},
        {**ORDER, "id": "O-4", "total": "12.345"},
        {**ORDER, "id": "O-5", "statsu": "paid"},
        {**ORDER, "id": "O-6", "placed_at": "yesterday"},
        "O-7",
        {key: value for key, value in ORDER.items() if key != "customer"} | {"id": "O-8"},
        {**ORDER, "id": "O-9", "delivered_at": "1970-01-01"},
    ]
    reply = shop.api("POST", "/orders", json=rows)
    assert reply.status_code == 200
    answer = reply.json()
    assert _results(reply) == [*("unchanged", "updated", "inserted"), *["rejected"] * 5, "inserted"]
    assert [answer[name] for name in ("rows", "inserted", "updated", "unchanged", "rejected")] == [9, 2, 1, 1, 5]
    assert [row.get("id") for row in answer["results"]] == ["O-1", "O-2", "3", "O-4", "O-5", "O-6", None, "O-8", "O-9"]
    reasons = [row["reason"] for row in answer["results"] if row["result"] == "rejected"]
    assert reasons == [
        "total is more decimals than EUR has: '12.345'",
        "statsu: there is no such key, did you mean 'status'?",
        'placed_at: a moment is a text in ISO 8601, like "2026-11-24T10:00:00+01:00"',
        "not an object",
        "customer is empty, and the order is not known yet",
    ]
    assert answer["results"][8]["warnings"] == ["delivered_at is a placeholder instead of a date: '1970-01-01T00:00:00'"]
    assert [external_id for (external_id,) in shop.rows(orders, "external_id")] == ["O-1", "O-2", "3", "O-9"]


def test_the_last_of_several_rows_with_one_id_counts(shop: Shop) -> None:
    reply = shop.api("POST", "/customers", json=[{"id": "C-1", "city": "Graz"}, {"id": "C-1", "city": "Wien"}])
    assert _results(reply) == ["unchanged", "inserted"]
    assert _one(shop).city == "Wien"


def test_a_value_that_cannot_be_used_is_told_and_the_row_kept(shop: Shop) -> None:
    reply = shop.api("POST", "/customers", json=[{"id": f"C-{n}", "email": "nobody", "phone": "12"} for n in range(120)])
    assert reply.json()["inserted"] == 120
    warnings = [row["warnings"] for row in reply.json()["results"]]
    assert all(len(each) == 2 for each in warnings), "of every row, not of the first hundred"
    assert warnings[0][0].startswith("email is not an e-mail address")


def test_nothing_but_rejected_rows_is_422(shop: Shop) -> None:
    reply = shop.api("POST", "/customers", json=[{"id": "C-1", "emial": "x"}, 7])
    assert (reply.status_code, reply.json()["detail"]) == (422, "No row could be used.")
    assert _results(reply) == ["rejected"] * 2
    assert shop.api("POST", "/customers", json=[]).json() == {
        "rows": 0, "inserted": 0, "updated": 0, "unchanged": 0, "rejected": 0,
        "customers_created": 0, "results": [], "notes": [],
    }  # fmt: skip


def test_a_yes_never_undoes_a_later_no(shop: Shop) -> None:
    shop.api("POST", "/customers", json=ADA)
    shop.now += timedelta(hours=1)
    assert _results(shop.api("POST", "/customers", json={"id": "C-1", "email_marketing": False})) == ["updated"]
    shop.now += timedelta(hours=1)
    reply = shop.api("POST", "/customers", json=ADA)
    assert _results(reply) == ["unchanged"]
    assert "the no stays" in reply.json()["notes"][0]
    assert _one(shop).email_marketing is False
    dated = {"id": "C-1", "email_marketing": True, "consent_at": (shop.now - timedelta(minutes=1)).isoformat()}
    assert _results(shop.api("POST", "/customers", json=dated | {"consent_source": "checkout"})) == ["updated"]
    assert _one(shop).email_marketing is True


def test_a_call_is_written_whole_or_not_at_all(shop: Shop) -> None:
    body = b'[{"id": "C-1"}, {"id": "C-2"'
    assert shop.api("POST", "/customers", content=body).status_code == 400
    assert shop.records(customers) == []


def test_a_customer_is_shown(shop: Shop) -> None:
    shop.api("POST", "/customers", json=ADA)
    shop.api("POST", "/orders", json=ORDER)
    with writing(shop.engine) as connection:
        row = {"channel": "sms", "address_hash": shop.hash("+4915112345678"), "reason": "hard_bounce"}
        connection.execute(insert(suppressions).values(**row, at=shop.now, source="test"))
    reply = shop.api("GET", "/customers/C-1")
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    shown = reply.json()
    assert (shown["id"], shown["email"], shown["birthday"]) == ("C-1", "ada@example.com", "--12-10")
    assert shown["consent"] == {"email_marketing": True, "email_service": None, "sms_marketing": None, "sms_service": None}
    assert shown["orders"] == {
        "count": 1, "spent": "49.80", "currency": "EUR", "first_at": "2026-11-20T09:00:00Z", "last_at": "2026-11-20T09:00:00Z",
        "last_id": "O-1", "median_gap_days": None,
    }  # fmt: skip
    assert shown["suppressed"] == {"sms": "hard_bounce"}


def test_ids_may_be_any_text(shop: Shop) -> None:
    for customer in ("a/b ü", "mail@example.com", "100%", "x/consent", "..a", "?#&=+"):
        shop.api("POST", "/customers", json={"id": customer})
        path = f"/customers/{quote(customer, safe='')}"
        assert shop.api("GET", path).json()["id"] == customer
        assert shop.api("POST", f"{path}/consent", json={"channel": "sms", "granted": True}).json()["changed"] is True
        assert shop.api("DELETE", path).status_code == 204


def test_consent_given_elsewhere_is_written_into_the_log_once(shop: Shop) -> None:
    shop.api("POST", "/customers", json={"id": "C-1"})
    yes = {"channel": "email", "granted": True, "source": "phone call", "wording": "2026-03"}
    reply = shop.api("POST", "/customers/C-1/consent", json=yes)
    assert reply.json()["changed"] is True
    assert reply.json()["consent"]["email_marketing"] is True
    assert shop.api("POST", "/customers/C-1/consent", json=yes).json()["changed"] is False
    shop.now += timedelta(hours=1)
    no = {"channel": "email", "granted": False, "source": "letter", "at": "2026-11-24T11:00:00"}
    for changed in (True, False):
        assert shop.api("POST", "/customers/C-1/consent", json=no).json()["changed"] is changed
    assert shop.rows(consents, "granted", "source", "wording", "at") == [
        (True, "phone call", "2026-03", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        (False, "letter", None, datetime(2026, 11, 24, 10, tzinfo=UTC)),  # 11:00 in Berlin
    ]
    assert _one(shop).email_marketing is False
    old = {"channel": "email", "granted": True, "at": "2026-01-01"}
    assert shop.api("POST", "/customers/C-1/consent", json=old).json()["consent"]["email_marketing"] is False


NO_CONSENTS = [
    ({}, "channel is missing; granted is missing"),
    ([], "Input should be"),
    ({"channel": "fax", "granted": True}, "channel: Input should be 'email' or 'sms'"),
    ({"channel": "sms", "granted": "yes"}, "granted: Input should be a valid boolean"),
    ({"channel": "sms", "granted": 1}, "granted: Input should be a valid boolean"),
    ({"channel": "sms", "granted": True, "at": "2027-01-01"}, "at is in the future"),
    ({"channel": "sms", "granted": True, "at": "0001-01-01T00:00:00+14:00"}, "no date of this calendar"),
    ({"channel": "sms", "granted": True, "source": "a\0b"}, "NUL"),
    ({"channel": "sms", "granted": True, "source": ""}, "source: "),
    ({"channel": "sms", "granted": True, "form": "x"}, "form: there is no such key"),
]


def test_a_consent_that_cannot_be_used_is_refused(shop: Shop) -> None:
    shop.api("POST", "/customers", json={"id": "C-1"})
    for body, reason in NO_CONSENTS:
        reply = shop.api("POST", "/customers/C-1/consent", json=body)
        assert reply.status_code == 422, body
        assert reason in reply.json()["detail"]
    assert shop.records(consents) == []


def test_who_is_forgotten_stays_forgotten(shop: Shop) -> None:
    shop.api("POST", "/customers", json=ADA)
    shop.api("POST", "/orders", json=ORDER)
    with writing(shop.engine) as connection:
        add_message(connection, _one(shop).id, shop.now, subject="Ada, look")
    assert [shop.api("DELETE", "/customers/C-1").status_code for _ in range(3)] == [204] * 3
    assert shop.api("GET", "/customers/C-1").status_code == 404
    assert shop.rows(messages, "subject") == [(None,)]
    assert sorted(shop.rows(suppressions, "channel", "reason")) == [("email", "erased"), ("sms", "erased")]
    for path, row in (("/customers", ADA), ("/customers", ADA | {"id": "C-2"}), ("/orders", ORDER | {"id": "O-2"})):
        reply = shop.api("POST", path, json=row)
        assert _results(reply) == ["unchanged"]
    assert len(shop.records(customers)) == len(shop.records(orders)) == 1


def test_who_is_not_there_is_404(shop: Shop) -> None:
    for customer in ("C-404", "%00", "a%00b", ""):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/consent")):
            given = {"json": {"channel": "sms", "granted": True}} if path else {}
            reply = shop.api(method, f"/customers/{customer}{path}", **given)
            assert (reply.status_code, reply.json()) == (404, {"detail": "There is no such customer."}), (method, customer)


def test_campaigns_are_listed_with_their_messages(shop: Shop) -> None:
    shop.api("POST", "/customers", json=ADA)
    with writing(shop.engine) as connection:
        add_message(connection, _one(shop).id, shop.now)
    found = {campaign["name"]: campaign for campaign in shop.api("GET", "/campaigns").json()}
    assert set(found) == {"sleeping", "thanks", "lesson"}
    assert found["sleeping"]["messages"] == {"sent": 1}
    assert (found["thanks"]["purpose"], found["thanks"]["enabled"], found["thanks"]["paused"]) == ("service", True, False)


CALLS = [
    ("POST", "/customers"), ("POST", "/orders"), ("POST", "/events"), ("GET", "/customers/C-1"), ("DELETE", "/customers/C-1"),
    ("POST", "/customers/C-1/consent"), ("GET", "/campaigns"),
]  # fmt: skip


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_calls_tested_for_the_key_are_all_there_are(shop: Shop) -> None:
    schema = shop.call("GET", "/api/openapi.json").json()
    found = {(method.upper(), path.removeprefix("/api/v1")) for path, methods in schema["paths"].items() for method in methods}
    assert found == {(method, path.replace("C-1", "{customer}")) for method, path in CALLS}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_without_the_key_nobody_is_let_in(shop: Shop) -> None:
    key = API_KEY.encode()
    wrong = [None, b"", b"Bearer", b"Bearer ", b"Bearer x", b"Bearer " + key[:-1], b"Bearer " + key + b"x", b"Basic " + key, key]
    for method, path in CALLS:
        for header in wrong:
            headers = {} if header is None else {b"authorization": header}
            reply = _raw(shop, method, path, headers)
            assert reply.status_code == 401, (method, path, header)
            assert reply.headers["www-authenticate"] == "Bearer"
            assert "API key" in reply.json()["detail"]


def _raw(shop: Shop, method: str, path: str, headers: dict[bytes, bytes]) -> httpx.Response:
    return shop.run(lambda web: web.request(method, f"/api/v1{path}", headers=headers, content=b"x" * 6_000_000))


@pytest.mark.parametrize("backend", ["sqlite"])
def test_without_a_configured_key_the_api_is_closed(shop: Shop, tmp_path: Path) -> None:
    (shop.project.root / "api.key").unlink()
    reply = shop.api("GET", "/campaigns")
    assert reply.status_code == 403
    assert "cannot be read" in reply.json()["detail"]
    config = shop.project.root / "config.toml"
    config.write_text(config.read_text().replace('api_key = { file = "api.key" }, ', ""))
    shop.project = load_project(shop.project.root)
    assert shop.project.settings.web.api_key is None
    reply = shop.api("GET", "/campaigns")
    assert (reply.status_code, "set web.api_key in config.toml" in reply.json()["detail"]) == (403, True)
    assert make_project(tmp_path / "other").settings.web.api_key is not None


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_schema_tells_what_rows_look_like(shop: Shop) -> None:
    schema = shop.call("GET", "/api/openapi.json").json()
    post = schema["paths"]["/api/v1/orders"]["post"]
    one, several = post["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert one["required"] == ["id"]
    assert one["properties"]["lines"]["anyOf"][0]["items"]["required"] == ["product", "price"]
    assert several["maxItems"] == 1000
    assert "$defs" not in str(post)
    assert {"200", "400", "401", "403", "413", "422", "503"} <= set(post["responses"])
    assert post["security"] == [{"API key": []}]
    assert schema["components"]["securitySchemes"]["API key"]["scheme"] == "bearer"
