"""docs/api.md and docs/tracking.md are about what is really there, and their examples work."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from pydantic import BaseModel

from tests.track.shops import Shop
from winback.track.api_models import ConsentRow, CustomerRow, EventRow, OrderLineRow, OrderRow, RowsAnswer
from winback.track.api_rows import ROWS
from winback.track.hits import BURST, BURST_LINKS, BURST_MESSAGES
from winback.track.page_words import LANGUAGES
from winback.track.stop_words import STOP

DOCS = Path(__file__).resolve().parents[2] / "docs"
API = (DOCS / "api.md").read_text(encoding="utf-8")
TRACKING = (DOCS / "tracking.md").read_text(encoding="utf-8")

WORDS = {3: "three", 4: "four", 5: "five"}

_on_one_database = pytest.mark.parametrize("backend", ["sqlite"])


def _section(call: str) -> str:
    found = re.search(rf"^### `{re.escape(call)}`\n(.*?)(?=^##)", API, re.MULTILINE | re.DOTALL)
    assert found, f"docs/api.md has no section ### `{call}`"
    return found[1]


def _schema(shop: Shop) -> dict[str, Any]:
    return dict(shop.call("GET", "/api/openapi.json").json())


@_on_one_database
def test_every_endpoint_stands_in_the_docs_and_no_other(shop: Shop) -> None:
    calls = {f"{method.upper()} {path}" for path, methods in _schema(shop)["paths"].items() for method in methods}
    assert set(re.findall(r"^### `([A-Z]+ [^`]+)`$", API, re.MULTILINE)) == calls
    for call in calls:
        assert "curl" in _section(call), call


@pytest.mark.parametrize(
    ("call", "models"),
    [
        ("POST /api/v1/customers", [CustomerRow]),
        ("POST /api/v1/orders", [OrderRow, OrderLineRow]),
        ("POST /api/v1/events", [EventRow]),
        ("POST /api/v1/customers/{customer}/consent", [ConsentRow]),
    ],
)
def test_every_key_stands_in_its_section_and_no_other(call: str, models: list[type[BaseModel]]) -> None:
    rows = [row.split("|") for row in _section(call).splitlines() if row.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row[1])}
    assert named == set(models[0].model_fields)
    for model in models[1:]:
        lines = next(row[2] for row in rows if "`lines`" in row[1])
        assert set(re.findall(r"`(\w+)`", lines)) == set(model.model_fields)


@_on_one_database
def test_every_status_is_explained(shop: Shop) -> None:
    answers = {status for methods in _schema(shop)["paths"].values() for call in methods.values() for status in call["responses"]}
    named = set(re.findall(r"^\| (\d{3}) \|", API, re.MULTILINE))
    assert named == {status for status in answers if not status.startswith("2")}


def test_the_example_of_an_answer_has_its_shape() -> None:
    [example] = re.findall(r"^```json\n(.*?)^```", API, re.MULTILINE | re.DOTALL)
    RowsAnswer.model_validate_json(example)
    assert f"up to {ROWS}" in API


@_on_one_database
def test_the_examples_work_one_after_the_other(shop: Shop) -> None:
    calls = [shlex.split(call) for call in re.findall(r"^(curl .*?[\"'])$", API, re.MULTILINE | re.DOTALL)]
    assert len(calls) == API.count("\ncurl ")
    for call in calls:
        [address] = [part for part in call if part.startswith("$SHOP")]
        body = call[call.index("-d") + 1] if "-d" in call else None
        method = call[call.index("-X") + 1] if "-X" in call else "POST" if body else "GET"
        assert call[1:3] == ["-H", "$KEY"]
        reply = shop.api(method, address.removeprefix("$SHOP/api/v1"), content=body)
        assert reply.status_code in (200, 204), f"{address}: {reply.text}"
        if reply.status_code == 200 and "results" in reply.json():
            assert [row["result"] for row in reply.json()["results"]] in (["inserted"], ["updated"]), body
            assert [row["warnings"] for row in reply.json()["results"]] == [[]]
        assert body is None or json.loads(body)


def test_every_language_of_stop_and_of_the_pages_is_named() -> None:
    english = Locale("en")
    for language in STOP:
        assert english.languages[{"no": "nb"}.get(language, language)].removesuffix(" Bokmål") in TRACKING, language
    for language in LANGUAGES:
        assert english.languages[language] in TRACKING


def test_the_rule_about_speed_is_the_one_that_is_used() -> None:
    said = (
        f"within {WORDS[round(BURST.total_seconds())]} seconds {WORDS[BURST_LINKS]} different links of one message, "
        f"or links in {WORDS[BURST_MESSAGES]} messages of a campaign"
    )
    assert said in TRACKING
