"""Templates: strict about names, escaping in HTML only, errors with file, line and remedy, nothing that leaves the sandbox."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from babel import Locale

from winback.compose.message import Money
from winback.compose.place import Place, choose_locale
from winback.compose.render import Renderer
from winback.errors import RenderError

HERE = Place(Locale("en", "US"), ZoneInfo("Europe/Berlin"))

VARIABLES: dict[str, Any] = {
    "customer": {"first_name": None, "last_name": "<b>&Co", "attributes": {"items": 3, "pet name": "Rex"}},
    "order": None,
    "today": date(2026, 11, 24),
    "shop": {"name": "Q&A Records"},
}


def _render(tmp_path: Path, source: str, name: str = "letter.email.html", **variables: Any) -> str:
    (tmp_path / "templates").mkdir(exist_ok=True)
    (tmp_path / "templates" / name).write_text(source, encoding="utf-8")
    return Renderer(tmp_path, tmp_path / "templates").render(name, {**VARIABLES, **variables}, HERE)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ custmer.first_name }}", "there is no variable 'custmer'; did you mean 'customer'?"),
        ("{{ customer.frist_name }}", "there is no 'frist_name' here; did you mean 'first_name'?"),
        ("Hello {{ customer.first_name }}", "is empty for this recipient"),
        ("{{ order.number }}", "'number' was asked of something that is empty"),
        ("{{ 5 | money }}", "the filter money wants an amount"),
        ("{{ 'soon' | date }}", "the filter date wants a date"),
        ("{{ shop.name | mony }}", "this is not a template"),
        ("{% if customer %}", "this is not a template"),
        ("{% extends 'nothing.html' %}", "there is no template nothing.html"),
        ("{{ ''.__class__.__mro__ }}", "templates may not do this"),
        ("{{ customer.update({'x': 1}) }}", "templates may not do this"),
        ("{{ lipsum.__globals__ }}", "templates may not do this"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_printed_fails_with_its_place(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(RenderError) as caught:
        _render(tmp_path, f"<p>\n</p>\n{source}")
    error = caught.value
    assert said in error.problem
    assert error.remedy
    assert (str(error.file), error.line) in (("templates/letter.email.html", 3), ("templates/letter.email.html", 0))
    assert str(error).startswith("templates/letter.email.html:3: ") or error.line == 0


def test_html_is_escaped_and_nothing_else(tmp_path: Path) -> None:
    assert _render(tmp_path, "{{ customer.last_name }}") == "&lt;b&gt;&amp;Co"
    assert _render(tmp_path, "{{ customer.last_name }}", "letter.email.txt") == "<b>&Co"
    assert _render(tmp_path, "{{ shop.name }}", "letter.sms.txt") == "Q&A Records"
    renderer = Renderer(tmp_path, tmp_path / "templates")
    assert renderer.render_text("News from {{ shop.name }}\n ", VARIABLES, HERE, file=tmp_path / "x.toml", key="subject") == (
        "News from Q&A Records"
    )


def test_fallbacks_and_tests_of_empty_values(tmp_path: Path) -> None:
    assert _render(tmp_path, "{{ customer.first_name | default('you', true) }}") == "you"
    assert _render(tmp_path, "{% if customer.first_name %}x{% else %}y{% endif %}{% if order %}z{% endif %}") == "y"


def test_an_attribute_named_like_a_method_is_a_value(tmp_path: Path) -> None:
    assert _render(tmp_path, "{{ customer.attributes.items }} {{ customer.attributes['pet name'] }}") == "3 Rex"


@pytest.mark.parametrize(
    ("source", "locale", "text"),
    [
        ("{{ m | money }}", Locale("en", "US"), "$1,234.50"),
        ("{{ m | money }}", Locale("de", "DE"), "1.234,50\xa0$"),
        ("{{ y | money }}", Locale("ja", "JP"), "￥1,500"),
        ("{{ today | date }}", Locale("en", "GB"), "24 November 2026"),
        ("{{ today | date('d MMM') }}", Locale("de", "DE"), "24 Nov."),
        ("{{ late | datetime('short') }}", Locale("de", "DE"), "25.11.26, 00:30"),  # in Berlin it is the next day
        ("{{ 1234.5 | number }}", Locale("de", "DE"), "1.234,5"),
    ],
)
def test_values_are_written_as_the_reader_does(tmp_path: Path, source: str, locale: Locale, text: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/x.sms.txt").write_text(source, encoding="utf-8")
    variables = {
        **VARIABLES,
        "m": Money(123450, "USD"),
        "y": Money(1500, "JPY"),
        "late": datetime(2026, 11, 24, 23, 30, tzinfo=UTC),
    }
    found = Renderer(tmp_path, tmp_path / "templates").render("x.sms.txt", variables, Place(locale, ZoneInfo("Europe/Berlin")))
    assert found == text


@pytest.mark.parametrize(
    ("text", "customer", "country", "expected"),
    [
        ("en", None, None, "en"),
        ("en", "de-AT", "AT", "en_AT"),
        ("de", "de-CH", None, "de_CH"),
        ("en", "nonsense", "XX", "en"),
        ("ar", "ar", "EG", "ar_EG"),
    ],
)
def test_the_language_is_the_templates_and_the_customs_are_the_countrys(
    text: str, customer: str | None, country: str | None, expected: str
) -> None:
    assert str(choose_locale(text, customer, country)) == expected
