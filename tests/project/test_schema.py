"""The JSON Schemas that editors use describe the files as they are written."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from winback.project.schema import file_schemas, write_schemas

ROOT = Path(__file__).resolve().parents[2]


def _wrong(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield what a value breaks of the part of JSON Schema that our schemas use."""
    if "$ref" in schema:
        yield from _wrong(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, where)
        return
    for choice in ("anyOf", "oneOf"):
        if choice in schema and not any(not list(_wrong(value, option, root)) for option in schema[choice]):
            yield f"{where}: fits none of {choice}"
    types = {
        "string": str,
        "integer": int,
        "boolean": bool,
        "array": list,
        "object": dict,
        "null": type(None),
        "number": (int, float),
    }
    kind = schema.get("type")
    if kind and (not isinstance(value, types[kind]) or (kind == "integer" and isinstance(value, bool))):
        yield f"{where}: is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{where}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _wrong(item, schema.get("items", {}), root, f"{where}[{place}]")
    if isinstance(value, dict) and kind == "object":
        yield from (f"{where}.{key}: is missing" for key in schema.get("required", ()) if key not in value)
        for key, item in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
            if inner is False:
                yield f"{where}.{key}: is unknown"
            elif isinstance(inner, dict):
                yield from _wrong(item, inner, root, f"{where}.{key}")


def _defaults(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for table in (schema, *root.get("$defs", {}).values()):
        for key, field in table.get("properties", {}).items():
            if field.get("default") is not None:
                yield key, field["default"], field


def _written() -> list[tuple[str, Path]]:
    campaigns = ROOT / "campaigns"
    named = {"scores.toml": "scores.schema.json", "audiences.toml": "audiences.schema.json"}
    files = [("settings.schema.json", ROOT / "config.toml")]
    return files + [(named.get(path.name, "campaign.schema.json"), path) for path in sorted(campaigns.glob("*.toml"))]


@pytest.mark.parametrize(("name", "path"), _written(), ids=lambda value: getattr(value, "name", ""))
def test_the_demo_shops_files_fit_their_schema(name: str, path: Path) -> None:
    schema = file_schemas()[name]
    assert list(_wrong(tomllib.loads(path.read_text()), schema, schema)) == []


@pytest.mark.parametrize("name", ["settings.schema.json", "campaign.schema.json", "tests.schema.json"])
def test_defaults_stand_as_they_would_in_the_file(name: str) -> None:
    schema = file_schemas()[name]
    found = list(_defaults(schema, schema))
    assert found
    for key, default, field in found:
        assert list(_wrong(default, field, schema, key)) == []


def test_the_check_of_this_test_finds_mistakes() -> None:
    schema = file_schemas()["campaign.schema.json"]
    bad = {"title": "x", "gaol": "x", "schedule": {"late": "soon"}, "steps": [{"name": "a", "channel": "fax", "template": "a"}]}
    wrong = list(_wrong(bad, schema, schema))
    for part in (".audience: is missing", ".gaol: is unknown", ".schedule.late", ".steps[0].channel"):
        assert any(line.startswith(part) for line in wrong), wrong


@pytest.mark.parametrize("name", ["settings.schema.json", "campaign.schema.json", "tests.schema.json"])
def test_every_key_has_a_description(name: str) -> None:
    schema = file_schemas()[name]
    own = {title for title in schema["$defs"] if not _is_audience(schema["$defs"][title])}
    for table in (schema, *(schema["$defs"][title] for title in own)):
        for key, field in table.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, key  # a table's own description counts


def _is_audience(table: dict[str, Any]) -> bool:
    return "preset" in table.get("properties", {})


def test_schemas_are_written_once(tmp_path: Path) -> None:
    paths = write_schemas(tmp_path)
    assert sorted(path.name for path in (tmp_path / ".winback").iterdir()) == sorted(path.name for path in paths)
    for path in paths:
        assert json.loads(path.read_text())["title"].startswith("winback: ")
    before = [path.stat().st_mtime_ns for path in paths]
    assert write_schemas(tmp_path) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before
