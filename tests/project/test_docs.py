"""docs/campaigns.md and docs/settings.md name every key with its default, and their examples load."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter

from tests.project.builder import EMAIL, SMS, campaign, email_step, write_shop
from winback.project import load_project
from winback.project.campaign import (
    CampaignFile,
    Coupon,
    Exit,
    Fallback,
    Limits,
    Measure,
    Schedule,
    Step,
    StepVariant,
)
from winback.project.problems import toml_value
from winback.project.quiet_hours import CountryHours
from winback.project.schema import schema_of
from winback.project.settings import (
    BounceSettings,
    Brand,
    DatabaseSettings,
    DeliverSettings,
    DispatchSettings,
    GatewaySettings,
    ImapSettings,
    LimitSettings,
    PauseSettings,
    PredictionSettings,
    QuietHourSettings,
    RfmSettings,
    ShopSettings,
    TrackingSettings,
    WebSettings,
)
from winback.project.signing import DkimSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"
CAMPAIGNS = DOCS / "campaigns.md"
SETTINGS = DOCS / "settings.md"

#: The section of a page that lists the keys of a table.
TABLES: list[tuple[Path, str, type[BaseModel]]] = [
    (CAMPAIGNS, "`[schedule]`", Schedule),
    (CAMPAIGNS, "`[limits]`", Limits),
    (CAMPAIGNS, "`[measure]`", Measure),
    (CAMPAIGNS, "`[exit]`", Exit),
    (CAMPAIGNS, "`[[steps]]`", Step),
    (CAMPAIGNS, "`fallback`", Fallback),
    (CAMPAIGNS, "`coupon`", Coupon),
    (CAMPAIGNS, "`[steps.variants.b]`", StepVariant),
    (SETTINGS, "`[shop]`", ShopSettings),
    (SETTINGS, "`[shop.brand]`", Brand),
    (SETTINGS, "`[database]`", DatabaseSettings),
    (SETTINGS, "`[web]`", WebSettings),
    (SETTINGS, "`[deliver]`", DeliverSettings),
    (SETTINGS, "`[gateways]`", GatewaySettings),
    (SETTINGS, "`[limits]`", LimitSettings),
    (SETTINGS, "`[quiet_hours]`", QuietHourSettings),
    (SETTINGS, "`[quiet_hours.countries.FR]`", CountryHours),
    (SETTINGS, "`[pause]`", PauseSettings),
    (SETTINGS, "`[rfm]`", RfmSettings),
    (SETTINGS, "`[predictions]`", PredictionSettings),
    (SETTINGS, "`[tracking]`", TrackingSettings),
    (SETTINGS, "`[dispatch]`", DispatchSettings),
    (SETTINGS, "`[dkim]`", DkimSettings),
    (SETTINGS, "`[bounces]`", BounceSettings),
    (SETTINGS, "`[bounces.imap]`", ImapSettings),
]

#: Keys that are described once for all presets, or that are the section's own name.
_ELSEWHERE = {"preset", "where"}

_ROW = re.compile(r"^\| `([^`|]+)` \|([^|]*)\|", re.MULTILINE)


def _section(page: Path, heading: str) -> str:
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {heading}"
    return found[2]


def _rows(page: Path, heading: str) -> dict[str, str]:
    return {key: default.strip() for key, default in _ROW.findall(_section(page, heading))}


@pytest.mark.parametrize(("page", "heading", "model"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_key_stands_in_its_section_with_its_default(page: Path, heading: str, model: type[BaseModel]) -> None:
    _assert_described(page, heading, model)


def test_every_preset_has_a_section_with_its_keys() -> None:
    from winback.audience import Audience

    presets = get_args(get_args(Audience)[0])
    assert presets
    for model in presets:
        [name] = get_args(model.model_fields["preset"].annotation)
        _assert_described(CAMPAIGNS, f'`preset = "{name}"`', model)


def _assert_described(page: Path, heading: str, model: type[BaseModel]) -> None:
    rows = _rows(page, heading)
    properties = schema_of(TypeAdapter(model))["properties"]
    required = schema_of(TypeAdapter(model)).get("required", [])
    keys = set(properties) - (_ELSEWHERE if "preset" in properties else set())
    assert set(rows) == keys
    for key in keys:
        default = properties[key].get("default")
        if key in required:
            assert rows[key].startswith("required"), key
        elif isinstance(default, str | int | bool | list) and (model, key) != (Brand, "logo_text"):
            assert rows[key] == f"`{toml_value(default)}`", key


def test_the_top_of_a_campaign_file_is_whole() -> None:
    properties = schema_of(TypeAdapter(CampaignFile))["properties"]
    plain = {key for key, field in properties.items() if "type" in field and field["type"] in ("string", "integer", "boolean")}
    rows = _rows(CAMPAIGNS, "Top of the file")
    assert set(rows) == plain | {"purpose"}
    for table in set(properties) - set(rows):
        assert f"## `[{table}]`" in CAMPAIGNS.read_text() or f"## `[[{table}]]`" in CAMPAIGNS.read_text()


def test_every_key_of_scores_and_segments_is_described() -> None:
    from winback.audience import ScoreModel, Segment

    for name, model in (("scores.toml", ScoreModel), ("audiences.toml", Segment)):
        section = _section(CAMPAIGNS, f"`campaigns/{name}`")
        schema = schema_of(TypeAdapter(model))
        for table in (schema, *schema.get("$defs", {}).values()):
            for key in set(table.get("properties", {})) - {"name"}:
                assert f"| `{key}` |" in section, f"{name}: {key}"


def _examples(page: Path) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def _templates(tables: dict[str, Any]) -> dict[str, str]:
    ends = {f"{step['template']}.email.html" for step in tables.get("steps", ())}
    return dict.fromkeys(ends, EMAIL) | {end.replace(".email.html", ".sms.txt"): SMS for end in ends}


@pytest.mark.parametrize("text", _examples(CAMPAIGNS))
def test_an_example_of_a_campaign_loads(text: str, tmp_path: Path) -> None:
    tables = tomllib.loads(text)
    scores = next((each for each in _examples(CAMPAIGNS) if "scores.schema.json" in each), None)
    segments = next((each for each in _examples(CAMPAIGNS) if "audiences.schema.json" in each), None)
    if text in (scores, segments):
        write_shop(tmp_path, scores=scores, segments=segments)
    elif "steps" in tables:
        write_shop(tmp_path, campaigns={"example": text}, templates=_templates(tables), scores=scores, segments=segments)
    else:
        step = {key: tables.pop(key) for key in ("fallback", "coupon") if key in tables}
        arms = {"variants": {arm: {"subject": "Else"} for arm in tables.get("variants", {})}}
        write_shop(
            tmp_path,
            campaigns={"example": campaign(steps=[email_step(**step, **arms)], **tables)},
            scores=scores,
            segments=segments,
        )
    load_project(tmp_path, environ={})


@pytest.mark.parametrize("text", _examples(SETTINGS))
def test_an_example_of_settings_loads(text: str, tmp_path: Path) -> None:
    load_project(write_shop(tmp_path, settings=text), environ={})
