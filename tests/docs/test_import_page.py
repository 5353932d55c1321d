"""docs/import.md names everything that can be said of a file, and shows maps as they are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from winback.cli import app
from winback.importers import ImportMap, Kind, load_map, shipped_maps
from winback.importers.mapping import COLUMNS, FREE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "import.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text below a heading, up to the next of the same or a higher level."""
    marks, _, _ = title.partition(" ")
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{len(marks)}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def named(text: str) -> set[str]:
    """Return what stands in the first cells of a text's tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`\[?([\w.]+)\]?`", cell)}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_column_is_named_and_no_other(kind: Kind) -> None:
    assert named(section(f"### {kind.value.capitalize()}")) == {*COLUMNS[kind], f"{FREE[kind]}.NAME"}


def test_every_key_of_a_map_is_named_and_no_other() -> None:
    assert named(section("## Maps").partition("### CDNOW")[0]) == set(ImportMap.model_fields)


def test_every_default_of_a_map_is_the_one_it_has() -> None:
    for key, default in re.findall(r'^\| `(\w+)` \| `"?(\w+)"?` \|', section("## Maps"), re.MULTILINE):
        value = ImportMap.model_fields[key].default
        assert default == (str(value).lower() if isinstance(value, bool) else value)


def test_every_option_is_named() -> None:
    group = typer.main.get_command(app).commands["import"]  # type: ignore[attr-defined]
    for command in group.commands.values():
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option not in {"--help", "--shop", "--output"}:
                    assert f"`{option}" in PAGE or f" {option} " in PAGE, option


@pytest.mark.parametrize("name", shipped_maps())
def test_every_map_that_winback_brings_is_shown_as_it_is(name: str) -> None:
    shown = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert load_map([name]) in [ImportMap.model_validate(tomllib.loads(text)) for text in shown]
