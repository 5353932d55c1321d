"""docs/templates.md names everything that a template may use."""

from __future__ import annotations

import re
from pathlib import Path

from winback.compose.render import VARIABLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")


def test_every_variable_and_filter_is_described() -> None:
    rows = "\n".join(re.findall(r"^\| `.*$", PAGE, re.MULTILINE))
    for name in VARIABLES:
        assert re.search(rf"`{name}[.`]", rows), name
    for name in ("money", "date", "datetime", "number"):
        assert rf"\| {name}" in PAGE, name
