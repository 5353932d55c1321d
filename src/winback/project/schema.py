"""JSON Schemas of the shop's files, for completion and hints in editors (`#:schema …` in the first line of a file)."""

from __future__ import annotations

import json
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from winback.durations import format_duration
from winback.project.values import Cap, QuietHours

#: Folder of the schemas in a shop.
FOLDER = ".winback"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _FileSchema(GenerateJsonSchema):
    """Writes defaults as they would stand in the file."""

    def encode_default(self, dft: Any) -> Any:
        """Return a default in the file's own spelling."""
        return _as_written(dft)


def _as_written(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Cap | QuietHours | Decimal):
        return str(value)
    if isinstance(value, time):
        return f"{value:%H:%M}"
    if isinstance(value, tuple | frozenset | list):
        return [_as_written(each) for each in value]
    if isinstance(value, str):
        return str(value)
    return value


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a model as files write it."""
    return adapter.json_schema(schema_generator=_FileSchema)


def file_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each kind of file, by the name of the schema's file."""
    from winback.audience import ScoreModel, Segment
    from winback.project.campaign import CampaignFile
    from winback.project.casefile import CaseFile
    from winback.project.settings import Settings

    return {
        "settings.schema.json": _titled(schema_of(TypeAdapter(Settings)), "winback: config.toml"),
        "campaign.schema.json": _titled(schema_of(TypeAdapter(CampaignFile)), "winback: a campaign"),
        "scores.schema.json": _named_tables(schema_of(TypeAdapter(ScoreModel)), "winback: campaigns/scores.toml"),
        "audiences.schema.json": _named_tables(schema_of(TypeAdapter(Segment)), "winback: campaigns/audiences.toml"),
        "tests.schema.json": _titled(schema_of(TypeAdapter(CaseFile)), "winback: campaigns/tests"),
    }


def write_schemas(root: Path) -> list[Path]:
    """Write the schemas into a shop's folder and return their paths; files that are the same already are left alone."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, schema in file_schemas().items():
        path = folder / name
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def _titled(schema: dict[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": _DIALECT, **schema, "title": title}


def _named_tables(model: dict[str, Any], title: str) -> dict[str, Any]:
    """Return the schema of a file in which each table is one model, named by the table."""
    definitions = model.pop("$defs", {})
    model["properties"].pop("name")
    if "required" in model:
        model["required"] = [key for key in model["required"] if key != "name"]
    return _titled({"type": "object", "additionalProperties": model, "$defs": definitions}, title)
